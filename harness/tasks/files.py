"""Read files of rows as tables: parquet, JSON lines, and judgements in columns."""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import BadData
from .ids import first_duplicate, is_number, parse_whole_number
from .parquet import open_parquet, uncompressed_bytes
from .table import StreamedColumn, Table

JSONL, SEPARATED = (".jsonl", ".jsonl.gz"), (".tsv", ".csv", ".tsv.gz", ".csv.gz")

IN_MEMORY = 64_000_000
"""Most bytes of the files of one split that are held in memory; of parquet before compression."""

_NOT_UTF8 = re.compile("[\udc80-\udcff]")

_NAMES: Mapping[str, re.Pattern[str]] = {
    "query-id": re.compile(r"(query|q|topic|question)(id|no|num|number)?|queries"),
    "corpus-id": re.compile(r"(corpus|doc|document|passage|p|d)(id|no)?"),
    "score": re.compile(
        r"((relevance|rel|qrel|judge?ment)(score|label|grade|level|judge?ment)?|gain)s?"
        r"|relevancy|relevant|score|label|grade|rating|level"
    ),
}
"""Name of a column -> the names that other programs give it, without case and punctuation."""


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line number (from 1) and text of the lines that are not blank; `.gz` is unpacked."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        # bytes that are not UTF-8 become surrogates, so that the error can name their line
        with opener(path, "rt", encoding="utf-8-sig", errors="surrogateescape") as file:
            for number, line in enumerate(file, start=1):
                if _NOT_UTF8.search(line):
                    raise BadData(f"{path}, line {number} cannot be read: convert it to UTF-8")
                if line.strip():
                    yield number, line.rstrip("\r\n")
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise BadData(f"{path} cannot be read: {reason or error}") from error


def split_fields(line: str, sizes: Collection[int]) -> list[str]:
    """Split a line at its tabs if that gives one of `sizes` fields, else at white space."""
    tabbed = line.split("\t")
    return [part.strip() for part in tabbed] if len(tabbed) in sizes else line.split()


def parse_json(text: str, where: str) -> Any:
    """Return a JSON value.

    Raises ValueError if `text` is not JSON, BadData naming `where` for a key that occurs twice.
    """

    def check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        repeated = first_duplicate(key for key, _ in pairs)
        if repeated is not None:
            raise BadData(f"{where}: {repeated!r} occurs twice in one JSON object; keep one")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=check)
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None


def suffix(path: Path) -> str:
    """Return the file's suffix, including the one before `.gz`."""
    return "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix


def stem(path: Path) -> str:
    """Return the file's name without its `suffix`."""
    return path.name.removesuffix(suffix(path))


def is_text_table(path: Path) -> bool:
    """Return whether a file's name ends as one of JSON lines or of columns does."""
    return suffix(path) in (*JSONL, *SEPARATED)


def read_files(files: Sequence[Path], required: Sequence[str] = ()) -> Table:
    """Return the rows of the files of one split, in order; those of large files stay on disk.

    Raises BadData naming the file, also if a JSON line lacks a key of `required`.
    """
    if len({suffix(file) for file in files}) > 1:
        names = ", ".join(file.name for file in files[:3])
        raise BadData(f"{files[0].parent} holds one split in several formats ({names}); keep one")
    is_large = sum(map(_size, files)) > IN_MEMORY
    if is_large and suffix(files[0]) not in SEPARATED:
        return _streamed(files, required)
    tables = [_read(file, required) for file in files]
    columns: dict[str, list[Any]] = {name: [] for name in tables[0].columns}
    for file, table in zip(files, tables, strict=True):
        _check_columns(file, table.columns, columns)
        for name, values in table.columns.items():
            columns[name].extend(values)
    return Table(str(files[0]), columns, [place for table in tables for place in table.places])


def _size(file: Path) -> int:
    return file.stat().st_size if is_text_table(file) else uncompressed_bytes(file)


def _check_columns(file: Path, has: Iterable[str], first: Iterable[str]) -> None:
    if {*has} != {*first}:
        raise BadData(f"{file} has other columns than the split's first file")


def _streamed(files: Sequence[Path], required: Sequence[str]) -> Table:
    """Return a table whose columns are read from the files whenever they are iterated over."""
    names: dict[str, None] = {}
    places: list[tuple[str, Sequence[int]]] = []
    for file in files:
        own, place = _scanned(file, required)
        names = names or own
        _check_columns(file, own, names)
        places.append(place)
    read = partial(_rows, files)
    size = sum(len(numbers) for _, numbers in places)
    columns = {name: StreamedColumn(partial(read, [name]), size) for name in names}
    return Table(str(files[0]), columns, places, read)


def _scanned(
    file: Path, required: Sequence[str]
) -> tuple[dict[str, None], tuple[str, Sequence[int]]]:
    """Return the columns of a file, and the numbers of its rows."""
    if suffix(file) not in JSONL:
        repeated = first_duplicate(found := column_names(file))
        if repeated is not None:
            raise BadData(f"{file}: column {repeated!r} occurs twice; keep one")
        with open_parquet(file) as parquet:
            size = parquet.metadata.num_rows
            return dict.fromkeys(found), (f"{file}, row", range(1, size + 1))
    names, numbers = dict.fromkeys(required), array("q")
    for number, row in _objects(file, required):
        names.update(dict.fromkeys(row))
        numbers.append(number)
    return names, (f"{file}, line", numbers)


