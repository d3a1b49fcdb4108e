"""Rows as they were read, and the checks that turn them into ids, texts and grades.

Every source of tasks ends in these tables, so a broken file is told in the same words wherever it
came from: what is wrong, in which file, at which id.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BadData


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of equal length, and `where` they were read: a file, or a hub config and split."""

    where: str
    columns: Mapping[str, Sequence[Any]]

    def column(self, name: str) -> Sequence[Any]:
        """Return one column; raise BadData where it is missing."""
        if name not in self.columns:
            has = ", ".join(self.columns) or "none"
            raise BadData(f"{self.where}: column {name!r} is missing (has: {has})")
        return self.columns[name]

    def ids(self, name: str) -> list[str]:
        """Return a column of ids as strings; raise BadData at an empty one."""
        return [self.id(value, name) for value in self.column(name)]

    def id(self, value: object, name: str) -> str:
        """Return one id as a string: integers are cast, nothing else is."""
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str) or not value:
            raise BadData(f"{self.where}: {value!r} in column {name!r} is no id")
        return value


def texts(table: Table) -> dict[str, str]:
    """Return id -> text of a corpus or of queries; a missing text is empty."""
    found: dict[str, str] = {}
    for text_id, text in zip(table.ids("_id"), table.column("text"), strict=True):
        if text_id in found:
            raise BadData(f"{table.where}: id {text_id!r} is there twice; ids must be unique")
        if text is not None and not isinstance(text, str):
            raise BadData(f"{table.where}: the text of {text_id!r} is {type(text).__name__}")
        found[text_id] = text or ""
    if not found:
        raise BadData(f"{table.where} holds no rows")
    return found


def query_texts(table: Table) -> dict[str, str]:
    """Return query id -> text; a query without words is an error, for nothing can answer it."""
    found = texts(table)
    for query_id, text in found.items():
        if not text.strip():
            raise BadData(f"{table.where}: query {query_id!r} has no text; give it one or drop it")
    return found


def judgements(table: Table) -> tuple[dict[str, dict[str, int]], list[str]]:
    """Return query id -> document id -> grade, and `query document` for each repeated row.

    `corpus-id` may hold one id or a list of them; without a `score` column every row is grade 1. A
    row repeated with the same grade is counted, with another grade it is an error.
    """
    found: dict[str, dict[str, int]] = {}
    repeated: list[str] = []
    for query_id, doc_id, grade in _rows(table):
        graded = found.setdefault(query_id, {})
        if graded.get(doc_id, grade) != grade:
            grades = f"{graded[doc_id]} and {grade}"
            raise BadData(f"{table.where}: query {query_id!r} grades {doc_id!r} both {grades}")
        if doc_id in graded:
            repeated.append(f"{query_id} {doc_id}")
        graded[doc_id] = grade
    if not found:
        raise BadData(f"{table.where} holds no judgements")
    return found, repeated


def _rows(table: Table) -> Iterator[tuple[str, str, int]]:
    query_ids, doc_column = table.ids("query-id"), table.column("corpus-id")
    scores = table.columns.get("score", [1] * len(query_ids))
    for query_id, docs, score in zip(query_ids, doc_column, scores, strict=True):
        doc_ids = docs if isinstance(docs, list | tuple) else [docs]
        grades = score if isinstance(score, list | tuple) else [score] * len(doc_ids)
        if len(grades) != len(doc_ids):
            sizes = f"{len(doc_ids)} documents but {len(grades)} scores"
            raise BadData(f"{table.where}: query {query_id!r} has {sizes}")
        for doc, grade in zip(doc_ids, grades, strict=True):
            yield query_id, table.id(doc, "corpus-id"), _grade(grade, table.where, query_id)


def _grade(value: object, where: str, query_id: str) -> int:
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise BadData(f"{where}: score {value!r} of query {query_id!r} is no whole number")


def ranked_lists(table: Table) -> dict[str, tuple[str, ...]]:
    """Return query id -> document ids, best first, of a candidate config (`corpus-ids`)."""
    found: dict[str, tuple[str, ...]] = {}
    for query_id, doc_ids in zip(table.ids("query-id"), table.column("corpus-ids"), strict=True):
        if query_id in found:
            raise BadData(f"{table.where}: query {query_id!r} has two lists")
        if not isinstance(doc_ids, list | tuple):
            raise BadData(f"{table.where}: the candidates of query {query_id!r} are no list")
        ranked = tuple(table.id(doc_id, "corpus-ids") for doc_id in doc_ids)
        if len(set(ranked)) < len(ranked):
            twice = next(doc_id for doc_id in ranked if ranked.count(doc_id) > 1)
            raise BadData(f"{table.where}: query {query_id!r} lists document {twice!r} twice")
        found[query_id] = ranked
    return found


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line number (from 1) and text of the lines that are not blank; `.gz` is unpacked."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line.rstrip("\r\n")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise BadData(f"{path} cannot be read: {error}") from error
