"""Find the documents that are a query itself, as in ArguAna."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from ..tasks import Task


def own_documents(task: Task) -> dict[str, frozenset[str]]:
    """Return query id -> documents that are the query itself, for each query that has any.

    A document is the query if their texts are equal after white space is normalised, or their ids
    if the task's `identical_by` is `id`.
    """
    if task.identical_by == "id":
        return {q: frozenset({q}) for q in task.queries if q in task.corpus}
    asked: defaultdict[str, list[str]] = defaultdict(list)
    for query_id, query in task.queries.items():
        asked[" ".join(query.split())].append(query_id)
    found: defaultdict[str, set[str]] = defaultdict(set)
    for doc_id, text in task.corpus.items():
        for query_id in asked.get(" ".join(text.split()), ()):
            found[query_id].add(doc_id)
    return {q: frozenset(found[q]) for q in task.queries if q in found}


def without_own_documents(task: Task) -> Task:
    """Return `task` without judgements of a query's own documents, if it excludes these.

    A query that has no other positive is dropped.
    """
    if not task.exclude_identical:
        return task
    own = own_documents(task)
    qrels = {
        query_id: {d: grade for d, grade in grades.items() if d not in own.get(query_id, ())}
        for query_id, grades in task.qrels.items()
    }
    judged = replace(task, qrels=qrels)
    queries = {q: text for q, text in task.queries.items() if judged.positives(q)}
    return replace(judged, queries=queries, qrels={q: qrels[q] for q in queries})
