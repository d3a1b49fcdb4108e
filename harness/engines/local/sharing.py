"""Which sequences begin alike, so that their beginning is computed once for all of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..prepare import Prepared

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


def grouped(sequences: Sequence[Prepared], cost: int) -> list[PrefixGroup]:
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
