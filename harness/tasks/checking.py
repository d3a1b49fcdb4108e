"""From three tables to a task: what is kept, what is counted, what is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ..errors import BadData
from .languages import languages_and_bases
from .tables import Table, judgements, query_texts, texts
from .task import Note, Shipped, Source, Task, TaskOptions

Grades = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Tables:
    """The three tables of a task."""

    queries: Table
    corpus: Table
    qrels: Table


def make_task(
    name: str, split: str, *, tables: Tables, source: Source, shipped: Shipped, options: TaskOptions
) -> Task:
    """Check the tables and return the task; raise BadData naming file and id.

    Queries without a positive are counted, named and dropped: no measure is defined for them.
    """
    graded, repeated = judgements(tables.qrels)
    queries, corpus = query_texts(tables.queries), texts(tables.corpus)
    kept = {q: text for q, text in queries.items() if _has_positive(graded.get(q, {}), options)}
    if not kept:
        wanted = f"a judgement of grade {options.min_grade} or more"
        raise BadData(f"{tables.qrels.where}: no query of task {name} has {wanted}")
    qrels = {query_id: graded[query_id] for query_id in kept}
    outside = list(_outside(qrels, corpus))
    counted = {
        "empty documents": [doc_id for doc_id, text in corpus.items() if not text.strip()],
        "qrels to unknown ids": [doc_id for doc_id, _ in outside],
        "positives outside the corpus": [d for d, grade in outside if grade >= options.min_grade],
        "queries without a positive": [query_id for query_id in queries if query_id not in kept],
        "judged queries without a text": [q for q in graded if q not in queries],
        "repeated judgements": repeated,
    }
    languages, bases = languages_and_bases(tables.queries, kept, options.query_id)
    if options.query_id is not None:
        known = languages.keys() | bases.keys()
        counted["queries in whose id --query-id finds nothing"] = [
            q for q in kept if q not in known
        ]
    return Task(
        name=name,
        split=split,
        query_languages=languages,
        query_bases=bases,
        queries=kept,
        corpus=corpus,
        qrels=qrels,
        source=replace(source, sha256=fingerprint(queries, corpus=corpus, qrels=graded)),
        shipped=shipped,
        min_grade=options.min_grade,
        exclude_identical=bool(options.exclude_identical),
        notes={what: _note(found) for what, found in counted.items() if found},
    )


def _has_positive(graded: Mapping[str, int], options: TaskOptions) -> bool:
    return any(grade >= options.min_grade for grade in graded.values())


def _outside(qrels: Grades, corpus: Mapping[str, str]) -> Iterable[tuple[str, int]]:
    for graded in qrels.values():
        yield from ((doc_id, grade) for doc_id, grade in graded.items() if doc_id not in corpus)


def _note(found: list[str]) -> Note:
    return Note(len(found), tuple(dict.fromkeys(found))[:5])


def fingerprint(queries: Mapping[str, str], *, corpus: Mapping[str, str], qrels: Grades) -> str:
    """Return the sha256 of ids, texts and grades, in sorted order and each with its length.

    The order of rows on disk does not matter, for no result depends on it.
    """
    digest = hashlib.sha256()
    for part in (*_flat(queries), "", *_flat(corpus), "", *_flat_grades(qrels)):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()


def _flat(found: Mapping[str, str]) -> Iterable[str]:
    for text_id in sorted(found):
        yield text_id
        yield found[text_id]


def _flat_grades(qrels: Grades) -> Iterable[str]:
    for query_id in sorted(qrels):
        for doc_id in sorted(qrels[query_id]):
            yield query_id
            yield doc_id
            yield str(qrels[query_id][doc_id])
