"""Files of rows as tables: parquet, JSON lines, and judgements with tabs or commas."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import BadData
from .lines import parse_json, read_lines, repeated
from .qrelsfile import read_beir_qrels
from .tables import Part, Table

JSONL, SEPARATED = (".jsonl", ".jsonl.gz"), (".tsv", ".csv", ".tsv.gz", ".csv.gz")


def suffix(path: Path) -> str:
    """Return the file's suffix, with what stands before `.gz`."""
    return "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix


def stem(path: Path) -> str:
    """Return the file's name without its `suffix`."""
    return path.name.removesuffix(suffix(path))


def read_files(files: Sequence[Path], required: Sequence[str] = ()) -> Table:
    """Return the rows of the files of one split, in their order.

    Raises BadData naming the file, also where a JSON line lacks a key of `required`.
    """
    if len({suffix(file) for file in files}) > 1:
        names = ", ".join(file.name for file in files[:3])
        raise BadData(f"{files[0].parent} holds one split in several forms ({names}); keep one")
    tables = [_read(file, required) for file in files]
    columns: dict[str, list[Any]] = {name: [] for name in tables[0].columns}
    for file, table in zip(files, tables, strict=True):
        if table.columns.keys() != columns.keys():
            raise BadData(f"{file} has other columns than {files[0].name}")
        for name, values in table.columns.items():
            columns[name].extend(values)
    return Table(str(files[0]), columns, [part for table in tables for part in table.parts])


def column_names(file: Path) -> Sequence[str]:
    """Return the columns of a file: of JSON lines those of the first; raise BadData naming it."""
    if suffix(file) in JSONL:
        return next((list(row) for _, row in _objects(file)), [])
    if suffix(file) in SEPARATED:
        return list(read_beir_qrels(file).columns)
    return list(_parquet(file, lambda parquet: parquet.schema_arrow.names))


def _read(file: Path, required: Sequence[str]) -> Table:
    if suffix(file) in JSONL:
        return read_jsonl(file, required)
    if suffix(file) in SEPARATED:
        return read_beir_qrels(file)
    return _read_parquet(file)


def read_jsonl(path: Path, required: Sequence[str] = ()) -> Table:
    """Return a file with one JSON object per line; what an object lacks is None.

    Raises BadData, naming the line, at one that is no object or lacks a key of `required`.
    """
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    for number, row in _objects(path):
        missing = next((key for key in required if key not in row), None)
        if missing is not None:
            raise BadData(f"{path}, line {number}: {missing!r} is missing")
        rows.append(row)
        numbers.append(number)
    names = dict.fromkeys([*required, *(name for row in rows for name in row)])
    columns = {name: [row.get(name) for row in rows] for name in names}
    return Table(str(path), columns, (Part(str(path), numbers, "line"),))


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in read_lines(path):
        try:
            row = parse_json(line, f"{path}, line {number}")
        except ValueError as error:
            raise BadData(f"{path}, line {number} is no JSON: {error}") from None
        if not isinstance(row, dict):
            raise BadData(f"{path}, line {number} is no JSON object")
        yield number, row


def _read_parquet(file: Path) -> Table:
    names = column_names(file)
    again = repeated(names)
    if again is not None:
        raise BadData(f"{file}: column {again!r} is there twice; keep one")
    columns = _parquet(file, lambda parquet: parquet.read().to_pydict())
    size = len(next(iter(columns.values()), ()))
    return Table(str(file), columns, (Part(str(file), range(1, size + 1)),))


def _parquet(file: Path, read: Callable[[Any], Any]) -> Any:
    """Return what `read` returns of a parquet file; raise BadData where it cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return read(pq.ParquetFile(file))
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise BadData(f"{file} cannot be read as parquet: {reason}") from error
