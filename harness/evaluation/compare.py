"""Reranker against reranker: paired over the queries of the same pools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import BadData
from .gains import wins_ties_losses
from .inference import infer
from .results import MAIN, Results, records, results_of
from .significance import estimate

if TYPE_CHECKING:
    from .facts import PerQuery
    from .inference import Group
    from .results import Evaluation, Record


@dataclass(frozen=True, slots=True)
class QueryDifference:
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
    and the gain their difference. `queries` are all queries, the largest difference first.
    `left_out` names where the two ran but do not compare, and why.
    """

    one: str
    other: str
    results: Results
    means: Results
    groups: tuple[Group, ...]
    queries: tuple[QueryDifference, ...]
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
    rows: list[Record] = []
    queries: list[QueryDifference] = []
    left_out: list[str] = []
    for place in shared:
        arrays = found.per_query[*place, one], found.per_query[*place, other]
        why = _differ(first[place], second[place], *arrays)
        if why:
            left_out.append(f"{' after '.join(place)}: {why}")
            continue
        row, own = _paired(first[place], second[place], *arrays)
        rows.append(row)
        queries += own
    if not rows:
        raise BadData(left_out[0])
    results, means, groups = infer(results_of(rows))
    queries.sort(key=lambda query: -abs(query.difference))
    return Comparison(one, other, results, means, tuple(groups), tuple(queries), tuple(left_out))


def _records(found: Evaluation, reranker: str) -> Mapping[tuple[str, str], Record]:
    """Return the records of a reranker by task and profile."""
    rows = found.results.rows(MAIN)
    own = records(rows[rows["reranker"] == reranker])
    return {(record["task"], record["profile"]): record for record in own}


def _differ(one: Record, other: Record, a: PerQuery, b: PerQuery) -> str:
    """Return why two runs do not compare; an empty text where they do."""
    if one["pool"] != other["pool"]:
        return "the two ran on different pools, so their values do not compare"
    if one["depth"] != other["depth"]:
        return f"one reranked {_depth(one)}, one {_depth(other)}"
    if any(one[name] != other[name] for name in ("max_doc_chars", "max_doc_tokens")):
        return "the two saw documents cut to different lengths"
    if one["judgements"] != other["judgements"]:
        by = " and ".join(record["judgements"] or "the usual ones" for record in (one, other))
        return f"the two were measured by different judgements ({by})"
    return "" if set(a.query_ids) & set(b.query_ids) else "the two have no query in common"


def _depth(record: Record) -> str:
    depth = record["depth"]
    return "all candidates" if depth is None else f"the first {depth}"


def _paired(
    one: Record, other: Record, a: PerQuery, b: PerQuery
) -> tuple[Record, list[QueryDifference]]:
    """Return the record of a difference, and its queries one by one."""
    place = {query_id: index for index, query_id in enumerate(b.query_ids)}
    mine = [index for index, query_id in enumerate(a.query_ids) if query_id in place]
    ids = [a.query_ids[index] for index in mine]
    x, y = a.natural[MAIN][mine], b.natural[MAIN][[place[query_id] for query_id in ids]]
    pairs = zip(ids, x.tolist(), y.tolist(), strict=True)
    queries = [QueryDifference(one["task"], one["profile"], *pair) for pair in pairs]
    bases = None if a.bases is None else [a.bases[index] for index in mine]
    record = {
        **one,
        "reranker": f"{one['reranker']} - {other['reranker']}",
        "queries": len(ids),
        "natural": float(x.mean()),
        "first_stage": float(y.mean()),
        **dict(zip(("wins", "ties", "losses"), wins_ties_losses(x - y), strict=True)),
        "floor": one["floor"] or other["floor"],
        "invalid": one["invalid"] or other["invalid"],
        "is_real": one["is_real"] and other["is_real"],
        "failed": len((a.failed | b.failed) & set(ids)),
        "noise": max((r["noise"] for r in (one, other) if r["noise"] is not None), default=None),
    }
    estimated = estimate(x - y, bases)._asdict()
    return record | {"gain": estimated.pop("mean"), **estimated}, queries
