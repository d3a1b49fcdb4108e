"""ListT5: a tournament of small groups, each ordered by a fusion-in-decoder T5 (Yoon et al. 2024).

arXiv:2402.15838. The winner of the tournament is taken out, and the groups that it was in are
played again for the next one; the results of all others are kept.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from rerank_bench import BadOption, Candidates, Flow, Scored, ask, load_template
from rerank_bench.types import Fuse

from .budgets import check_budgets, check_counts
from .instructions import check_prompt
from .orders import descending

_NUMBER = re.compile(r"\d+")
_SUBSTITUTE = 21  # how far after a winner in the pool the passage is that takes its place


@dataclass(frozen=True)
class ListT5:
    """Finds the best documents one by one by tournaments, in which groups advance their winners.

    Groups are formed as in the official code. One that is not full is filled with the first of its
    level that are not in it; the last one with those of the level before. The winner's place in the
    first level is taken by the passage 21 places behind it in the pool, or the next that has not
    won. Behind the best documents the others keep first-stage order.

    prompt: name or `.toml` file, filled once for each passage with `query`, `index` and `document`.
    group: passages that are read together; the model writes their numbers, the best one last.
    winners: how many of a group advance.
    top: how many documents are found.
    max_doc_tokens, max_query_tokens, max_pair_tokens (of both together): budgets in tokens.
    """

    prompt: str = "listt5"
    group: int = 5
    winners: int = 2
    top: int = 10
    max_doc_tokens: int | None = None
    max_query_tokens: int | None = 118
    max_pair_tokens: int | None = 236
    asks = frozenset({Fuse})

    def __post_init__(self) -> None:
        check_budgets("listt5", self)
        check_prompt("listt5", self.prompt, "query", "document", "index", unshown=())
        if not 1 <= self.winners <= self.group // 2:
            raise BadOption(
                f"listt5: winners must be from 1 to half the group of {self.group}, "
                f"not {self.winners}"
            )
        check_counts("listt5", top=self.top)

    def rerank(self, candidates: Candidates) -> Flow:
        """Play tournaments until the best documents are found."""
        count = len(candidates.documents)
        tournament = _Tournament(self, candidates)
        if count <= self.group:
            best = yield from tournament.whole()
        else:
            best = []
            while len(best) < min(self.top, count):
                best.append((yield from tournament.winner()))
        others = [document for document in range(count) if document not in set(best)]
        return Scored(descending([*best, *others]), tournament.counts, tournament.repairs)


class _Tournament:
    """The tournaments of one query.

    counts: how many answers were repaired or unparsable. repairs: the numbers of their requests.
    """

    def __init__(self, options: ListT5, candidates: Candidates) -> None:
        self._options, self._candidates = options, candidates
        self._template = load_template(options.prompt)
        self._places = list(range(len(candidates.documents)))
        self._left = list(self._places)
        self._known: dict[frozenset[int], list[int]] = {}
        self._asked = 0
        self.counts = {"repaired": 0, "unparsable": 0}
        self.repairs: list[int] = []

    def whole(self) -> Generator[Sequence[Any], Sequence[Any], list[int]]:
        """Order a pool that is no larger than a group."""
        if len(self._left) < 2:
            return list(self._left)
        group = self._filled([], self._left)
        yield from self._play([group])
        return list(dict.fromkeys(self._known[frozenset(group)]))

    def winner(self) -> Generator[Sequence[Any], Sequence[Any], int]:
        """Play one tournament, take its winner out, and return it."""
        options = self._options
        level: Sequence[int] = self._places
        while True:
            if len(level) >= options.group:
                others = level
            groups = [self._filled(part, others) for part in _parts(level, options.group)]
            yield from self._play(groups)
            orders = [self._known[frozenset(group)] for group in groups]
            if len(groups) == 1:
                break
            level = [d for order in orders for d in reversed(order[: options.winners])]
        best = orders[0][0]
        self._left.remove(best)
        if self._left:
            self._places[self._places.index(best)] = self._next(best + _SUBSTITUTE)
            self._places = [self._next(d + 1) if d == best else d for d in self._places]
        return best

    def _next(self, place: int) -> int:
        """Return the first passage from a place of the pool on, round its end, that has not won."""
        count, left = len(self._places), set(self._left)
        return next(d for step in range(count) if (d := (place + step) % count) in left)

    def _filled(self, members: Sequence[int], level: Sequence[int]) -> tuple[int, ...]:
        """Return a full group in first-stage order; what is left may have to stand there twice."""
        left = set(self._left) - set(members)
        others = [document for document in level if document in left] or level
        missing = self._options.group - len(members)
        return tuple(sorted([*members, *itertools.islice(itertools.cycle(others), missing)]))

    def _play(
        self, groups: Sequence[tuple[int, ...]]
    ) -> Generator[Sequence[Any], Sequence[Any], None]:
        """Have the model order the groups whose documents it has not ordered before."""
        self._known |= {frozenset(group): [group[0]] for group in groups if len(set(group)) == 1}
        new: dict[frozenset[int], tuple[int, ...]] = {}
        for group in groups:
            if frozenset(group) not in self._known:
                new.setdefault(frozenset(group), group)
        replies = yield from ask([self._request(group) for group in new.values()])
        for (key, group), reply in zip(new.items(), replies, strict=True):
            places, state = read_numbers(reply.text, len(group))
            self._known[key] = [group[place] for place in places]
            if state:
                self.counts[state] += 1
                self.repairs.append(self._asked)
            self._asked += 1

    def _request(self, group: Sequence[int]) -> Fuse:
        prompts = tuple(
            self._template.fill(
                query=self._candidates.query,
                index=place,
                document=self._candidates.documents[document].text,
            )
            for place, document in enumerate(group, start=1)
        )
        return Fuse(prompts, len(group) + 2)


def _parts(items: Sequence[int], size: int) -> list[Sequence[int]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def read_numbers(text: str, count: int) -> tuple[list[int], str]:
    """Read numbers from 1, the best one last, as places from 0, the best one first.

    Returns all places, those that are missing after the others, and `repaired`, `unparsable` or
    nothing.
    """
    named = [int(digits[:9]) - 1 for digits in reversed(_NUMBER.findall(text))]
    known = [place for place in dict.fromkeys(named) if place in range(count)]
    missing = [place for place in range(count) if place not in set(known)]
    if not known:
        return missing, "unparsable"
    return [*known, *missing], "" if len(named) == len(known) == count else "repaired"
