"""Build a task from three tables: check that they match, and count what is unusual in them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..errors import BadData
from .columns import unread_columns
from .ids import MISMATCH_LIMIT, check_query_ids, id_key, mismatch
from .languages import languages_and_bases
from .table import Table, corpus_texts, judgements, query_texts
from .task import Note, RankedLists, Source, Task, TaskOptions

Grades = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Tables:
    """The three tables of a task.

    shared: `queries` also holds queries of other splits, so only the judged ones are the task's.
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
        """Return `table: column` of what is not read; raise BadData for what must be read."""
        tables = {"corpus": self.corpus, "queries": self.queries, "qrels": self.qrels}
        return [f"{k}: {name}" for k, table in tables.items() for name in unread_columns(table, k)]


@dataclass(frozen=True, slots=True)
class _Content:
    """What the tables hold, and what was counted in them."""

    queries: Mapping[str, str]
    corpus: Mapping[str, str]
    graded: Grades
    counted: Mapping[str, Sequence[str]]


def build_task(
    name: str,
    split: str,
    *,
    tables: Tables,
    source: Source,
    options: TaskOptions,
    shipped: Mapping[str, Callable[[], RankedLists]] | None = None,
    list_columns: Iterable[str] = (),
) -> Task:
    """Check the tables and return the task; raise BadData naming the file and the id.

    Queries without a positive are counted and dropped, because no measure is defined for them.

    list_columns: the columns of the candidate lists.
    """
    _check_ignored(name, tables, list_columns, options.ignore_column)
    tables = tables.without(options.ignore_column)
    unread = tables.unread()
    found = _content(tables, options)
    queries = {q: text for q, text in found.queries.items() if _is_kept(q, found, options)}
    if not queries:
        wanted = f"a judgement of grade {options.min_grade} or more"
        raise BadData(f"{tables.qrels.where}: no query of task {name} has {wanted}")
    qrels = {query_id: found.graded[query_id] for query_id in queries}
    if not options.keep_going:
        _check_documents(qrels, found.corpus, tables, options.min_grade)
    languages, bases = languages_and_bases(tables.queries, queries, options.query_id)
    unmatched = [q for q in queries if options.query_id and q not in {**languages, **bases}]
    counted = {
        **_odd(found, qrels, options.min_grade),
        "queries in whose id --query-id finds nothing": unmatched,
        **found.counted,
    }
    notes = {w: Note(len(ids), tuple(dict.fromkeys(ids))[:5]) for w, ids in counted.items() if ids}
    if unread:
        notes["columns that are not read"] = Note(len(unread), tuple(unread))
    sha256 = fingerprint(found.queries, corpus=found.corpus, qrels=found.graded)
    return Task(
        name=name,
        split=split,
        queries=queries,
        corpus=found.corpus,
        qrels=qrels,
        source=replace(source, sha256=sha256),
        shipped=shipped or {},
        min_grade=options.min_grade,
        query_languages=languages,
        query_bases=bases,
        exclude_identical=bool(options.exclude_identical),
        notes=notes,
    )


def _check_ignored(
    name: str, tables: Tables, list_columns: Iterable[str], ignored: Sequence[str]
) -> None:
    """Raise BadData if a column to ignore is in no table of the task and in no list."""
    three = (tables.queries, tables.corpus, tables.qrels)
    has = dict.fromkeys(column for table in three for column in table.columns)
    if any(column not in has for column in ignored):
        has.update(dict.fromkeys(list_columns))
    for column in ignored:
        if column not in has:
            cure = f"drop --ignore-column {column}"
            raise BadData(f"{name} has no column {column!r} (has: {', '.join(has)}); {cure}")


def _content(tables: Tables, options: TaskOptions) -> _Content:
    graded, repeated = judgements(tables.qrels)
    _check_queries(graded, tables, keep_going=options.keep_going)
    queries, replaced = query_texts(tables.queries, graded if tables.shared else None)
    corpus, replaced_too = corpus_texts(tables.corpus)
    counted = {
        "repeated judgements": repeated,
        "texts in which U+FFFD replaces NUL or a lone surrogate": [*replaced, *replaced_too],
    }
    return _Content(queries, corpus, graded, counted)


def _is_kept(query_id: str, found: _Content, options: TaskOptions) -> bool:
    grades = found.graded.get(query_id, {}).values()
    return any(grade >= options.min_grade for grade in grades)


def _check_queries(graded: Grades, tables: Tables, *, keep_going: bool) -> None:
    """Raise BadData if judged queries are not in the table of queries under their ids."""
    where, known = tables.qrels.where, dict.fromkeys(tables.queries.ids("_id"))
    if known and known.keys().isdisjoint(graded):
        what = f"{where} judges none of the queries in {tables.queries.where}"
        cure = "write the ids alike, or take the queries that these judgements are for"
        raise mismatch(what, graded, known, cure=cure)
    if not keep_going:
        limit = MISMATCH_LIMIT * len(graded)
        check_query_ids(where, graded, known, tables.queries.where, limit=limit)


def _check_documents(
    qrels: Grades, corpus: Mapping[str, str], tables: Tables, min_grade: int
) -> None:
    """Raise BadData if judged documents are not in the corpus under their ids.

    That is, if no positive is; or if for too many queries no positive is, but another spelling of
    one is, or no judged document is.
    """
    spellings = {id_key(doc_id) for doc_id in corpus}
    missing: list[str] = []
    lost = without = 0
    for graded in qrels.values():
        positives = [doc_id for doc_id, grade in graded.items() if grade >= min_grade]
        if not corpus.keys().isdisjoint(positives):
            continue
        without += 1
        missing += positives
        is_respelt = any(id_key(doc_id) in spellings for doc_id in positives)
        lost += is_respelt or corpus.keys().isdisjoint(graded)
    if without == len(qrels):
        what = "no positive"
    elif lost > MISMATCH_LIMIT * len(qrels):
        what = f"no positive of {lost} of {len(qrels)} queries"
    else:
        return
    raise mismatch(f"{tables.qrels.where}: {what} is in {tables.corpus.where}", missing, corpus)


def _odd(found: _Content, qrels: Grades, min_grade: int) -> dict[str, list[str]]:
    outside = [(d, g) for graded in qrels.values() for d, g in graded.items()]
    outside = [(doc_id, grade) for doc_id, grade in outside if doc_id not in found.corpus]
    return {
        "empty documents": [doc_id for doc_id, text in found.corpus.items() if not text.strip()],
        "qrels to unknown ids": [doc_id for doc_id, _ in outside],
        "positives outside the corpus": [d for d, grade in outside if grade >= min_grade],
        "queries without a positive": [q for q in found.queries if q not in qrels],
        "judged queries without a text": [q for q in found.graded if q not in found.queries],
    }


def fingerprint(queries: Mapping[str, str], *, corpus: Mapping[str, str], qrels: Grades) -> str:
    """Return the sha256 of ids, texts and grades, each with its length, in sorted order.

    The order of rows on disk is left out, because no result depends on it.
    """
    digest = hashlib.sha256()
    for part in (*_sorted_parts(queries), "", *_sorted_parts(corpus), "", *_graded_parts(qrels)):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()


def _sorted_parts(texts: Mapping[str, str]) -> Iterable[str]:
    return (part for text_id in sorted(texts) for part in (text_id, texts[text_id]))


def _graded_parts(qrels: Grades) -> Iterable[str]:
    for query_id in sorted(qrels):
        for doc_id in sorted(qrels[query_id]):
            yield from (query_id, doc_id, str(qrels[query_id][doc_id]))
