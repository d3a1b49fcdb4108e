"""How a result depends on the order of the input, and on serving one query at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from ..reranking import RANDOM, arranged
from ..runs import Variant
from . import orders

if TYPE_CHECKING:
    from ..runs import QueryResult, Run

    Key = tuple[str, str, str]

_TENTHS, _TOP = 10, 10


@dataclass(frozen=True, slots=True)
class OrderRow:
    """A reranker that was given its candidates in several orders.

    mean, sd: of nDCG@10 over the orders (sample standard deviation). tau: Kendall's tau between the
    outputs of two orders, mean over queries and pairs. promotion: for each tenth of the input, the
    share of its documents that end among the first ten; over random orders if there are any, where
    relevant documents may be anywhere.
    """

    task: str
    profile: str
    reranker: str
    orders: tuple[str, ...]
    mean: float
    sd: float
    tau: float | None
    promotion: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """Engine seconds per query where one query was served at a time: median and 95th percentile."""

    task: str
    profile: str
    reranker: str
    queries: int
    p50: float | None
    p95: float | None
    hardware: str


def order_row(key: Key, values: Sequence[float], runs: Sequence[Run]) -> OrderRow:
    """Compare the runs of one reranker by the order of its input.

    key: task, profile and reranker.
    values: nDCG@10 of each run, natural.
    """
    return OrderRow(
        *key,
        orders=tuple(map(_order, runs)),
        mean=float(np.mean(values)),
        sd=float(np.std(values, ddof=1)),
        tau=agreement(runs),
        promotion=promotion(runs),
    )


def agreement(runs: Sequence[Run]) -> float | None:
    """Return Kendall's tau between the outputs of two runs, mean over queries and pairs of runs.

    Only documents that were reranked count, without the safeguard; queries with fewer than two such
    documents are left out. None where no query is left.
    """
    from scipy.stats import kendalltau

    ranks = [_ranks(run) for run in runs]
    taus = [
        float(kendalltau([one[q][d] for d in one[q]], [other[q][d] for d in one[q]]).statistic)
        for one, other in combinations(ranks, 2)
        for q in one
        if len(one[q]) > 1 and one[q].keys() == other.get(q, {}).keys()
    ]
    return float(np.mean(taus)) if taus else None


def _ranks(run: Run) -> dict[str, dict[str, int]]:
    return {
        r.query_id: {d: i for i, d in enumerate(_reranked(r))}
        for r in run.results
        if r.failed is None
    }


def _reranked(result: QueryResult) -> list[str]:
    """Return the documents with scores, in finished order, without the safeguard."""
    pairs = zip(result.doc_ids, result.scores, strict=True)
    return [d for d, score in pairs if score is not None and d != result.safeguard]


def promotion(runs: Sequence[Run]) -> tuple[float, ...]:
    """Return for each tenth of the input how many of its documents end among the first ten.

    Inputs of fewer than ten documents are left out.
    """
    chosen = [run for run in runs if _order(run).startswith(RANDOM)] or list(runs)
    risen, all_ = np.zeros(_TENTHS), np.zeros(_TENTHS)
    for run in chosen:
        for result in run.results:
            out = _reranked(result)
            if result.failed is not None or len(out) < _TENTHS:
                continue
            given = _given(result, set(out), _order(run))
            tenths = np.arange(len(given)) * _TENTHS // len(given)
            top = set(out[:_TOP])
            risen += np.bincount(tenths, [d in top for d in given], minlength=_TENTHS)
            all_ += np.bincount(tenths, minlength=_TENTHS)
    return tuple((risen / np.maximum(all_, 1.0)).tolist()) if all_.any() else ()


def _order(run: Run) -> str:
    return Variant.of(run.manifest["settings"]).order


def _given(result: QueryResult, reranked: set[str], order: str) -> list[str]:
    """Return the order in which the reranker was given the documents, without the safeguard."""
    pool = [d for d in orders.first_stage(result) if d in reranked]
    return [pool[place] for place in arranged(pool, result.query_id, order)]


def latency_row(key: Key, hardware: str, run: Run) -> LatencyRow:
    """Sum up a run that served one query at a time; `key` is its task, profile and reranker."""
    seconds = [result.usage.seconds for result in run.results if result.failed is None]
    p50, p95 = np.percentile(seconds, [50, 95]).tolist() if seconds else (None, None)
    return LatencyRow(*key, queries=len(seconds), p50=p50, p95=p95, hardware=hardware)
