"""Turn rows into ids, texts, grades and ranked lists; an error names the file and the row."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any

from ..errors import BadData
from .ids import UNREADABLE, first_duplicate, parse_id, parse_whole_number
from .stored import RepeatedId, StoredTexts

IN_MEMORY = 200_000
"""Most texts of a table that are held in memory."""


@dataclass(frozen=True, slots=True)
class StreamedColumn(Sequence[Any]):
    """Values that are read again whenever they are iterated over.

    read: function that yields rows of the one value. size: the number of rows.
    """

    read: Callable[[], Iterator[tuple[Any, ...]]]
    size: int

    def __iter__(self) -> Iterator[Any]:
        return (value for (value,) in self.read())

    def __getitem__(self, index: Any) -> Any:
        return next(islice(self, index, None))

    def __len__(self) -> int:
        return self.size


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of equal length.

    where: the file, or the hub config and split, that was read.
    columns: name -> values.
    places: for each file `FILE, row` or `FILE, line` and the numbers of its rows; if there is none,
        the rows are 1, 2, … of `where`.
    read: function that yields the values of the named columns row by row, for columns that are not
        in memory; None if they are.
    """

    where: str
    columns: Mapping[str, Sequence[Any]]
    places: Sequence[tuple[str, Sequence[int]]] = ()
    read: Callable[[Sequence[str]], Iterator[tuple[Any, ...]]] | None = None

    def place(self, index: int) -> str:
        """Return the file and number of the row with this index."""
        for name, numbers in self.places:
            if index < len(numbers):
                return f"{name} {numbers[index]}"
            index -= len(numbers)
        return f"{self.where}, row {index + 1}"

    def drop(self, names: Container[str]) -> Table:
        """Return the table without the columns of these names."""
        kept = {name: values for name, values in self.columns.items() if name not in names}
        return replace(self, columns=kept)

    def select(self, names: Container[str]) -> Table:
        """Return the table without the columns of other names."""
        return self.drop([name for name in self.columns if name not in names])

    def column(self, name: str) -> Sequence[Any]:
        """Return one column; raise BadData if it is missing."""
        if name not in self.columns:
            has = ", ".join(self.columns) or "none"
            raise BadData(f"{self.where}: column {name!r} is missing (has: {has})")
        return self.columns[name]

    def rows(self, *names: str) -> Iterator[tuple[Any, ...]]:
        """Yield the values of columns row by row; raise BadData if one is missing."""
        columns = [self.column(name) for name in names]
        return zip(*columns, strict=True) if self.read is None else self.read(names)

    def ids(self, name: str) -> list[str]:
        """Return a column of ids as strings; raise BadData naming the row that has no id."""
        return [self.id(value, name, index) for index, value in enumerate(self.column(name))]

    def id(self, value: object, name: str, index: int) -> str:
        """Return one id of column `name` and row `index` as a string."""
        try:
            return parse_id(value)
        except ValueError as error:
            raise BadData(f"{self.place(index)}: column {name!r}: {error}") from None


def judgements(table: Table) -> tuple[dict[str, dict[str, int]], list[str]]:
    """Return query id -> document id -> grade, and `query document` of each repeated row.

    `corpus-id` may hold one id or a list of ids. Without a column `score` every grade is 1. A row
    repeated with another grade is an error.
    """
    found: dict[str, dict[str, int]] = {}
    repeated: list[str] = []
    for query_id, doc_id, grade in _judgement_rows(table):
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


def _judgement_rows(table: Table) -> Iterator[tuple[str, str, int]]:
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
            try:
                yield query_id, doc_id, parse_whole_number(grade, "score")
            except ValueError as error:
                raise BadData(f"{table.place(index)}: query {query_id!r}: {error}") from None


def ranked_lists(table: Table) -> dict[str, tuple[str, ...]]:
    """Return query id -> document ids, best first, of a table of candidate lists."""
    found: dict[str, tuple[str, ...]] = {}
    known: dict[str, str] = {}  # lists name the same documents: each id is held once
    rows = zip(table.ids("query-id"), table.column("corpus-ids"), strict=True)
    for index, (query_id, doc_ids) in enumerate(rows):
        where = f"{table.place(index)}: query {query_id!r}"
        if query_id in found:
            raise BadData(f"{where} has two lists")
        if not isinstance(doc_ids, list | tuple):
            raise BadData(f"{where}: column 'corpus-ids' does not hold a list")
        ids = (table.id(doc_id, "corpus-ids", index) for doc_id in doc_ids)
        ranked = tuple(known.setdefault(doc_id, doc_id) for doc_id in ids)
        repeated = first_duplicate(ranked)
        if repeated is not None:
            raise BadData(f"{where} lists document {repeated!r} twice")
        found[query_id] = ranked
    return found


