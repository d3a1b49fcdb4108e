"""Make the finished ranking of a query from its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..pools import PoolRow
from ..reranking import Outcome, Reranked, order
from .files import QueryResult

if TYPE_CHECKING:
    from ..tasks import Task


def finish(
    row: PoolRow,
    given: Sequence[str],
    outcome: Outcome,
    counts: Mapping[str, int],
    *,
    task: Task,
) -> QueryResult:
    """Return the finished ranking: reranked documents first, then the rest in pool order.

    A failed query keeps first-stage order. `given` are the documents in the order in which the
    reranker saw them, which ties keep; `counts` are those of the fitting.
    """
    place = {doc_id: rank for rank, doc_id in enumerate(row.doc_ids, start=1)}
    if isinstance(outcome, Reranked):
        ranked = [(given[i], outcome.scores[i]) for i in order(outcome.scores)]
        failed, found = None, {**outcome.counts, **counts}
    else:
        ranked, failed, found = [], outcome.reason, dict(counts)
    seen = {doc_id for doc_id, _ in ranked}
    rest = [(doc_id, None) for doc_id in row.doc_ids if doc_id not in seen]
    final: list[tuple[str, float | None]] = [*ranked, *rest]
    return QueryResult(
        query_id=row.query_id,
        doc_ids=tuple(doc_id for doc_id, _ in final),
        scores=tuple(score for _, score in final),
        first_stage_ranks=tuple(place[doc_id] for doc_id, _ in final),
        safeguard=row.safeguard,
        failed=failed,
        usage=outcome.usage,
        counts=found,
        language=task.query_languages.get(row.query_id),
        base=task.query_bases.get(row.query_id),
        query_chars=len(task.queries[row.query_id]),
        pool_chars=_mean_length(task, row),
    )


def _mean_length(task: Task, row: PoolRow) -> int | None:
    lengths = [len(task.corpus[doc_id]) for doc_id in row.doc_ids]
    return round(sum(lengths) / len(lengths)) if lengths else None
