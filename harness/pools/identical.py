"""A query's own document: its very text in the corpus, as in ArguAna."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from ..tasks import Task


def own_documents(task: Task) -> dict[str, frozenset[str]]:
    """Return, for each query that has any, the documents that are the query itself.

    They are found by text, after white space is normalised, or by id where the catalogue says so.
    """
    if task.identical_by == "id":
        return {q: frozenset({q}) for q in task.queries if q in task.corpus}
    by_text: defaultdict[str, set[str]] = defaultdict(set)
    for doc_id, text in task.corpus.items():
        by_text[" ".join(text.split())].add(doc_id)
    texts = {query_id: " ".join(text.split()) for query_id, text in task.queries.items()}
    return {q: frozenset(by_text[text]) for q, text in texts.items() if text in by_text}


def without_own_documents(task: Task) -> Task:
    """Return `task` with no query's own document among its judgements, if it excludes them.

    A query that loses its last positive this way is dropped from the task.
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
