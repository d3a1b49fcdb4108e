"""The values of one run, query by query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import orders
from .measures import MEASURES, as_binary, is_binary, measure, positives_of

if TYPE_CHECKING:
    from ..runs import QueryResult, Run
    from .measures import Values

SAME = 1e-9
"""Two values of a measure that differ by less are equal."""


@dataclass(frozen=True, slots=True, eq=False)
class QueryValues:
    """Per-query values of one run: for each measure an array in the order of `query_ids`.

    names: the measures, without RECALL, which is always there.
    pool_key: what the values of pools depend on; runs with equal keys share them.
    pools, grades: in the same order; pools are without safeguards, grades of positives alone.
    first_stage: the pool as it came, without the safeguard. natural, safeguarded: the finished
    ranking without and with it; 0 for failed queries. ceiling, ceiling_safeguarded: the best order
    of what was reranked, without and with it.
    """

    names: tuple[str, ...]
    query_ids: tuple[str, ...]
    pool_key: tuple[object, ...]
    pools: tuple[Sequence[str], ...]
    grades: tuple[Mapping[str, int], ...]
    first_stage: Values
    natural: Values
    safeguarded: Values
    ceiling: Values
    ceiling_safeguarded: Values

    @property
    def positives(self) -> NDArray[np.int64]:
        """The number of positives of each query."""
        return np.array([len(grades) for grades in self.grades], dtype=np.int64)

    def gain(self, measure_name: str) -> NDArray[np.float64]:
        """Return natural minus first stage, per query."""
        return self.natural[measure_name] - self.first_stage[measure_name]

    def decided(self, measure_name: str) -> int:
        """Return for how many queries the value differs with the safeguard."""
        moved = abs(self.safeguarded[measure_name] - self.natural[measure_name]) > SAME
        return int(moved.sum())


def wins_ties_losses(gains: NDArray[np.float64]) -> tuple[int, int, int]:
    """Count the queries that gained, stayed the same and lost."""
    wins, losses = int((gains > SAME).sum()), int((gains < -SAME).sum())
    return wins, len(gains) - wins - losses, losses


def query_values(
    run: Run, known: QueryValues | None = None, names: Sequence[str] = MEASURES
) -> QueryValues:
    """Measure a run from its rankings and judgements.

    known: values of another run; those of its pools are taken where pools and judgements are equal.
    """
    depth = run.manifest["settings"].get("depth")
    pools = tuple(orders.first_stage(result) for result in run.results)
    guards = tuple(result.safeguard for result in run.results)
    key = (pools, guards, run.qrels, depth, run.min_grade, tuple(names))
    if known is None or known.pool_key != key:
        known = _before_reranking(run, key, pools, tuple(names))
    natural, safeguarded = _reranked(run, known)
    ids = tuple(result.query_id for result in run.results)
    return replace(known, query_ids=ids, natural=natural, safeguarded=safeguarded)


def _before_reranking(
    run: Run, key: tuple[object, ...], pools: tuple[Sequence[str], ...], names: tuple[str, ...]
) -> QueryValues:
    """Measure the pools of a run and their best orders, as if nothing had been reranked."""
    depth = run.manifest["settings"].get("depth")
    judged = (run.qrels.get(result.query_id, {}) for result in run.results)
    grades = tuple(positives_of(own, min_grade=run.min_grade) for own in judged)
    first_stage = measure(pools, grades, names)
    pairs = zip(pools, grades, strict=True)
    best_orders = [orders.best(pool, own, depth=depth) for pool, own in pairs]
    ceiling = measure(best_orders, grades, names)
    best = {
        i: orders.best(pools[i], grades[i], depth=depth, safeguard=result.safeguard)
        for i, result in enumerate(run.results)
        if result.safeguard is not None
    }
    return QueryValues(
        names=names,
        query_ids=(),
        pool_key=key,
        pools=pools,
        grades=grades,
        first_stage=first_stage,
        natural=first_stage,
        safeguarded=first_stage,
        ceiling=ceiling,
        ceiling_safeguarded=_with(ceiling, best, grades, names),
    )


def binary_values(run: Run, values: QueryValues) -> dict[str, Values]:
    """Measure a run under the convention BINARY: by stage; empty where nothing can differ."""
    if is_binary(values.grades, values.names):
        return {}
    least = run.min_grade
    qrels = {
        query_id: {doc_id: least * (grade >= least) for doc_id, grade in judged.items()}
        for query_id, judged in run.qrels.items()
    }
    equal = query_values(replace(run, qrels=qrels), names=values.names)
    stages = ("first_stage", "natural", "safeguarded")
    return {stage: as_binary(getattr(equal, stage), equal.positives) for stage in stages}


def _with(
    values: Values,
    rankings: Mapping[int, Sequence[str]],
    grades: Sequence[Mapping[str, int]],
    names: Sequence[str],
) -> Values:
    """Return `values` with those of other rankings, which are given by their places."""
    found = {name: array.copy() for name, array in values.items()}
    if rankings:
        others = measure([*rankings.values()], [grades[place] for place in rankings], names)
        for name, array in found.items():
            array[list(rankings)] = others[name]
    return found


def _reranked(run: Run, values: QueryValues) -> tuple[Values, Values]:
    """Return the natural and the safeguarded values of the finished rankings."""
    settings = run.manifest["settings"]
    if is_unseeded_random(settings):
        return _floor(run.results, values, settings.get("depth"))
    kept = [() if result.failed is not None else result.doc_ids for result in run.results]
    guards = [result.safeguard for result in run.results]
    pairs = zip(kept, guards, strict=True)
    kept_natural = [orders.natural(k, guard) for k, guard in pairs]
    natural = measure(kept_natural, values.grades, values.names)
    guarded = {place: kept[place] for place, guard in enumerate(guards) if guard is not None}
    return natural, _with(natural, guarded, values.grades, values.names)


def is_unseeded_random(settings: Mapping[str, Any]) -> bool:
    """Return whether a run is of the reranker `random` without a seed of its own."""
    reranker = settings["reranker"]
    return reranker.get("method") == "random" and not (reranker.get("options") or {}).get("seed")


def _floor(
    results: Sequence[QueryResult], values: QueryValues, depth: int | None
) -> tuple[Values, Values]:
    """Return the means over twenty shuffles; the one that the run itself holds is not used."""
    rankings, natural, repeated = [], [], []
    for result, pool, own in zip(results, values.pools, values.grades, strict=True):
        drawn = orders.shuffles(pool, result.query_id, depth=depth, safeguard=result.safeguard)
        rankings += drawn
        natural += [orders.natural(ranking, result.safeguard) for ranking in drawn]
        repeated += [own] * len(drawn)
    both = (measure(own, repeated, values.names) for own in (natural, rankings))
    one, other = (
        {name: array.reshape(-1, orders.SHUFFLES).mean(axis=1) for name, array in own.items()}
        for own in both
    )
    return one, other