def _rows(files: Sequence[Path], names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the values of some columns row by row."""
    for file in files:
        if suffix(file) in JSONL:
            yield from (tuple(row.get(name) for name in names) for _, row in _objects(file))
            continue
        with open_parquet(file) as parquet:
            for batch in parquet.iter_batches(columns=list(names)):
                yield from zip(*(batch[name].to_pylist() for name in names), strict=True)


def column_names(file: Path) -> Sequence[str]:
    """Return the columns of a file, of JSON lines those of the first; raise BadData naming it."""
    if suffix(file) in JSONL:
        return next((list(row) for _, row in _objects(file)), [])
    if suffix(file) in SEPARATED:
        return list(_NAMES)
    with open_parquet(file) as parquet:
        names: Sequence[str] = parquet.schema_arrow.names
        return names


def _read(file: Path, required: Sequence[str]) -> Table:
    if suffix(file) in JSONL:
        return read_jsonl(file, required)
    return read_beir_qrels(file) if suffix(file) in SEPARATED else _read_parquet(file)


def read_jsonl(path: Path, required: Sequence[str] = ()) -> Table:
    """Return a file with one JSON object per line; a key that an object lacks is None.

    Raises BadData naming the line if it is not an object or lacks a key of `required`.
    """
    rows = dict(_objects(path, required))
    names = dict.fromkeys([*required, *(name for row in rows.values() for name in row)])
    columns = {name: [row.get(name) for row in rows.values()] for name in names}
    return Table(str(path), columns, [(f"{path}, line", list(rows))])


def _objects(path: Path, required: Sequence[str] = ()) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in read_lines(path):
        try:
            row = parse_json(line, f"{path}, line {number}")
        except ValueError as error:
            raise BadData(f"{path}, line {number} is not JSON: {error}") from None
        if not isinstance(row, dict):
            raise BadData(f"{path}, line {number} is not a JSON object")
        missing = next((key for key in required if key not in row), None)
        if missing is not None:
            raise BadData(f"{path}, line {number}: {missing!r} is missing")
        yield number, row


def _read_parquet(file: Path) -> Table:
    _, place = _scanned(file, ())
    with open_parquet(file) as parquet:
        return Table(str(file), parquet.read().to_pydict(), [place])


def read_beir_qrels(path: Path) -> Table:
    """Return judgements in three columns: query, document, grade.

    Columns are separated by tabs, or else commas, and may be quoted as in CSV. A first line whose
    grade is not a number must be a header, whose names give the order of the columns. Raises
    BadData naming the line.
    """

    def split(line: str) -> list[str]:
        delimiter = "\t" if "\t" in line else ","
        # csv removes spaces before a quoted field, but not after one
        line = re.sub(rf'(?<!")" +(?={delimiter}|$)', '"', line)
        row = next(csv.reader([line], delimiter=delimiter, strict=True, skipinitialspace=True))
        return [field.strip() for field in row]

    wanted = "3 columns with tabs or commas between them (query-id corpus-id score)"
    return _read_qrels(path, split, (0, 1, 2), wanted)


def read_trec_qrels(path: Path) -> Table:
    """Return the judgements of a TREC qrels file; raise BadData naming the line."""
    wanted = "4 columns (query 0 document grade)"
    return _read_qrels(path, lambda line: split_fields(line, {4}), (0, 2, 3), wanted)


def standard_names(table: Table) -> Table:
    """Return judgements with standard column names for names such as `qid` and `relevance`.

    If two columns have names of one meaning, both keep theirs.
    """
    names = list(table.columns)
    standard = {names[at[0]]: name for name, at in _places(names).items() if len(at) == 1}
    columns = {standard.get(name, name): table.columns[name] for name in names}
    return replace(table, columns=columns, read=None)


def _places(names: Sequence[str]) -> dict[str, list[int]]:
    """Return standard name -> places of the names that mean it."""
    plain = [re.sub(r"[\W_]", "", name).lower() for name in names]
    return {
        name: [place for place, other in enumerate(plain) if pattern.fullmatch(other)]
        for name, pattern in _NAMES.items()
    }


def _read_qrels(
    path: Path, split: Callable[[str], list[str]], places: Sequence[int], wanted: str
) -> Table:
    rows: dict[int, tuple[str, str, int]] = {}
    for index, (number, line) in enumerate(read_lines(path)):
        try:
            parts = split(line)
            if len(parts) != max(places) + 1:
                raise ValueError(f"expected {wanted}, found {len(parts)}")
            if index == 0 and not is_number(parts[places[-1]]):
                places = _header(parts, parts[places[-1]])
                continue
            query_id, doc_id, grade = (parts[place] for place in places)
            rows[number] = query_id, doc_id, parse_whole_number(grade, "grade")
        except csv.Error as error:
            reason = f"cannot be split at its quotation marks: {error}"
            raise BadData(f"{path}, line {number} {reason}") from None
        except ValueError as error:
            raise BadData(f"{path}, line {number}: {error}") from None
    columns = {name: [row[i] for row in rows.values()] for i, name in enumerate(_NAMES)}
    return Table(str(path), columns, [(f"{path}, line", list(rows))])


def _header(parts: Sequence[str], grade: str) -> list[int]:
    """Return the places of query, document and grade by the names of a header."""
    places = _places(parts).values()
    if any(len(found) != 1 for found in places):
        cure = "write a whole number, or in a header line query-id, corpus-id and score"
        raise ValueError(f"grade {grade!r} is not a number; {cure}")
    return [found[0] for found in places]
