"""Read runs of other programs: TREC (6 columns), MS MARCO (4 or 3 columns), and ranx's JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import BadData
from ..tasks import (
    Note,
    first_repeated,
    is_number,
    parse_id,
    parse_whole_number,
    split_fields,
)

Ranked = Mapping[str, Sequence[tuple[str, float | None]]]
"""Query id -> (document id, score), best first."""

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


@dataclass(frozen=True, slots=True)
class Lists:
    """The ranked lists of a file, and what was counted in them."""

    ranked: Ranked
    notes: Mapping[str, Note] = field(default_factory=dict)


class _Entry(NamedTuple):
    """A ranked document; entries are ordered by score (highest first), rank, and document id."""

    loss: float
    rank: int
    doc_id: str
    score: float | None


@contextmanager
def located(where: str) -> Iterator[None]:
    """Raise a ValueError as BadData that begins with `where`."""
    try:
        yield
    except ValueError as error:
        raise BadData(f"{where}: {error}") from None


def read_columns(path: Path, lines: Sequence[tuple[int, str]]) -> Lists:
    """Read a run in columns, ordered by score, then rank, then document id.

    Raises BadData naming the line, and if the columns may be others than those that are read.
    """
    size = len(split_fields(lines[0][1], _COLUMNS))
    rows: dict[str, dict[str, _Entry]] = {}
    for number, line in lines:
        with located(f"{path}, line {number}"):
            hint = " (a header line? remove it)" if number == lines[0][0] else ""
            query_id, entry = _parse_row(split_fields(line, (size,)), size, hint)
            if entry.doc_id in rows.setdefault(query_id, {}):
                raise ValueError(f"query {query_id} ranks document {entry.doc_id} twice")
            rows[query_id][entry.doc_id] = entry
    found = {query_id: sorted(row.values()) for query_id, row in rows.items()}
    with located(str(path)):
        if size == 3:
            _check_unscored(found)
        _check_columns({q: list(row.values()) for q, row in rows.items()}, size)
    ranked = {q: [(entry.doc_id, entry.score) for entry in row] for q, row in found.items()}
    return Lists(ranked, _contradictions(found))


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


def read_ranx(path: Path, found: Mapping[str, Any]) -> Lists:
    """Read `{query: {document: score}}`, best score first; equal scores keep the file's order."""
    ranked: dict[str, Sequence[tuple[str, float | None]]] = {}
    for name, scores in found.items():
        with located(str(path)):
            query_id = parse_id(name)
            if query_id in ranked:
                raise ValueError(f"query {query_id} occurs twice, with white space around it")
            if not isinstance(scores, dict):
                wanted = "{query: {document: score}}"
                raise ValueError(f"query {query_id!r} has no scores by document ({wanted})")
        rows: list[tuple[str, float]] = []
        for doc_id, score in scores.items():
            with located(f"{path}: query {query_id!r}, document {doc_id!r}"):
                rows.append((parse_id(doc_id), _parse_score(score)))
        repeated = first_repeated(doc_id for doc_id, _ in rows)
        if repeated is not None:
            raise BadData(f"{path}: query {query_id} ranks document {repeated} twice")
        best_first = sorted(rows, key=lambda row: -row[1])
        ranked[query_id] = best_first
    if len({score for rows in ranked.values() for _, score in rows}) == 1:
        what = "all scores are equal, as in judgements"
        raise BadData(f"{path}: {what}; a run needs the first stage's own scores")
    return Lists(ranked)
