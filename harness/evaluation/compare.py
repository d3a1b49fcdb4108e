"""Reranker against reranker: paired over the queries of the same pools."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import BadData
from .gains import SAME
from .groups import Group
from .inference import MAIN, infer
from .row import Row


@dataclass(frozen=True, slots=True)
class Duel:
    """One query in which two rerankers are set against each other; values are of nDCG@10."""

    task: str
    profile: str
    query_id: str
    one: float
    other: float

    @property
    def difference(self) -> float:
        """How much better the first is."""
        return self.one - self.other


@dataclass(frozen=True)
class Comparison:
    """Two rerankers on the same pools.

    In `rows` and `groups` the natural value is that of `one`, the first stage's that of `other`,
    and the gain their difference. `duels` are all queries, the largest difference first.
    `left_out` tells where the two ran but do not compare, and why.
    """

    one: str
    other: str
    rows: tuple[Row, ...]
    groups: tuple[Group, ...]
    duels: tuple[Duel, ...]
    left_out: tuple[str, ...] = ()


def compare(ones: Iterable[Row], others: Iterable[Row]) -> Comparison:
    """Compare two rerankers wherever both ran after the same profile of the same task.

    `ones` and `others` are the rows of one reranker each. Queries that only one of them ran are
    left out, and so is where their pools, depths or judgements differ. Raises BadData where
    nothing is left.
    """
    first, second = _main(ones), _main(others)
    shared = sorted(first.keys() & second.keys())
    if not shared:
        raise BadData("the two rerankers ran on no task and profile in common; run both on one")
    apart = {key: why for key in shared if (why := _apart(first[key], second[key]))}
    if len(apart) == len(shared):
        raise BadData(next(iter(apart.values())))
    pairs = [_paired(first[key], second[key]) for key in shared if key not in apart]
    rows, groups = infer(row for row, _ in pairs)
    duels = sorted((duel for _, own in pairs for duel in own), key=lambda d: -abs(d.difference))
    return Comparison(
        one=next(iter(first.values())).reranker or "",
        other=next(iter(second.values())).reranker or "",
        rows=tuple(rows),
        groups=tuple(group for group in groups if group.rows),
        duels=tuple(duels),
        left_out=tuple(apart.values()),
    )


def _main(rows: Iterable[Row]) -> dict[tuple[str, str], Row]:
    kept = (row for row in rows if row.measure == MAIN and not row.is_variant)
    return {(row.task, row.profile): row for row in kept}


def _cut(row: Row) -> tuple[int | None, int | None]:
    return row.max_doc_chars, row.max_doc_tokens


def _apart(one: Row, other: Row) -> str:
    """Say why two rows do not compare; nothing where they do."""
    why = ""
    if one.pool != other.pool:
        why = "the two ran on different pools, so their values do not compare"
    elif one.depth != other.depth:
        why = f"one reranked {_reach(one)}, one {_reach(other)}"
    elif _cut(one) != _cut(other):
        why = "the two saw documents cut to different lengths"
    elif one.judgements != other.judgements:
        by = " and ".join(row.judgements or "the usual ones" for row in (one, other))
        why = f"the two were measured by different judgements ({by})"
    elif not set(one.query_ids) & set(other.query_ids):
        why = "the two have no query in common"
    return f"{one.task} after {one.profile}: {why}" if why else ""


def _reach(row: Row) -> str:
    return "all candidates" if row.depth is None else f"the first {row.depth}"


def _paired(one: Row, other: Row) -> tuple[Row, list[Duel]]:
    places, others = _shared(one.query_ids, other.query_ids)
    a, b = one.query_naturals[places], other.query_naturals[others]
    ids = tuple(one.query_ids[place] for place in places)
    duels = [
        Duel(one.task, one.profile, query_id, float(x), float(y))
        for query_id, x, y in zip(ids, a, b, strict=True)
    ]
    return _difference(one, other, a - b, places, ids), duels


def _shared(one: Sequence[str], other: Sequence[str]) -> tuple[list[int], list[int]]:
    place = {query_id: index for index, query_id in enumerate(other)}
    both = [(index, place[q]) for index, q in enumerate(one) if q in place]
    return [index for index, _ in both], [index for _, index in both]


def _difference(
    one: Row, other: Row, gains: NDArray[np.float64], places: list[int], ids: tuple[str, ...]
) -> Row:
    bases = one.query_bases
    naturals = one.query_naturals[places]
    return replace(
        one,
        reranker=f"{one.reranker} - {other.reranker}",
        queries=len(ids),
        natural=float(naturals.mean()),
        first_stage=float((naturals - gains).mean()),
        gain=float(gains.mean()),
        wins=int((gains > SAME).sum()),
        ties=int((abs(gains) <= SAME).sum()),
        losses=int((gains < -SAME).sum()),
        floor=one.floor or other.floor,
        invalid=one.invalid or other.invalid,
        engine="fake" if "fake" in {one.engine, other.engine} else one.engine,
        failed=len((one.query_failed | other.query_failed) & set(ids)),
        noise=max((row.noise for row in (one, other) if row.noise is not None), default=None),
        repeated=(),
        headroom_captured=None,
        query_ids=ids,
        query_bases=None if bases is None else tuple(bases[place] for place in places),
        query_gains=gains,
        query_naturals=naturals,
    )
