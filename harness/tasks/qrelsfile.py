"""Judgements in text files: BEIR's three columns, and TREC's four (`query 0 document grade`).

A first line whose grade is no number must be a header of known names, which say the order.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import BadData
from .lines import fields, is_number, read_lines, whole_number
from .tables import Part, Table

_NAMES: Mapping[str, re.Pattern[str]] = {
    "query-id": re.compile(r"(query|q|topic|question)(id|no|num|number)?|queries"),
    "corpus-id": re.compile(r"(corpus|doc|document|passage|p|d)(id|no)?"),
    "score": re.compile(
        r"((relevance|rel|qrel|judge?ment)(score|label|grade|level|judge?ment)?|gain)s?"
        r"|relevancy|relevant|score|label|grade|rating|level"
    ),
}
"""Our name of a column -> the names that other programs give it, without case and punctuation."""


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


def by_our_names(table: Table) -> Table:
    """Return judgements with our names for the columns `qid`, `doc_id`, `relevance` and the like.

    Where two columns have names of one meaning, both keep theirs.
    """
    names = list(table.columns)
    ours = {names[found[0]]: our for our, found in _places(names).items() if len(found) == 1}
    return replace(table, columns={ours.get(n, n): table.columns[n] for n in names})


def _places(names: Sequence[str]) -> dict[str, list[int]]:
    """Return for each of our columns the places of the names that mean it."""
    plain = [re.sub(r"[\W_]", "", name).lower() for name in names]
    return {
        our: [place for place, name in enumerate(plain) if pattern.fullmatch(name)]
        for our, pattern in _NAMES.items()
    }


def _beir_fields(line: str) -> list[str]:
    delimiter = "\t" if "\t" in line else ","
    # csv takes spaces before a quoted field; those behind it are removed here
    line = re.sub(rf'(?<!")" +(?={delimiter}|$)', '"', line)
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
        if first == 0 and not is_number(parts[places[-1]]):
            places = _header(where, parts, parts[places[-1]])
            continue
        query_id, doc_id, grade = (parts[place] for place in places)
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


def _header(where: str, parts: Sequence[str], grade: str) -> list[int]:
    """Return where query, document and grade are, by the names of a header line."""
    places = _places(parts).values()
    if any(len(found) != 1 for found in places):
        cure = "write a whole number, or in a header line query-id, corpus-id and score"
        raise BadData(f"{where}: grade {grade!r} is no number; {cure}")
    return [found[0] for found in places]
