"""From three tables to a task: what is kept, what is counted, what is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace

from ..errors import BadData
from .columns import unread
from .languages import languages_and_bases
from .matching import check_documents, check_queries
from .tables import Table, judgements
from .task import Note, Shipped, Source, Task, TaskOptions
from .texts import corpus_texts, query_texts

Grades = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Tables:
    """The three tables of a task.

    `shared` says that `queries` holds those of other splits too: only the judged ones are the
    task's.
    """

    queries: Table
    corpus: Table
    qrels: Table
    shared: bool = False

    def without(self, names: Container[str]) -> Tables:
        """Return the tables without the columns of these names."""
        queries, corpus = self.queries.without(names), self.corpus.without(names)
        return replace(self, queries=queries, corpus=corpus, qrels=self.qrels.without(names))

    def unread(self) -> list[str]:
        """Return `table: column` for what is not read; raise BadData where it should have been."""
        tables = {"corpus": self.corpus, "queries": self.queries, "qrels": self.qrels}
        return [f"{kind}: {name}" for kind, table in tables.items() for name in unread(table, kind)]


@dataclass(frozen=True, slots=True)
class _Content:
    """What the tables hold, read and matched, and what was odd in them."""

    queries: Mapping[str, str]
    corpus: Mapping[str, str]
    graded: Grades
    notes: Mapping[str, Note]


def make_task(
    name: str, split: str, *, tables: Tables, source: Source, shipped: Shipped, options: TaskOptions
) -> Task:
    """Check the tables and return the task; raise BadData naming file and id.

    Queries without a positive are counted, named and dropped: no measure is defined for them.
    """
    _check_ignored(name, tables, shipped, options)
    tables = tables.without(options.ignore_column)
    found = _content(tables, options)
    graded, queries = found.graded, found.queries
    kept = {q: text for q, text in queries.items() if _has_positive(graded.get(q, {}), options)}
    if not kept:
        wanted = f"a judgement of grade {options.min_grade} or more"
        raise BadData(f"{tables.qrels.where}: no query of task {name} has {wanted}")
    qrels = {query_id: graded[query_id] for query_id in kept}
    if not options.keep_going:
        where = (tables.qrels.where, tables.corpus.where)
        check_documents(qrels, found.corpus, options.min_grade, where)
    languages, bases = languages_and_bases(tables.queries, kept, options.query_id)
    known = languages.keys() | bases.keys()
    nameless = [q for q in kept if q not in known] if options.query_id is not None else []
    counted = {
        **_counted(found, qrels, options),
        "queries in whose id --query-id finds nothing": nameless,
    }
    return Task(
        name=name,
        split=split,
        query_languages=languages,
        query_bases=bases,
        queries=kept,
        corpus=found.corpus,
        qrels=qrels,
        source=replace(source, sha256=fingerprint(queries, corpus=found.corpus, qrels=graded)),
        shipped=shipped,
        min_grade=options.min_grade,
        exclude_identical=bool(options.exclude_identical),
        notes={**{w: _note(ids) for w, ids in counted.items() if ids}, **found.notes},
    )


def _check_ignored(name: str, tables: Tables, shipped: Shipped, options: TaskOptions) -> None:
    """Raise BadData where a column to ignore is in no table of the task and in no list."""
    three = (tables.queries, tables.corpus, tables.qrels)
    has = dict.fromkeys(column for table in three for column in table.columns)
    if all(column in has for column in options.ignore_column):
        return
    has.update(dict.fromkeys(shipped.columns()))
    unknown_one = next((column for column in options.ignore_column if column not in has), None)
    if unknown_one is not None:
        cure = f"drop --ignore-column {unknown_one}"
        raise BadData(f"{name} has no column {unknown_one!r} (has: {', '.join(has)}); {cure}")


def _content(tables: Tables, options: TaskOptions) -> _Content:
    columns = tables.unread()
    graded, repeated = judgements(tables.qrels)
    where = (tables.qrels.where, tables.queries.where)
    ids = dict.fromkeys(tables.queries.ids("_id"))
    check_queries(graded, ids, where, keep_going=options.keep_going)
    queries = query_texts(tables.queries, graded if tables.shared else None)
    corpus = corpus_texts(tables.corpus)
    replaced = [*queries.replaced, *corpus.replaced]
    notes = {
        "repeated judgements": _note(repeated),
        "texts in which U+FFFD replaces NUL or a lone surrogate": _note(replaced),
        "columns that are not read": Note(len(columns), tuple(columns)),
    }
    notes = {what: note for what, note in notes.items() if note.count}
    return _Content(queries.by_id, corpus.by_id, graded, notes)


def _counted(found: _Content, qrels: Grades, options: TaskOptions) -> dict[str, list[str]]:
    outside = list(_outside(qrels, found.corpus))
    return {
        "empty documents": [doc_id for doc_id, text in found.corpus.items() if not text.strip()],
        "qrels to unknown ids": [doc_id for doc_id, _ in outside],
        "positives outside the corpus": [d for d, grade in outside if grade >= options.min_grade],
        "queries without a positive": [q for q in found.queries if q not in qrels],
        "judged queries without a text": [q for q in found.graded if q not in found.queries],
    }


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
