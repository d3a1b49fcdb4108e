"""TREC qrels files: four columns, `query 0 document grade`, white space between them."""

from __future__ import annotations

from pathlib import Path

from ..errors import BadData
from .tables import Table, read_lines


def read_trec_qrels(path: Path) -> Table:
    """Return the judgements of a TREC qrels file; raise BadData naming the line."""
    columns: dict[str, list[str | int]] = {"query-id": [], "corpus-id": [], "score": []}
    for number, line in read_lines(path):
        parts = line.split()
        if len(parts) != 4:
            wanted = "4 columns (query 0 document grade)"
            raise BadData(f"{path}, line {number}: expected {wanted}, found {len(parts)}")
        columns["query-id"].append(parts[0])
        columns["corpus-id"].append(parts[2])
        columns["score"].append(whole_number(parts[3], path, number))
    return Table(str(path), columns)


def whole_number(text: str, path: Path, line: int) -> int:
    """Return a grade; raise BadData naming the line where it is no whole number."""
    try:
        return int(text)
    except ValueError:
        raise BadData(f"{path}, line {line}: grade {text!r} is no whole number") from None
