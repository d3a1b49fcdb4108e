"""Fuse the finished rankings of one pool: arithmetic on ranks and scores, without any model.

    rrf       the sum of weight / (constant + rank) (Cormack, Clarke & Büttcher 2009)
    minmax    the weighted sum of scores that are scaled to 0 to 1 in each query and run
    zscore    the same of scores less their mean, in standard deviations of the query and run
    weighted  the weighted sum of the scores as they are

A document without a score in a run counts as much as the last one that has one. Equal sums are
ordered by the weighted reciprocal ranks, then by first-stage rank.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

from ..errors import BadData, BadOption
from ..reranking import total
from .results import QueryResult

CONSTANT = 60
"""Of reciprocal rank fusion, as in its paper."""

FIRST_STAGE = "first-stage"
RRF, WEIGHTED = "rrf", "weighted"


def _scaled(scores: Sequence[float]) -> list[float]:
    least, span = min(scores), max(scores) - min(scores)
    return [(score - least) / span if span else 0.0 for score in scores]


def _standardised(scores: Sequence[float]) -> list[float]:
    mean, deviation = fmean(scores), pstdev(scores)
    return [(score - mean) / deviation if deviation else 0.0 for score in scores]


_NORMALISE: Mapping[str, Callable[[Sequence[float]], list[float]]] = {
    "minmax": _scaled,
    "zscore": _standardised,
    WEIGHTED: list,
}
METHODS = (RRF, *_NORMALISE)


@dataclass(frozen=True)
class Fusion:
    """How runs are fused.

    method: one of METHODS. weights: one per run; None for 1 each.
    first_stage: the share of the first stage, between 0 and 1, of which the weights of the runs
        have the rest; None leaves it out. constant: of `rrf`.

    Raises BadOption for a method that does not exist, and for weights that cannot be.
    """

    method: str = RRF
    weights: tuple[float, ...] | None = None
    first_stage: float | None = None
    constant: float = CONSTANT

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise BadOption(f"--method is {', '.join(METHODS)}, not {self.method!r}")
        weights = (1.0,) if self.weights is None else self.weights
        if not all(0 <= weight < math.inf for weight in weights) or not any(weights):
            raise BadOption(f"--weights are numbers from 0, and not all 0: {weights}")
        if self.first_stage is not None and not 0 < self.first_stage < 1:
            raise BadOption(f"--with-first-stage is between 0 and 1, not {self.first_stage:g}")
        if not 0 <= self.constant < math.inf:
            raise BadOption(f"--constant must not be negative, not {self.constant:g}")

    def shares(self, runs: int) -> list[float]:
        """Return the weight of each of `runs` runs, and then that of the first stage if it counts.

        Raises BadOption unless there is a weight for each run, and something to fuse.
        """
        weights = self.weights or (1.0,) * runs
        if len(weights) != runs:
            raise BadOption(f"--weights has {len(weights)} numbers for {runs} runs")
        if self.first_stage is None:
            if runs == 1:
                raise BadOption("one run alone: name another, or add --with-first-stage WEIGHT")
            return list(weights)
        rest = (1 - self.first_stage) / sum(weights)
        return [*(weight * rest for weight in weights), self.first_stage]


@dataclass(frozen=True)
class _Source:
    """One ranking of a query: each document's rank, and its score where it has one."""

    ranks: Mapping[str, int]
    scores: Mapping[str, float]

    @classmethod
    def of(cls, result: QueryResult) -> _Source:
        pairs = zip(result.doc_ids, result.scores, strict=True)
        ranks = {doc_id: rank for rank, doc_id in enumerate(result.doc_ids, start=1)}
        return cls(ranks, {doc_id: score for doc_id, score in pairs if score is not None})

    @classmethod
    def of_first_stage(cls, result: QueryResult, *, by_rank: bool) -> _Source:
        """Return the first stage; `by_rank` its scores fall by 1 from rank to rank."""
        ranks = dict(zip(result.doc_ids, result.first_stage_ranks, strict=True))
        if by_rank:
            return cls(ranks, {doc_id: float(-rank) for doc_id, rank in ranks.items()})
        pairs = zip(result.doc_ids, result.first_stage_scores, strict=False)
        return cls(ranks, {doc_id: score for doc_id, score in pairs if score is not None})

    def values(self, fusion: Fusion) -> dict[str, float]:
        """Return what each document gets before it is multiplied by the weight."""
        if fusion.method == RRF:
            return {doc_id: 1 / (fusion.constant + rank) for doc_id, rank in self.ranks.items()}
        if not self.scores:
            return dict.fromkeys(self.ranks, 0.0)
        values = _NORMALISE[fusion.method](list(self.scores.values()))
        found = dict.fromkeys(self.ranks, min(values))
        return found | dict(zip(self.scores, values, strict=True))


def fuse(results: Sequence[QueryResult], fusion: Fusion, *, by_rank: bool = False) -> QueryResult:
    """Return one query's fused ranking; its cost and counts are those of the first of `results`.

    results: the same query and documents in each run. by_rank: take the first stage's ranks, as not
    all of its scores are known. Documents that no run reranked follow, without a score. Raises
    BadData for scores whose sum is not finite.
    """
    shares = fusion.shares(len(results))
    sources = [_Source.of(result) for result in results]
    reranked = {d for own, share in zip(sources, shares, strict=False) if share for d in own.scores}
    if fusion.first_stage is not None:
        sources.append(_Source.of_first_stage(results[0], by_rank=by_rank))
    weighted = [(own, share) for own, share in zip(sources, shares, strict=True) if share]
    doc_ids = results[0].doc_ids
    sums = _sums(doc_ids, [(own.values(fusion), share) for own, share in weighted])
    if not all(map(math.isfinite, sums.values())):
        raise BadData(f"query {results[0].query_id}: the scores are too large to be fused")
    ranks = [(_Source.values(own, Fusion()), share) for own, share in weighted]
    ties = _sums(doc_ids, ranks)
    first = dict(zip(doc_ids, results[0].first_stage_ranks, strict=True))
    final = sorted(doc_ids, key=lambda d: (d not in reranked, -sums[d], -ties[d], first[d]))
    return results[0].ranked(final, [sums[d] if d in reranked else None for d in final])


def _sums(
    doc_ids: Sequence[str], weighted: Sequence[tuple[Mapping[str, float], float]]
) -> dict[str, float]:
    return {d: sum(values[d] * share for values, share in weighted) for d in doc_ids}


def fuse_query(
    results: Mapping[str, QueryResult], order: Sequence[str], fusion: Fusion, *, by_rank: bool
) -> QueryResult:
    """Return one query's fused result, with the costs and counts of all runs, each once.

    results: by the name of each run, in the order of the fusion's weights by `order`, which may
    name a run twice. A query that failed in a run has failed, and keeps first-stage order.
    """
    own = list(results.values())
    spent = total(result.usage for result in own)
    counts: Counter[str] = sum((Counter(result.counts) for result in own), Counter())
    lost = [f"{name}: {r.failed}" for name, r in results.items() if r.failed is not None]
    if lost:
        ranks = dict(zip(own[0].doc_ids, own[0].first_stage_ranks, strict=True))
        final = sorted(ranks, key=ranks.__getitem__)
        changes = {"failed": "; ".join(lost), "usage": spent, "counts": dict(counts)}
        return own[0].ranked(final, [None] * len(final), **changes)
    found = fuse([results[name] for name in order], fusion, by_rank=by_rank)
    return found.ranked(found.doc_ids, found.scores, usage=spent, counts=dict(counts))
