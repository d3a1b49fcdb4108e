"""TourRank: documents advance through a tournament of groups (arXiv:2406.11678)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rerank_bench import Candidates, Flow, Generate, Scored, answer_after_thoughts, ask, order

from .budgets import check_budgets, check_counts
from .instructions import check_prompt, prompt_takes_instruction
from .passages import Passages, full_answer
from .shuffles import shuffled

STAGES = ((20, 0.5), (20, 0.2), (100, 0.1), (100, 0.05), (100, 0.02))
"""Of each stage: documents of the pool per group, and the share of the pool that advances.

For 100 documents: 5 groups advance 50, 5 groups 20, and one group each 10, 5 and 2.
"""

_NAMED = re.compile(r"\bdocument\s*\[?(\d+)", re.IGNORECASE)
_WORD = re.compile(r"\w")
_TOKENS_PER_PICK = 5  # ", Document 20"


@dataclass(frozen=True)
class TourRank:
    """Lets groups of documents compete; a document gets a point whenever it advances.

    In each stage the model names the documents of every group that advance. A document's score is
    its points over all tournaments; ties keep first-stage order. The official code is written for
    100 documents; here the stages are shares of the pool.

    prompt: name or `.toml` file, filled with `query`, `passages` and `picks`.
    tournaments: how often the whole is repeated, with other shuffles of the groups.
    max_tokens: of one answer; by default enough for the names of the documents that advance.
    max_doc_tokens, max_query_tokens: budgets in tokens.
    """

    prompt: str = "tourrank"
    tournaments: int = 1
    max_tokens: int | None = None
    max_doc_tokens: int | None = 150
    max_query_tokens: int | None = 256
    asks = frozenset({Generate})
    takes_instruction = prompt_takes_instruction

    def __post_init__(self) -> None:
        check_budgets("tourrank", self)
        check_prompt("tourrank", self.prompt, "query", "passages", "picks")
        check_counts("tourrank", tournaments=self.tournaments, max_tokens=self.max_tokens)

    def rerank(self, candidates: Candidates) -> Flow:
        """Play all tournaments side by side, stage by stage."""
        count = len(candidates.documents)
        passages = Passages(candidates, self.prompt, escape=False)  # it names no identifiers
        points = [[0] * count for _ in range(self.tournaments)]
        counts = {"repaired": 0, "unparsable": 0}
        repairs: list[int] = []
        asked, alive = 0, count
        for stage, (size, share) in enumerate(STAGES):
            advancing = max(round(count * share), 1)
            if advancing >= alive:
                continue
            groups = [
                (own, shuffled(group, candidates.query_id, tournament, stage, number))
                for tournament, own in enumerate(points)
                for number, group in enumerate(_groups(order(own)[:alive], count, size))
            ]
            picks = _shares(advancing, len(groups) // self.tournaments) * self.tournaments
            requests = [
                self._request(passages, group, wanted)
                for (_, group), wanted in zip(groups, picks, strict=True)
            ]
            replies = yield from ask(requests)
            for (own, group), wanted, request, reply in zip(
                groups, picks, requests, replies, strict=True
            ):
                answer = full_answer(request.prompt, reply)
                picked, sound = read_picks(answer, len(group), wanted)
                for place in picked:
                    own[group[place]] += 1
                if not sound:
                    counts["repaired" if picked else "unparsable"] += 1
                    repairs.append(asked)
                asked += 1
            alive = advancing
        return Scored([float(sum(own)) for own in zip(*points, strict=True)], counts, repairs)

    def _request(self, passages: Passages, group: Sequence[int], picks: int) -> Generate:
        names = [str(place + 1) for place in range(len(group))]
        prompt = passages.prompt(group, names, picks=picks)
        return Generate(prompt, self.max_tokens or _TOKENS_PER_PICK * (picks + 1))


def _groups(ranking: Sequence[int], count: int, size: int) -> list[Sequence[int]]:
    """Deal the documents out to groups in turn, so that each holds some of every rank."""
    number = max(round(count / size), 1)
    groups = [ranking[first::number] for first in range(number)]
    return [group for group in groups if group]


def _shares(total: int, groups: int) -> list[int]:
    """Split the places of a stage evenly among its groups, the first ones taking what is over."""
    return [total // groups + (number < total % groups) for number in range(groups)]


def read_picks(text: str, count: int, wanted: int) -> tuple[list[int], bool]:
    """Read `Document 3, Document 1` as places from 0, and whether it is what was asked for.

    Places that do not exist or are repeated are left out, and so are those beyond `wanted`. Words
    besides the names were not asked for.
    """
    answer = answer_after_thoughts(text)
    named = [int(digits[:9]) - 1 for digits in _NAMED.findall(answer)]
    known = [place for place in dict.fromkeys(named) if 0 <= place < count]
    bare = not _WORD.search(_NAMED.sub("", answer))
    return known[:wanted], bare and len(named) == len(known) == wanted