def replace_unreadable(text: str) -> str:
    """Return `text` with U+FFFD in place of each lone surrogate and NUL.

    Tokenizers and UTF-8 files refuse the former; C libraries end a string at the latter.
    """
    return UNREADABLE.sub("\ufffd", text)


def corpus_texts(table: Table) -> tuple[Mapping[str, str], list[str]]:
    """Return document id -> text, and the ids of texts in which a character was replaced.

    A text is column `text`, after column `title` if there is one, with one space between them as in
    the BM25 baseline of BEIR (https://github.com/beir-cellar/beir).
    """
    return _texts(table, ("title", "text") if "title" in table.columns else ("text",))


def with_instructions(queries: Table, instructions: Table | None, judged: Container[str]) -> Table:
    """Return the queries with a column `instruction`, from a table of query ids and instructions.

    Raises BadData for a query of `judged` without one, and where the queries have such a column
    already.
    """
    if instructions is None:
        return queries
    if "instruction" in queries.columns:
        raise BadData(f"{queries.where} and {instructions.where} both hold instructions; keep one")
    texts = instructions.column("instruction")
    found = dict(zip(instructions.ids("query-id"), texts, strict=True))
    ids = queries.ids("_id")
    missing = next((own for own in ids if own not in found and own in judged), None)
    if missing is not None:
        raise BadData(f"{instructions.where}: query {missing!r} has no instruction")
    column = [found.get(query_id) for query_id in ids]
    return replace(queries, columns={**queries.columns, "instruction": column}, read=None)


def query_texts(
    table: Table, only: Container[str] | None = None
) -> tuple[Mapping[str, str], list[str]]:
    """Return query id -> text, and the ids of texts in which a character was replaced.

    A text is column `text`, before column `instruction` if there is one, as MTEB joins them
    (https://github.com/embeddings-benchmark/mteb).

    only: ids of the queries to return; None means all. Raises BadData for a query without a text.
    """
    names = ("text", "instruction") if "instruction" in table.columns else ("text",)
    texts, replaced = _texts(table, names, only)
    for query_id, text in texts.items():
        if not text.strip():
            raise BadData(f"{table.where}: query {query_id!r} has no text; add one or remove it")
    return texts, replaced


def _texts(
    table: Table, names: Sequence[str], only: Container[str] | None = None
) -> tuple[Mapping[str, str], list[str]]:
    texts: dict[str, str] = {}
    replaced: list[str] = []
    pairs = _pairs(table, names, only, replaced)
    for text_id, text in pairs:
        if text_id in texts:
            raise _repeated(table, text_id)
        texts[text_id] = text
        if len(texts) > IN_MEMORY:
            return _stored(table, chain(texts.items(), pairs)), replaced
    if not texts:
        raise BadData(f"{table.where} holds no rows")
    return texts, replaced


def _pairs(
    table: Table, names: Sequence[str], only: Container[str] | None, replaced: list[str]
) -> Iterator[tuple[str, str]]:
    """Yield id and text of each row; add the ids of texts in which a character was replaced."""
    for index, (value, *parts) in enumerate(table.rows("_id", *names)):
        text_id = table.id(value, "_id", index)
        if only is not None and text_id not in only:
            continue
        strings = [_string(table, *part, index) for part in zip(names, parts, strict=True)]
        raw = " ".join(filter(str.strip, strings)) or strings[-1]
        text = replace_unreadable(raw)
        if text != raw:
            replaced.append(text_id)
        yield text_id, text


def _stored(table: Table, pairs: Iterator[tuple[str, str]]) -> StoredTexts:
    try:
        return StoredTexts(pairs)
    except RepeatedId as error:
        raise _repeated(table, error.text_id) from None


def _repeated(table: Table, text_id: str) -> BadData:
    """Return the error for an id that occurs twice, which names the second row that has it."""
    rows = (i for i, (v,) in enumerate(table.rows("_id")) if table.id(v, "_id", i) == text_id)
    place = table.place([*islice(rows, 2)][1])
    return BadData(f"{place}: id {text_id!r} occurs twice; ids must be unique")


def _string(table: Table, name: str, value: object, index: int) -> str:
    """Return a text; None and NaN, which some tables write for None, become empty."""
    if isinstance(value, str):
        return value
    if value is None or value != value:
        return ""
    what = f"column {name!r} holds {type(value).__name__}, not a string"
    raise BadData(f"{table.place(index)}: {what}: {str(value)[:40]}")
