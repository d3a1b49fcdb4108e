"""Read files of rows as tables: parquet, JSON lines, and judgements in columns."""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import BadData
from .table import Table

JSONL, SEPARATED = (".jsonl", ".jsonl.gz"), (".tsv", ".csv", ".tsv.gz", ".csv.gz")

_WHOLE = re.compile(r"\s*([+-]?[0-9]+)(?:\.0*)?\s*")
_DOCUMENT_FIRST = re.compile(r"(?i)\W*(corpus|doc|pid|passage)")


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


def split_fields(line: str, sizes: Collection[int]) -> list[str]:
    """Split a line at its tabs if that gives one of `sizes` fields, else at white space."""
    tabbed = line.split("\t")
    return [part.strip() for part in tabbed] if len(tabbed) in sizes else line.split()


def parse_whole_number(text: str, what: str) -> int:
    """Return a whole number, also one written `1.0`; raise ValueError naming `what`."""
    match = _WHOLE.fullmatch(text)
    if match is None:
        raise ValueError(f"{what} {text!r} is not a whole number")
    return int(match[1])


def is_number(text: str) -> bool:
    """Return whether a field is a number of any kind, which a field of a header is not."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def suffix(path: Path) -> str:
    """Return the file's suffix, including the one before `.gz`."""
    return "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix


def stem(path: Path) -> str:
    """Return the file's name without its `suffix`."""
    return path.name.removesuffix(suffix(path))


def read_files(files: Sequence[Path]) -> Table:
    """Return the rows of the files of one split, in order; raise BadData naming the file."""
    if len({suffix(file) for file in files}) > 1:
        names = ", ".join(file.name for file in files[:3])
        raise BadData(f"{files[0].parent} holds one split in several formats ({names}); keep one")
    tables = [_read(file) for file in files]
    columns: dict[str, list[Any]] = {name: [] for name in tables[0].columns}
    for file, table in zip(files, tables, strict=True):
        if table.columns.keys() != columns.keys():
            raise BadData(f"{file} has other columns than {files[0].name}")
        for name, values in table.columns.items():
            columns[name].extend(values)
    return Table(str(files[0]), columns, [place for table in tables for place in table.places])


def _read(file: Path) -> Table:
    if suffix(file) in JSONL:
        return read_jsonl(file)
    return read_beir_qrels(file) if suffix(file) in SEPARATED else _read_parquet(file)


def read_jsonl(path: Path, required: Sequence[str] = ()) -> Table:
    """Return a file with one JSON object per line; a key that an object lacks is None.

    Raises BadData naming the line if it is not an object or lacks a key of `required`.
    """
    rows: dict[int, dict[str, Any]] = {}
    for number, line in read_lines(path):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise BadData(f"{path}, line {number} is not JSON: {error}") from None
        if not isinstance(row, dict):
            raise BadData(f"{path}, line {number} is not a JSON object")
        for key in required:
            if key not in row:
                raise BadData(f"{path}, line {number}: {key!r} is missing")
        rows[number] = row
    names = dict.fromkeys([*required, *(name for row in rows.values() for name in row)])
    columns = {name: [row.get(name) for row in rows.values()] for name in names}
    return Table(str(path), columns, [(f"{path}, line", list(rows))])


def _read_parquet(file: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file).read()
        columns = table.to_pydict()
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise BadData(f"{file} cannot be read as parquet: {reason}") from error
    return Table(str(file), columns, [(f"{file}, row", range(1, table.num_rows + 1))])


def read_beir_qrels(path: Path) -> Table:
    """Return judgements in three columns: query, document, grade.

    Columns are separated by tabs, or else commas, and may be quoted as in CSV. The first line is a
    header if its grade is not a number. Raises BadData naming the line.
    """

    def split(line: str) -> list[str]:
        delimiter = "\t" if "\t" in line else ","
        row = next(csv.reader([line], delimiter=delimiter, strict=True, skipinitialspace=True))
        return [field.strip() for field in row]

    wanted = "3 columns with tabs or commas between them (query-id corpus-id score)"
    return _read_qrels(path, split, (0, 1, 2), wanted)


def read_trec_qrels(path: Path) -> Table:
    """Return the judgements of a TREC qrels file; raise BadData naming the line."""
    wanted = "4 columns (query 0 document grade)"
    return _read_qrels(path, lambda line: split_fields(line, {4}), (0, 2, 3), wanted)


def _read_qrels(
    path: Path, split: Callable[[str], list[str]], places: Sequence[int], wanted: str
) -> Table:
    rows: dict[int, tuple[str, str, int]] = {}
    for index, (number, line) in enumerate(read_lines(path)):
        try:
            parts = split(line)
            if len(parts) != places[-1] + 1:
                raise ValueError(f"expected {wanted}, found {len(parts)}")
            query_id, doc_id, grade = (parts[place] for place in places)
            if index > 0 or is_number(grade):
                rows[number] = query_id, doc_id, parse_whole_number(grade, "grade")
            elif _DOCUMENT_FIRST.match(query_id):
                order = "write query, document, grade"
                raise ValueError(f"the first column is {query_id!r}; {order}")
        except csv.Error as error:
            reason = f"cannot be split at its quotation marks: {error}"
            raise BadData(f"{path}, line {number} {reason}") from None
        except ValueError as error:
            raise BadData(f"{path}, line {number}: {error}") from None
    columns = {
        name: [row[i] for row in rows.values()]
        for i, name in enumerate(("query-id", "corpus-id", "score"))
    }
    return Table(str(path), columns, [(f"{path}, line", list(rows))])
