"""One row for each query of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import orders
from .measures import MEASURES

if TYPE_CHECKING:
    from ..runs import QueryResult, Run
    from .gains import QueryValues

_REPAIRED = ("repaired", "unparsable")


@dataclass(frozen=True, slots=True)
class QueryRow:
    """One query of one run; the values are of nDCG@10.

    rank_before, rank_after: the rank of the best positive in the pool and in the finished ranking,
    both without the safeguard; None where there is none, or the query failed. repaired: answers
    that had to be repaired, or could not be used.
    """

    task: str
    profile: str
    reranker: str
    query_id: str
    language: str | None
    first_stage: float
    natural: float
    safeguarded: float
    rank_before: int | None
    rank_after: int | None
    safeguard: bool
    failed: bool
    repaired: int


def bases_of(results: Sequence[QueryResult]) -> tuple[str, ...] | None:
    """Return the question that each query is a version of; None where no two share one."""
    bases = tuple(result.query_id if result.base is None else result.base for result in results)
    return bases if len(set(bases)) < len(bases) else None


def query_rows(run: Run, values: QueryValues) -> list[QueryRow]:
    """Return a row for each query of a run, in its order."""
    settings = run.manifest["settings"]
    main = MEASURES[0]
    stages = (values.first_stage[main], values.natural[main], values.safeguarded[main])
    found = []
    for place, result in enumerate(run.results):
        grades = values.grades[place]
        natural = orders.natural(result.doc_ids, result.safeguard)
        failed = result.failed is not None
        found.append(
            QueryRow(
                task=settings["task"],
                profile=settings["profile"]["asked"],
                reranker=settings["reranker"]["label"],
                query_id=result.query_id,
                language=result.language,
                first_stage=float(stages[0][place]),
                natural=float(stages[1][place]),
                safeguarded=float(stages[2][place]),
                rank_before=_best_rank(values.pools[place], grades),
                rank_after=None if failed else _best_rank(natural, grades),
                safeguard=result.safeguard is not None,
                failed=failed,
                repaired=sum(result.counts.get(name, 0) for name in _REPAIRED),
            )
        )
    return found


def _best_rank(ranking: Sequence[str], grades: Mapping[str, int]) -> int | None:
    return next((rank for rank, doc_id in enumerate(ranking, 1) if doc_id in grades), None)
