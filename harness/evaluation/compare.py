"""Reranker against reranker: paired over the queries of the same pools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import BadData
from .gains import SAME
from .inference import infer
from .results import MAIN, Results, records, results_of
from .significance import estimate

if TYPE_CHECKING:
    from .facts import PerQuery
    from .inference import Group
    from .results import Evaluation, Record


@dataclass(frozen=True, slots=True)
class Duel:
    """One query that two rerankers answered; values are of nDCG@10."""

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

    In `results` and `means` the natural value is that of `one`, the first stage's that of `other`,
    and the gain their difference. `duels` are all queries, the largest difference first.
    `left_out` names where the two ran but do not compare, and why.
    """

    one: str
    other: str
    results: Results
    means: Results
    groups: tuple[Group, ...]
    duels: tuple[Duel, ...]
    left_out: tuple[str, ...] = ()


def compare(found: Evaluation, one: str, other: str) -> Comparison:
    """Compare two rerankers, by their labels, wherever both ran after the same profile of a task.

    Queries that only one of them ran are left out, and so is where their pools, depths or
    judgements differ. Raises BadData where nothing is left.
    """
    first, second = (_records(found, label) for label in (one, other))
    shared = sorted(first.keys() & second.keys())
    if not shared:
        raise BadData("the two rerankers ran on no task and profile in common; run both on one")
    arrays = {
        place: (found.per_query[*place, one], found.per_query[*place, other]) for place in shared
    }
    why = {place: _differ(first[place], second[place], *arrays[place]) for place in shared}
    left_out = [words for words in why.values() if words]
    if len(left_out) == len(shared):
        raise BadData(left_out[0])
    compared = [place for place in shared if not why[place]]
    pairs = [_paired(first[place], second[place], *arrays[place]) for place in compared]
    results, means, groups = infer(results_of([record for record, _ in pairs]))
    duels = sorted((duel for _, own in pairs for duel in own), key=lambda d: -abs(d.difference))
    return Comparison(one, other, results, means, tuple(groups), tuple(duels), tuple(left_out))


def _records(found: Evaluation, reranker: str) -> Mapping[tuple[str, str], Record]:
    rows = found.results.rows(MAIN)
    own = records(rows[rows["reranker"] == reranker])
    return {(record["task"], record["profile"]): record for record in own}


def _differ(one: Record, other: Record, a: PerQuery, b: PerQuery) -> str:
    """Return why two runs do not compare; an empty text where they do."""
    why = ""
    if one["pool"] != other["pool"]:
        why = "the two ran on different pools, so their values do not compare"
    elif _depth(one) != _depth(other):
        why = f"one reranked {_depth(one)}, one {_depth(other)}"
    elif any(one[n] != other[n] for n in ("max_doc_chars", "max_doc_tokens")):
        why = "the two saw documents cut to different lengths"
    elif one["judgements"] != other["judgements"]:
        by = " and ".join(record["judgements"] or "the usual ones" for record in (one, other))
        why = f"the two were measured by different judgements ({by})"
    elif not set(a.query_ids) & set(b.query_ids):
        why = "the two have no query in common"
    return f"{one['task']} after {one['profile']}: {why}" if why else ""


def _depth(record: Record) -> str:
    depth = record["depth"]
    return "all candidates" if depth is None else f"the first {depth}"


def _paired(one: Record, other: Record, a: PerQuery, b: PerQuery) -> tuple[Record, list[Duel]]:
    """Return the record of a difference, and its queries one by one."""
    place = {query_id: index for index, query_id in enumerate(b.query_ids)}
    ids = [query_id for query_id in a.query_ids if query_id in place]
    mine = [index for index, query_id in enumerate(a.query_ids) if query_id in place]
    x, y = a.natural[MAIN][mine], b.natural[MAIN][[place[query_id] for query_id in ids]]
    where = one["task"], one["profile"]
    duels = [
        Duel(*where, query_id, float(v), float(w)) for query_id, v, w in zip(ids, x, y, strict=True)
    ]
    bases = None if a.bases is None else [a.bases[index] for index in mine]
    record = {
        **one,
        "reranker": f"{one['reranker']} - {other['reranker']}",
        "queries": len(ids),
        "natural": float(x.mean()),
        "first_stage": float(y.mean()),
        "wins": int((x - y > SAME).sum()),
        "ties": int((abs(x - y) <= SAME).sum()),
        "losses": int((x - y < -SAME).sum()),
        "floor": one["floor"] or other["floor"],
        "invalid": one["invalid"] or other["invalid"],
        "is_real": one["is_real"] and other["is_real"],
        "failed": len((a.failed | b.failed) & set(ids)),
        "noise": max((r["noise"] for r in (one, other) if r["noise"] is not None), default=None),
    }
    estimated = estimate(x - y, bases)._asdict()
    return record | {"gain": estimated.pop("mean"), **estimated}, duels
