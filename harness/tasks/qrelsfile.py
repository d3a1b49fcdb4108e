"""Judgements in text files: BEIR's three columns, and TREC's four (`query 0 document grade`).

A header is a first line whose grade is no number; it is passed over, whatever its names are.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import BadData
from .lines import fields, is_number, read_lines, whole_number
from .tables import Part, Table

_DOCUMENT_FIRST = re.compile(r"(?i)\W*(corpus|doc|pid|passage)")


def read_beir_qrels(path: Path) -> Table:
    """Return the judgements of a file with query, document and grade, in tabs or else commas.

    Fields may be quoted as in CSV. Raises BadData naming the line.
    """
    wanted = "3 columns with tabs or commas between them (query-id corpus-id score)"
    return _read(path, _beir_fields, (0, 1, 2), wanted)


def read_trec_qrels(path: Path) -> Table:
    """Return the judgements of a TREC qrels file; raise BadData naming the line."""
    return _read(
        path, lambda line: fields(line, {4}), (0, 2, 3), "4 columns (query 0 document grade)"
    )


def _beir_fields(line: str) -> list[str]:
    delimiter = "\t" if "\t" in line else ","
    row = next(csv.reader([line], delimiter=delimiter, strict=True, skipinitialspace=True))
    return [field.strip() for field in row]


def _read(
    path: Path, split: Callable[[str], list[str]], places: Sequence[int], wanted: str
) -> Table:
    found: dict[str, list[str | int]] = {"query-id": [], "corpus-id": [], "score": []}
    numbers: list[int] = []
    for first, (number, line) in enumerate(read_lines(path)):
        where = f"{path}, line {number}"
        parts = _parts(where, line, split)
        if len(parts) != max(places) + 1:
            raise BadData(f"{where}: expected {wanted}, found {len(parts)}")
        query_id, doc_id, grade = (parts[place] for place in places)
        if first == 0 and not is_number(grade):
            _check_header(where, query_id)
            continue
        found["query-id"].append(query_id)
        found["corpus-id"].append(doc_id)
        found["score"].append(whole_number(grade, "grade", where))
        numbers.append(number)
    return Table(str(path), found, (Part(str(path), numbers, "line"),))


def _parts(where: str, line: str, split: Callable[[str], list[str]]) -> list[str]:
    try:
        return split(line)
    except csv.Error as error:
        raise BadData(f"{where} cannot be split at its quotation marks: {error}") from None


def _check_header(where: str, first: str) -> None:
    if _DOCUMENT_FIRST.match(first):
        raise BadData(f"{where}: the first column is {first!r}; write query, document, grade")
