"""What one run gained, query by query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import orders
from .measures import measure, relevant

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..runfiles import QueryResult, Run
    from .measures import Values

SAME = 1e-9
"""Two values of a measure that differ by less are equal."""


@dataclass(frozen=True, slots=True, eq=False)
class QueryValues:
    """Per-query values of one run: for each measure an array in the order of `query_ids`.

    first_stage: the pool as it came, without the safeguard. natural: the finished ranking without
    the safeguard. safeguarded: with it. ceiling, ceiling_safeguarded: the best order of what was
    reranked, without and with it. Failed queries have 0 in natural and safeguarded.
    """

    query_ids: tuple[str, ...]
    positives: NDArray[np.int64]
    first_stage: Values
    natural: Values
    safeguarded: Values
    ceiling: Values
    ceiling_safeguarded: Values

    def gain(self, measure_name: str) -> NDArray[np.float64]:
        """Natural minus first stage, per query."""
        return self.natural[measure_name] - self.first_stage[measure_name]

    def decided(self, measure_name: str) -> int:
        """How many queries the safeguard decides: their value differs with it."""
        moved = abs(self.safeguarded[measure_name] - self.natural[measure_name]) > SAME
        return int(moved.sum())


def query_values(run: Run) -> QueryValues:
    """Measure a run, from its rankings and judgements alone."""
    import numpy as np

    settings = run.manifest["settings"]
    depth, min_grade = settings.get("depth"), settings.get("min_grade") or 1
    grades = [relevant(run.qrels.get(r.query_id, {}), min_grade=min_grade) for r in run.results]
    pools = [orders.first_stage(result) for result in run.results]
    rows = list(zip(run.results, pools, grades, strict=True))
    natural, safeguarded = _reranked(run.results, pools, grades, settings)
    ceiling = [orders.best(pool, g, depth=depth) for _, pool, g in rows]
    ceiling_safeguarded = [
        orders.best(pool, g, depth=depth, safeguard=r.safeguard) for r, pool, g in rows
    ]
    return QueryValues(
        query_ids=tuple(result.query_id for result in run.results),
        positives=np.array([len(g) for g in grades], dtype=np.int64),
        first_stage=measure(pools, grades),
        natural=natural,
        safeguarded=safeguarded,
        ceiling=measure(ceiling, grades),
        ceiling_safeguarded=measure(ceiling_safeguarded, grades),
    )


def _reranked(
    results: Sequence[QueryResult],
    pools: Sequence[Sequence[str]],
    grades: Sequence[Mapping[str, int]],
    settings: Mapping[str, Any],
) -> tuple[Values, Values]:
    """Return the natural and the safeguarded values of the finished rankings."""
    if is_floor(settings):
        return _floor(results, pools, grades, settings.get("depth"))
    kept = [() if result.failed is not None else result.doc_ids for result in results]
    natural = [orders.natural(k, r.safeguard) for k, r in zip(kept, results, strict=True)]
    return measure(natural, grades), measure(kept, grades)


def is_floor(settings: Mapping[str, Any]) -> bool:
    """Say whether a run stands for chance: the reranker `random`, unless it names a seed."""
    reranker = settings["reranker"]
    return reranker.get("method") == "random" and not reranker.get("options", {}).get("seed")


def _floor(
    results: Sequence[QueryResult],
    pools: Sequence[Sequence[str]],
    grades: Sequence[Mapping[str, int]],
    depth: int | None,
) -> tuple[Values, Values]:
    """Return the means over twenty shuffles, of which the run itself holds the first."""
    rankings = [
        orders.shuffled(pool, r.query_id, seed=seed, depth=depth, safeguard=r.safeguard)
        for seed in orders.FLOOR_SEEDS
        for r, pool in zip(results, pools, strict=True)
    ]
    every = [result for _ in orders.FLOOR_SEEDS for result in results]
    natural = [orders.natural(k, r.safeguard) for k, r in zip(rankings, every, strict=True)]
    repeated = [*grades] * len(orders.FLOOR_SEEDS)
    return _seed_means(measure(natural, repeated)), _seed_means(measure(rankings, repeated))


def _seed_means(values: Values) -> Values:
    seeds = len(orders.FLOOR_SEEDS)
    return {name: array.reshape(seeds, -1).mean(axis=0) for name, array in values.items()}
