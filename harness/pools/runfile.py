"""Read ranked lists: pool files, runs of TREC (6 columns) or MS MARCO (4 or 3), ranx's JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import BadData
from ..tasks import (
    Note,
    first_duplicate,
    is_number,
    parse_id,
    parse_json,
    parse_whole_number,
    read_lines,
    split_fields,
)
from .pool import FILE_KEYS

Ranked = Mapping[str, Sequence[tuple[str, float | None]]]
"""Query id -> (document id, score), best first."""

Lists = tuple[Ranked, Mapping[str, Note]]
"""Ranked lists, and what was counted in them."""

_COLUMNS: Mapping[int, tuple[int, int, int, int | None]] = {
    6: (0, 2, 3, 4),
    4: (0, 1, 2, 3),
    3: (0, 1, 2, None),
}
"""Number of columns -> places of query, document, rank and score."""

_FORMATS = (
    "6 (query Q0 document rank score tag), 4 (query document rank score) or 3 (query document "
    "rank), with white space or tabs between them"
)


class _Entry(NamedTuple):
    """A ranked document; entries are ordered by score (highest first), rank, and document id."""

    loss: float
    rank: int
    doc_id: str
    score: float | None


def read_ranked(path: Path, task: str) -> Lists:
    """Return a file's ranked lists for `task`, without safeguards, and what was counted in them.

    Raises BadData naming file and line for a broken file.
    """
    lines = list(read_lines(path))
    if not lines:
        raise BadData(f"first stage {path} is empty")
    number, first = lines[0]
    if first.lstrip().startswith("["):
        raise BadData(f"{path} is a JSON array; write one object for each query, one per line")
    if not first.lstrip().startswith("{"):
        return _read_columns(path, lines)
    whole = _parse_object(first, f"{path}, line {number}")
    if whole is None:  # one object over several lines, or a broken line
        whole = _parse_object("\n".join(line for _, line in lines), str(path))
    elif len(lines) > 1 or "query-id" in whole or "corpus-ids" in whole:
        whole = None
    found = _read_json_lines(path, lines, task) if whole is None else _read_ranx(path, whole)
    return found, {}


def _parse_object(text: str, where: str) -> Mapping[str, Any] | None:
    """Return `text` as a JSON object, None if it is not one; raise BadData for a repeated key."""
    try:
        found = parse_json(text, where)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


@contextmanager
def _located(where: str) -> Iterator[None]:
    """Raise a ValueError as BadData that begins with `where`."""
    try:
        yield
    except ValueError as error:
        raise BadData(f"{where}: {error}") from None


def _read_json_lines(path: Path, lines: list[tuple[int, str]], task: str) -> Ranked:
    ranked: dict[str, list[tuple[str, float | None]]] = {}
    others: set[str] = set()
    for number, line in lines:
        where = f"{path}, line {number}"
        with _located(where):
            name, query_id, doc_ids, safeguard = _parse_line(line, where)
            if name is not None and name != task:
                others.add(str(name))
                continue
            if query_id in ranked:
                raise ValueError(f"query {query_id} occurs twice")
            repeated = first_duplicate(doc_ids)
            if repeated is not None:
                raise ValueError(f"query {query_id} ranks document {repeated} twice")
            ranked[query_id] = [(doc_id, None) for doc_id in doc_ids if doc_id != safeguard]
    if not ranked:
        raise BadData(f"first stage {path} holds no line of task {task}, only of {min(others)}")
    return ranked


def _parse_line(line: str, where: str) -> tuple[object, str, list[str], str | None]:
    """Return task, query id, document ids and safeguard of a line; raise ValueError."""
    try:
        row = parse_json(line, where)
        doc_ids, safeguard = row["corpus-ids"], row.get("safeguard")
        if not isinstance(doc_ids, list):
            raise TypeError("corpus-ids is not a list")
        ids = [parse_id(doc_id) for doc_id in doc_ids]
        last = None if safeguard is None else parse_id(safeguard)
        query_id = parse_id(row["query-id"])
        other = next((key for key in row if key not in FILE_KEYS), None)
        if other is not None:
            raise TypeError(f"{other!r} is not read; remove it: a list is read in its own order")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        wanted = ", ".join(f'"{key}"' for key in FILE_KEYS)
        raise ValueError(f"expected {{{wanted}}} ({error})") from error
    if last is not None and ids[-1:] != [last]:
        raise ValueError(f"safeguard {last!r} must be the last of its corpus-ids")
    return row.get("task"), query_id, ids, last


def _read_columns(path: Path, lines: Sequence[tuple[int, str]]) -> Lists:
    """Read a run in columns, ordered by score, then rank, then document id.

    Raises BadData naming the line, and if the columns may be others than those that are read.
    """
    size = len(split_fields(lines[0][1], _COLUMNS))
    rows: dict[str, dict[str, _Entry]] = {}
    for number, line in lines:
        with _located(f"{path}, line {number}"):
            hint = " (a header line? remove it)" if number == lines[0][0] else ""
            query_id, entry = _parse_row(split_fields(line, (size,)), size, hint)
            if entry.doc_id in rows.setdefault(query_id, {}):
                raise ValueError(f"query {query_id} ranks document {entry.doc_id} twice")
            rows[query_id][entry.doc_id] = entry
    found = {query_id: sorted(row.values()) for query_id, row in rows.items()}
    with _located(str(path)):
        if size == 3:
            _check_unscored(found)
        _check_columns({q: list(row.values()) for q, row in rows.items()}, size)
    ranked = {q: [(entry.doc_id, entry.score) for entry in row] for q, row in found.items()}
    return ranked, _contradictions(found)


def _parse_row(parts: list[str], size: int, hint: str) -> tuple[str, _Entry]:
    if size not in _COLUMNS:
        columns = "1 column" if len(parts) == 1 else f"{len(parts)} columns"
        raise ValueError(f"found {columns}; a run has {_FORMATS}")
    if len(parts) != size:
        raise ValueError(f"found {len(parts)} columns, and {size} in the first line")
    query, document, rank, score = _COLUMNS[size]
    if not is_number(parts[rank]):
        raise ValueError(f"rank {parts[rank]!r} in column {rank + 1} is not a number{hint}")
    value = None if score is None else _parse_score(parts[score])
    place, doc_id = parse_whole_number(parts[rank], "rank"), parse_id(parts[document])
    return parse_id(parts[query]), _Entry(-(value or 0.0), place, doc_id, value)


def _parse_score(value: object) -> float:
    try:
        score = float(str(value)) if type(value) in (str, int, float) else None
    except ValueError:
        score = None
    if score is None:
        raise ValueError(f"score {value!r} is not a number")
    if not math.isfinite(score):
        raise ValueError(f"score {score} is not finite")
    return score


def _check_unscored(found: Mapping[str, Sequence[_Entry]]) -> None:
    """Raise ValueError if column 3 may hold scores or grades.

    Without scores, ranks must be 1, 2, … in all queries, or 0, 1, … in all.
    """
    first = min(entry.rank for entries in found.values() for entry in entries)
    for query_id, entries in found.items():
        ranks = [entry.rank for entry in entries]
        if first not in (0, 1) or ranks != list(range(first, first + len(ranks))):
            listed = ", ".join(map(str, ranks[:4])) + (", …" if len(ranks) > 4 else "")
            wanted = "0, 1, 2, …" if first == 0 else "1, 2, 3, …"
            what = f"query {query_id} has ranks {listed}"
            raise ValueError(f"{what}; without scores they must be {wanted}")
    if all(len(entries) == 1 for entries in found.values()):
        what = "one document per query and no scores, as judgements have"
        raise ValueError(f"{what}; for a run add scores (query document rank score)")


def _check_columns(lists: Mapping[str, Sequence[_Entry]], size: int) -> None:
    """Raise ValueError if ranks may be scores and scores ranks; `lists` are in the file's order."""
    _, _, rank, score = _COLUMNS[size]
    wanted = "write query document rank score, and the best document first"
    for query_id, entries in lists.items():
        first = min(entry.rank for entry in entries)
        if size == 4 and first not in (0, 1):
            what = f"the least rank in column 3 is {first}, not 1 or 0"
            raise ValueError(f"query {query_id}: {what}; {wanted}")
    several = [entries for entries in lists.values() if len(entries) > 1]
    if several and all(map(_may_be_exchanged, several)):
        others = "" if score is None else f" while column {score + 1} counts 1, 2, 3"
        what = f"column {rank + 1} falls in every query{others}, as scores do"
        raise ValueError(f"{what}; {wanted}")


