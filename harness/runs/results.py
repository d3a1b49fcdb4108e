"""The finished ranking of a query, and all rankings of a run."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..errors import BadData
from ..pools import PoolRow
from ..reranking import Outcome, Reranked, Usage, order

if TYPE_CHECKING:
    from ..tasks import Task


@dataclass(frozen=True, slots=True)
class QueryResult:
    """One query's finished ranking and what it cost.

    doc_ids: best first, the safeguard included. scores: None where a document was not reranked.
    first_stage_ranks: each document's rank in the pool, from 1. failed: the reason, None if served.
    first_stage_scores: by document, None for the safeguard; empty where they are not known.
    language and base: the query's own, where known; versions of one question have equal bases.
    query_chars, pool_chars: the length of the query and the mean length of its candidates, uncut.

    Numbers without a None are kept in arrays, a quarter of the size of tuples.
    """

    query_id: str
    doc_ids: tuple[str, ...]
    scores: Sequence[float | None]
    first_stage_ranks: Sequence[int]
    safeguard: str | None = None
    failed: str | None = None
    usage: Usage = field(default_factory=Usage)
    counts: Mapping[str, int] = field(default_factory=dict)
    language: str | None = None
    base: str | None = None
    query_chars: int | None = None
    pool_chars: int | None = None
    first_stage_scores: Sequence[float | None] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "scores", _packed("d", self.scores))
        object.__setattr__(self, "first_stage_ranks", _packed("i", self.first_stage_ranks))
        object.__setattr__(self, "first_stage_scores", _packed("d", self.first_stage_scores))

    def ranked(
        self, doc_ids: Sequence[str], scores: Sequence[float | None], **changes: Any
    ) -> QueryResult:
        """Return the same documents in another order with other scores, and with `changes`."""
        place = {doc_id: index for index, doc_id in enumerate(self.doc_ids)}
        places = [place[doc_id] for doc_id in doc_ids]
        known = self.first_stage_scores
        return replace(
            self,
            doc_ids=tuple(doc_ids),
            scores=tuple(scores),
            first_stage_ranks=tuple(self.first_stage_ranks[index] for index in places),
            first_stage_scores=tuple(known[index] for index in places) if known else (),
            **changes,
        )


def _packed(kind: str, numbers: Sequence[Any]) -> Sequence[Any]:
    """Return an array of `numbers`; a tuple where there are none, or one is None."""
    return array(kind, numbers) if numbers and None not in numbers else tuple(numbers)


@dataclass(frozen=True, slots=True)
class Run:
    """Results in task order; `qrels` holds grades by query id and document id."""

    manifest: Mapping[str, Any]
    results: tuple[QueryResult, ...]
    qrels: Mapping[str, Mapping[str, int]]

    @property
    def min_grade(self) -> int:
        """The least grade that counts as positive, at least 1."""
        return max(self.manifest["settings"].get("min_grade") or 1, 1)


def check_result(result: QueryResult, where: str) -> None:
    """Raise BadData unless a ranking is valid: it would be measured wrongly, and silently."""
    documents = set(result.doc_ids)
    if len(documents) != len(result.doc_ids):
        raise BadData(f"{where}: query {result.query_id} ranks a document twice")
    ranks = set(result.first_stage_ranks)
    known = len(result.first_stage_scores) in {0, len(result.doc_ids)}
    if not known or not len(result.doc_ids) == len(result.scores) == len(ranks):
        raise BadData(
            f"{where}: query {result.query_id} has not one score and first-stage rank per document"
        )
    if result.safeguard is not None and result.safeguard not in documents:
        raise BadData(f"{where}: query {result.query_id} does not rank its safeguard")


def build_result(
    row: PoolRow, given: Sequence[str], outcome: Outcome, counts: Mapping[str, int], *, task: Task
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
        first_stage_scores=_first_stage_scores(row, [doc_id for doc_id, _ in final]),
    )


def _first_stage_scores(row: PoolRow, doc_ids: Sequence[str]) -> tuple[float | None, ...]:
    if row.scores is None:
        return ()
    known = dict(zip(row.doc_ids, row.scores, strict=False))  # the safeguard has none
    return tuple(known.get(doc_id) for doc_id in doc_ids)


def _mean_length(task: Task, row: PoolRow) -> int | None:
    lengths = [len(task.corpus[doc_id]) for doc_id in row.doc_ids]
    return round(sum(lengths) / len(lengths)) if lengths else None
