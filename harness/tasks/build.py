"""Build a task from three tables: check that they match, and count what is unusual in them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from ..errors import BadData
from .columns import unread_columns
from .ids import MISMATCH_LIMIT, check_query_ids, id_key, mismatch
from .languages import languages_and_bases
from .table import Table, corpus_texts, judgements, query_texts
from .task import Note, RankedLists, Source, Task, TaskOptions

Grades = Mapping[str, Mapping[str, int]]


def build_task(
    name: str,
    split: str,
    *,
    tables: Mapping[str, Table],
    source: Source,
    options: TaskOptions,
    shared: bool = False,
    shipped: Mapping[str, Callable[[], RankedLists]] | None = None,
    list_columns: Iterable[str] = (),
) -> Task:
    """Check the tables and return the task; raise BadData naming the file and the id.

    Queries without a positive are counted and dropped, because no measure is defined for them.

    tables: the tables `corpus`, `queries` and `qrels`.
    shared: `queries` also holds queries of other splits, so only the judged ones are the task's.
    list_columns: the columns of the candidate lists.
    """
    _check_ignored(name, tables, list_columns, options.ignore_column)
    tables = {kind: table.drop(options.ignore_column) for kind, table in tables.items()}
    unread = [f"{kind}: {c}" for kind, table in tables.items() for c in unread_columns(table, kind)]
    graded, repeated = judgements(tables["qrels"])
    _check_queries(graded, tables, keep_going=options.keep_going)
    texts, replaced = query_texts(tables["queries"], graded if shared else None)
    corpus, replaced_too = corpus_texts(tables["corpus"])
    qrels = _kept(name, graded, texts, tables, options)
    _check_documents(qrels, corpus, tables, options)
    languages, bases = languages_and_bases(tables["queries"], qrels, options.query_id)
    named = languages.keys() | bases.keys()
    unmatched = [q for q in qrels if options.query_id and q not in named]
    counted = {
        **_counted(texts, corpus, graded, qrels, options.min_grade),
        "queries in whose id --query-id finds nothing": unmatched,
        "repeated judgements": repeated,
        "texts in which U+FFFD replaces NUL or a lone surrogate": [*replaced, *replaced_too],
    }
    notes = {what: Note.of(ids) for what, ids in counted.items() if ids}
    if unread:
        notes["columns that are not read"] = Note(len(unread), tuple(unread))
    return Task(
        name=name,
        split=split,
        queries={query_id: texts[query_id] for query_id in qrels},
        corpus=corpus,
        qrels=qrels,
        source=replace(source, sha256=fingerprint(texts, corpus=corpus, qrels=graded)),
        shipped=shipped or {},
        min_grade=options.min_grade,
        query_languages=languages,
        query_bases=bases,
        exclude_identical=bool(options.exclude_identical),
        notes=notes,
    )


def _check_ignored(
    name: str, tables: Mapping[str, Table], list_columns: Iterable[str], ignored: Sequence[str]
) -> None:
    """Raise BadData if a column to ignore is in no table of the task and in no list."""
    kinds = ("queries", "corpus", "qrels")
    has = dict.fromkeys(column for kind in kinds for column in tables[kind].columns)
    if any(column not in has for column in ignored):
        has.update(dict.fromkeys(list_columns))
    for column in ignored:
        if column not in has:
            cure = f"drop --ignore-column {column}"
            raise BadData(f"{name} has no column {column!r} (has: {', '.join(has)}); {cure}")


def _check_queries(graded: Grades, tables: Mapping[str, Table], *, keep_going: bool) -> None:
    """Raise BadData if judged queries are not in the table of queries under their ids."""
    where, known = tables["qrels"].where, dict.fromkeys(tables["queries"].ids("_id"))
    if known and known.keys().isdisjoint(graded):
        what = f"{where} judges none of the queries in {tables['queries'].where}"
        cure = "write the ids alike, or take the queries that these judgements are for"
        raise mismatch(what, graded, known, cure=cure)
    if not keep_going:
        limit = MISMATCH_LIMIT * len(graded)
        check_query_ids(where, graded, known, tables["queries"].where, limit=limit)


def _kept(
    name: str,
    graded: Grades,
    texts: Iterable[str],
    tables: Mapping[str, Table],
    options: TaskOptions,
) -> Grades:
    """Return the judgements of the queries with a positive; raise BadData if there are none."""
    found = {
        query_id: graded[query_id]
        for query_id in texts
        if any(grade >= options.min_grade for grade in graded.get(query_id, {}).values())
    }
    if not found:
        wanted = f"a judgement of grade {options.min_grade} or more"
        raise BadData(f"{tables['qrels'].where}: no query of task {name} has {wanted}")
    return found


def _check_documents(
    qrels: Grades, corpus: Mapping[str, str], tables: Mapping[str, Table], options: TaskOptions
) -> None:
    """Raise BadData, unless asked to keep going, if judged documents are not in the corpus.

    That is, if no positive is; or if for too many queries no positive is, but another spelling of
    one is, or no judged document is.
    """
    if options.keep_going:
        return
    least = options.min_grade
    of_queries = [[d for d, grade in own.items() if grade >= least] for own in qrels.values()]
    without = [
        (graded, positives)
        for graded, positives in zip(qrels.values(), of_queries, strict=True)
        if corpus.keys().isdisjoint(positives)
    ]
    missing = [doc_id for _, positives in without for doc_id in positives]
    wanted = set(map(id_key, missing))
    respelt = {key for doc_id in corpus if (key := id_key(doc_id)) in wanted} if wanted else set()
    lost = sum(
        corpus.keys().isdisjoint(graded) or not respelt.isdisjoint(map(id_key, positives))
        for graded, positives in without
    )
    if len(without) == len(qrels):
        what = "no positive"
    elif lost > MISMATCH_LIMIT * len(qrels):
        what = f"no positive of {lost} of {len(qrels)} queries"
    else:
        return
    raise mismatch(
        f"{tables['qrels'].where}: {what} is in {tables['corpus'].where}", missing, corpus
    )


def _counted(
    texts: Mapping[str, str],
    corpus: Mapping[str, str],
    graded: Grades,
    qrels: Grades,
    min_grade: int,
) -> dict[str, list[str]]:
    pairs = [pair for found in qrels.values() for pair in found.items() if pair[0] not in corpus]
    return {
        "empty documents": [doc_id for doc_id, text in corpus.items() if not text.strip()],
        "qrels to unknown ids": [doc_id for doc_id, _ in pairs],
        "positives outside the corpus": [d for d, grade in pairs if grade >= min_grade],
        "queries without a positive": [q for q in texts if q not in qrels],
        "judged queries without a text": [q for q in graded if q not in texts],
    }


def fingerprint(queries: Mapping[str, str], *, corpus: Mapping[str, str], qrels: Grades) -> str:
    """Return the sha256 of ids, texts and grades, each with its length, in sorted order.

    The order of rows on disk is left out, because no result depends on it.
    """

    def parts(texts: Mapping[str, str]) -> Iterator[str]:
        return (part for text_id in sorted(texts) for part in (text_id, texts[text_id]))

    grades = sorted(
        (q, d, str(grade)) for q, graded in qrels.items() for d, grade in graded.items()
    )
    digest = hashlib.sha256()
    for part in chain(parts(queries), [""], parts(corpus), [""], chain.from_iterable(grades)):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()