def _may_be_exchanged(entries: Sequence[_Entry]) -> bool:
    scores = [entry.score for entry in entries]
    counted = list(range(len(scores))), list(range(1, len(scores) + 1))
    falls = all(one.rank >= other.rank for one, other in pairwise(entries))
    return falls and (None in scores or scores in counted)


def _contradictions(found: Mapping[str, Sequence[_Entry]]) -> dict[str, Note]:
    """Count the queries in which a better rank has a lower score, with an example."""
    pairs = {query_id: _contradiction(entries) for query_id, entries in found.items()}
    examples = [f"{query_id}: {pair}" for query_id, pair in pairs.items() if pair]
    name = "queries whose ranks contradict their scores (ordered by score)"
    return {name: Note(len(examples), tuple(examples[:1]))} if examples else {}


def _contradiction(entries: Sequence[_Entry]) -> str | None:
    by_rank = sorted(entries, key=lambda entry: (entry.rank, entry))
    for one, other in pairwise(by_rank):
        if one.loss > other.loss:
            first = f"{one.doc_id} at rank {one.rank} has score {one.score:g}"
            return f"{first}, {other.doc_id} at rank {other.rank} has {other.score:g}"
    return None


def _read_ranx(path: Path, found: Mapping[str, Any]) -> Ranked:
    """Read `{query: {document: score}}`, best score first; equal scores keep the file's order."""
    ranked: dict[str, list[tuple[str, float]]] = {}
    for name, scores in found.items():
        with _located(str(path)):
            query_id = parse_id(name)
            if query_id in ranked:
                raise ValueError(f"query {query_id} occurs twice, with white space around it")
            if not isinstance(scores, dict):
                wanted = "{query: {document: score}}"
                raise ValueError(f"query {query_id!r} has no scores by document ({wanted})")
        rows: list[tuple[str, float]] = []
        for doc_id, score in scores.items():
            with _located(f"{path}: query {query_id!r}, document {doc_id!r}"):
                rows.append((parse_id(doc_id), _parse_score(score)))
        repeated = first_duplicate(doc_id for doc_id, _ in rows)
        if repeated is not None:
            raise BadData(f"{path}: query {query_id} ranks document {repeated} twice")
        ranked[query_id] = sorted(rows, key=lambda row: -row[1])
    if len({score for rows in ranked.values() for _, score in rows}) == 1:
        what = "all scores are equal, as in judgements"
        raise BadData(f"{path}: {what}; a run needs the first stage's own scores")
    return ranked
