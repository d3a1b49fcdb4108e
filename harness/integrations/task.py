"""Rerank the queries that another tool hands over, all with one engine, as a run does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import BadData
from ..pools import Pool, PoolRow
from ..reranking import Choice, Jobs, Scope, drive
from ..runs import QueryResult, build_result
from ..tasks import Source, Task, replace_unreadable
from ..types import Engine


def candidates_of(
    name: str,
    queries: Mapping[str, str],
    corpus: Mapping[str, str],
    candidates: Mapping[str, Sequence[str]],
) -> tuple[Task, Pool]:
    """Return a task without judgements, and the pool of its candidates, best first by query.

    A document that occurs twice in a list counts where it stands first. Raises BadData for one that
    is not in the corpus.
    """
    for query_id, doc_ids in candidates.items():
        unknown = next((doc_id for doc_id in doc_ids if doc_id not in corpus), None)
        if unknown is not None:
            raise BadData(f"{name}: candidate {unknown} of query {query_id} is not in the corpus")
    texts = {query_id: replace_unreadable(text) for query_id, text in queries.items()}
    documents = {doc_id: replace_unreadable(text) for doc_id, text in corpus.items()}
    rows = tuple(PoolRow(q, tuple(dict.fromkeys(candidates[q]))) for q in queries)
    depth = max((len(row.doc_ids) for row in rows), default=1)
    task = Task(name, name, texts, documents, {q: {} for q in queries}, Source("given", name))
    return task, Pool(name, "given", "given", "given", depth, rows, sha256="")


def rerank_task(task: Task, pool: Pool, choice: Choice, engine: Engine) -> list[QueryResult]:
    """Rerank a pool and return the finished rankings in its order; raises what `drive` raises."""
    jobs = Jobs(engine, Scope()).of(task, pool, choice)
    found: dict[str, QueryResult] = {}
    for job, outcome in drive(jobs, engine, what=choice.label, queries=len(pool.rows)):
        _, row, counts = job.key
        given = [document.doc_id for document in job.candidates.documents]
        found[row.query_id] = build_result(row, given, outcome, counts, task=task)
    return [found[row.query_id] for row in pool.rows]
