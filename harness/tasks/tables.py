"""Rows as they were read, and the checks that turn them into ids and grades.

Every source of tasks ends in these tables, so a broken file is reported in the same words wherever
it came from: what is wrong, in which file, at which row or id.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import BadData
from .lines import repeated, whole_number

UNREADABLE = re.compile("[\x00\ud800-\udfff]")
"""NUL and lone surrogates: no tokenizer, no UTF-8 file and no C string can hold them."""


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one file: its name, their `unit` (`row` or `line`) and their numbers in it."""

    where: str
    numbers: Sequence[int]
    unit: str = "row"


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of equal length, and `where` they were read: a file, or a hub config and split.

    `parts` says from which rows of which files, where these are not the rows 1, 2, … of `where`.
    """

    where: str
    columns: Mapping[str, Sequence[Any]]
    parts: Sequence[Part] = ()

    def place(self, index: int) -> str:
        """Return file and row of the row with this index."""
        for part in self.parts:
            if index < len(part.numbers):
                return f"{part.where}, {part.unit} {part.numbers[index]}"
            index -= len(part.numbers)
        return f"{self.where}, row {index + 1}"

    def without(self, names: Container[str]) -> Table:
        """Return the table without the columns of these names."""
        kept = {name: values for name, values in self.columns.items() if name not in names}
        return replace(self, columns=kept)

    def column(self, name: str) -> Sequence[Any]:
        """Return one column; raise BadData where it is missing."""
        if name not in self.columns:
            has = ", ".join(self.columns) or "none"
            raise BadData(f"{self.where}: column {name!r} is missing (has: {has})")
        return self.columns[name]

    def ids(self, name: str) -> list[str]:
        """Return a column of ids as strings; raise BadData at an empty one."""
        return [self.id(value, name, index) for index, value in enumerate(self.column(name))]

    def id(self, value: object, name: str, index: int) -> str:
        """Return one id of column `name` as a string; raise BadData naming its row."""
        found = as_id(value)
        if found is None:
            raise BadData(f"{self.place(index)}: {value!r} in column {name!r} is no id")
        return found


def as_id(value: object) -> str | None:
    """Return an id as a string without the white space around it, None where it is no id.

    Whole numbers are cast, nothing else is; NUL and lone surrogates make no id.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or UNREADABLE.search(value):
        return None
    return value.strip() or None


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
    rows = zip(query_ids, doc_column, scores, strict=True)
    for index, (query_id, docs, score) in enumerate(rows):
        doc_ids = docs if isinstance(docs, list | tuple) else [docs]
        grades = score if isinstance(score, list | tuple) else [score] * len(doc_ids)
        if len(grades) != len(doc_ids):
            sizes = f"{len(doc_ids)} documents but {len(grades)} scores"
            raise BadData(f"{table.place(index)}: query {query_id!r} has {sizes}")
        for doc, grade in zip(doc_ids, grades, strict=True):
            doc_id = table.id(doc, "corpus-id", index)
            where = f"{table.place(index)}: query {query_id!r}"
            yield query_id, doc_id, whole_number(grade, "score", where)


def ranked_lists(table: Table) -> dict[str, tuple[str, ...]]:
    """Return query id -> document ids, best first, of a candidate config (`corpus-ids`)."""
    found: dict[str, tuple[str, ...]] = {}
    rows = zip(table.ids("query-id"), table.column("corpus-ids"), strict=True)
    for index, (query_id, doc_ids) in enumerate(rows):
        if query_id in found:
            raise BadData(f"{table.where}: query {query_id!r} has two lists")
        if not isinstance(doc_ids, list | tuple):
            raise BadData(f"{table.place(index)}: the candidates of query {query_id!r} are no list")
        ranked = tuple(table.id(doc_id, "corpus-ids", index) for doc_id in doc_ids)
        twice = repeated(ranked)
        if twice is not None:
            where = f"{table.place(index)}: query {query_id!r}"
            raise BadData(f"{where} lists document {twice!r} twice")
        found[query_id] = ranked
    return found
