"""Which sequences begin alike, so that their beginning is computed once for all of them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...types import Likelihood, NextToken, PairScore
from ..prepare import Answer, Answered, Prepared

if TYPE_CHECKING:
    from .batches import Batcher
    from .loading import LoadedModel

Forward = Callable[["LoadedModel", Sequence[Prepared]], list[Answer]]

SHORTEST = 16
"""Tokens of the shortest prefix that is shared."""


@dataclass(frozen=True, slots=True)
class PrefixGroup:
    """Sequences whose first `shared` ids are equal; each has more ids than those."""

    members: Sequence[Prepared]
    shared: int = 0

    @property
    def prefix(self) -> Sequence[int]:
        """The ids that all members begin with."""
        return self.members[0].ids[: self.shared]


@dataclass(frozen=True, slots=True)
class _Span:
    """Sorted sequences `start` to `stop`: the groups chosen in them, and the tokens they save.

    A group is (start, stop, shared tokens).
    """

    start: int
    stop: int
    saved: int = 0
    groups: tuple[tuple[int, int, int], ...] = ()


def group_by_prefix(sequences: Sequence[Prepared], cost: int) -> list[PrefixGroup]:
    """Divide sequences into groups, the longest first, such that sharing saves many tokens.

    Together the groups save no fewer than any single group could.

    cost: tokens that a group must save to be worth a forward pass of its own for its prefix. What
    shares nothing worth it is one group with `shared` = 0.
    """
    ordered = sorted(sequences, key=lambda one: list(one.ids))
    spans = _best(ordered, cost).groups if ordered else ()
    found = [PrefixGroup(ordered[start:stop], shared) for start, stop, shared in spans]
    alone = set(range(len(ordered))).difference(*(range(*span[:2]) for span in spans))
    if alone:
        found.append(PrefixGroup([ordered[place] for place in sorted(alone)]))
    return sorted(found, key=lambda group: -max(one.room for one in group.members))


def _best(ordered: Sequence[Prepared], cost: int) -> _Span:
    """Join neighbours that have most in common first, so that every span is one in the end."""
    common = [_common(*pair) for pair in itertools.pairwise(ordered)]
    starting = [_Span(place, place + 1) for place in range(len(ordered))]
    ending = list(starting)
    for place in sorted(range(len(common)), key=lambda i: -common[i]):
        joined = _joined(ending[place], starting[place + 1], common[place], cost)
        starting[joined.start] = ending[joined.stop - 1] = joined
    return starting[0]


def _joined(left: _Span, right: _Span, shared: int, cost: int) -> _Span:
    """Make one group of two spans if that saves more than the groups that they have."""
    start, stop = left.start, right.stop
    saved = shared * (stop - start - 1) - cost
    if shared >= SHORTEST and saved > left.saved + right.saved:
        return _Span(start, stop, saved, ((start, stop, shared),))
    return _Span(start, stop, left.saved + right.saved, (*left.groups, *right.groups))


def _common(left: Prepared, right: Prepared) -> int:
    """Return how many first ids are equal, short of those whose logits are wanted."""
    pairs: Iterator[tuple[int, int]] = zip(_before(left), _before(right), strict=False)
    least = min(len(_before(left)), len(_before(right)))
    return next((n for n, (a, b) in enumerate(pairs) if a != b), least)


def _before(one: Prepared) -> Sequence[int]:
    return one.ids[: len(one.ids) - one.ending - 1]


class Sharing:
    """Whether sequences share prefixes. in_effect: what a run's manifest says about it.

    wanted: False leaves every sequence whole.
    """

    def __init__(self, *, wanted: bool) -> None:
        self._wanted = wanted
        self.in_effect: Mapping[str, str] = {}

    def run(
        self,
        kind: type,
        model: LoadedModel,
        sequences: Sequence[Prepared],
        forward: Forward,
        batcher: Batcher,
    ) -> Iterator[Answered]:
        """Run sequences of requests of one type, with common prefixes where that is possible."""
        if _reads_forward(kind, model):
            found = model.no_sharing_reason if self._wanted else "it is turned off"
            self.in_effect = {"shared_prefixes": f"no: {found}" if found else "yes"}
            if found is None:
                from .prefixes import run_shared

                return run_shared(model, sequences, forward, batcher)
        return batcher.run(sequences, functools.partial(forward, model))


def _reads_forward(kind: type, model: LoadedModel) -> bool:
    """Whether the answer to a request of this type is read off its last tokens."""
    if kind is PairScore:
        return model.scores_last
    return model.checkpoint.decoder and kind in (NextToken, Likelihood)
