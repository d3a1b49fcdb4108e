"""First stages in text files: runs of TREC (6 columns) and MS MARCO (4 or 3), and ranx's JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..errors import BadData
from ..tasks import Note, as_id, fields, is_number, parse_json, repeated, whole_number

Ranked = Mapping[str, list[tuple[str, float | None]]]
"""Query id -> (document id, score), best first."""

_COLUMNS: Mapping[int, tuple[int, int, int, int | None]] = {
    6: (0, 2, 3, 4),
    4: (0, 1, 2, 3),
    3: (0, 1, 2, None),
}
"""Number of columns -> where query, document, rank and score are."""

_FORMS = (
    "6 (query Q0 document rank score tag), 4 (query document rank score) or 3 (query document "
    "rank), with white space or tabs between them"
)


@dataclass(frozen=True, slots=True)
class Lists:
    """Ranked lists as a file has them, and what was odd about them."""

    ranked: Ranked
    notes: Mapping[str, Note] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Entry:
    doc_id: str
    rank: int
    score: float | None

    @property
    def place(self) -> tuple[float, int, str]:
        """What a list is ordered by: score, then rank, then document id."""
        return (0.0 if self.score is None else -self.score, self.rank, self.doc_id)


def read_run(path: Path, lines: Sequence[tuple[int, str]]) -> Lists:
    """Return the lists of a run in columns, ordered by score, then rank, then document id.

    Without scores the ranks decide, and must be 1, 2, … or 0, 1, …. Raises BadData naming the line,
    and where the columns may be others than those that are read.
    """
    size = len(fields(lines[0][1], _COLUMNS))
    rows: dict[str, dict[str, _Entry]] = {}
    for number, line in lines:
        where = f"{path}, line {number}"
        query_id, entry = _row(where, fields(line, (size,)), size, is_first=number == lines[0][0])
        if entry.doc_id in rows.setdefault(query_id, {}):
            raise twice(f"{where}: query {query_id}", entry.doc_id)
        rows[query_id][entry.doc_id] = entry
    found = {q: sorted(row.values(), key=lambda entry: entry.place) for q, row in rows.items()}
    if size == 3:
        _check_unscored(path, found)
    _check_columns(path, {q: list(row.values()) for q, row in rows.items()}, size)
    ranked = {q: [(e.doc_id, e.score) for e in entries] for q, entries in found.items()}
    return Lists(ranked, _contradictions(found))


def _row(where: str, parts: list[str], size: int, *, is_first: bool) -> tuple[str, _Entry]:
    if size not in _COLUMNS:
        raise BadData(f"{where}: found {_columns(parts)}; a run has {_FORMS}")
    if len(parts) != size:
        raise BadData(f"{where}: found {_columns(parts)}, and {size} in the first line")
    query, document, rank, score = _COLUMNS[size]
    if not is_number(parts[rank]):
        hint = " (a header line? remove it)" if is_first else ""
        raise BadData(f"{where}: rank {parts[rank]!r} in column {rank + 1} is no number{hint}")
    place = whole_number(parts[rank], "rank", where)
    value = None if score is None else _score(parts[score], where)
    return id_of(parts[query], where), _Entry(id_of(parts[document], where), place, value)


def _columns(parts: Sequence[str]) -> str:
    return "1 column" if len(parts) == 1 else f"{len(parts)} columns"


def id_of(value: object, where: str) -> str:
    """Return a query's or document's id; raise BadData where it is none."""
    found = as_id(value)
    if found is None:
        raise BadData(f"{where}: {value!r} is no id")
    return found


def _score(value: object, where: str) -> float:
    try:
        score = float(str(value)) if type(value) in (str, int, float) else None
    except ValueError:
        score = None
    if score is None:
        raise BadData(f"{where}: score {value!r} is no number")
    if not math.isfinite(score):
        raise BadData(f"{where}: score {score} is not finite")
    return score


def _check_unscored(path: Path, found: Mapping[str, Sequence[_Entry]]) -> None:
    """Raise BadData where column 3 may hold scores or grades: nothing else says the order."""
    first = min(entry.rank for entries in found.values() for entry in entries)
    for query_id, entries in found.items():
        ranks = [entry.rank for entry in entries]
        if first not in (0, 1) or ranks != list(range(first, first + len(ranks))):
            listed = ", ".join(map(str, ranks[:4])) + (", …" if len(ranks) > 4 else "")
            what = f"{path}: query {query_id} has ranks {listed}; without scores they must be"
            raise BadData(f"{what} {first if first in (0, 1) else 1}, 2, 3, …")
    if all(len(entries) == 1 for entries in found.values()):
        what = "one document per query and no scores, as judgements have"
        raise BadData(f"{path}: {what}; for a run add scores (query document rank score)")


def _check_columns(path: Path, lists: Mapping[str, Sequence[_Entry]], size: int) -> None:
    """Raise BadData where ranks may be scores and scores ranks; `lists` are in the file's order."""
    _, _, rank, score = _COLUMNS[size]
    wanted = "write query document rank score, and the best document first"
    for query_id, entries in lists.items():
        first = min(entry.rank for entry in entries)
        if size == 4 and first not in (0, 1):
            what = f"the least rank in column 3 is {first}, not 1 or 0"
            raise BadData(f"{path}: query {query_id}: {what}; {wanted}")
    several = [entries for entries in lists.values() if len(entries) > 1]
    if several and all(map(_may_be_exchanged, several)):
        beside = "" if score is None else f" while column {score + 1} counts 1, 2, 3"
        what = f"column {rank + 1} falls in every query{beside}, as scores do"
        raise BadData(f"{path}: {what}; {wanted}")


def _may_be_exchanged(entries: Sequence[_Entry]) -> bool:
    scores = [entry.score for entry in entries]
    counted = list(range(len(scores))), list(range(1, len(scores) + 1))
    falls = all(one.rank >= other.rank for one, other in pairwise(entries))
    return falls and (None in scores or scores in counted)


def _contradictions(found: Mapping[str, Sequence[_Entry]]) -> dict[str, Note]:
    """Note the queries in which a better rank has a lower score; equal ranks say nothing."""
    pairs = {query_id: _contradiction(entries) for query_id, entries in found.items()}
    examples = [f"{query_id}: {pair}" for query_id, pair in pairs.items() if pair]
    name = "queries whose ranks contradict their scores (ordered by score)"
    return {name: Note(len(examples), tuple(examples[:1]))} if examples else {}


def _contradiction(entries: Sequence[_Entry]) -> str | None:
    by_rank = sorted(entries, key=lambda entry: (entry.rank, entry.place))
    for one, other in pairwise(by_rank):
        if one.place[0] > other.place[0]:
            first = f"{one.doc_id} at rank {one.rank} has score {one.score:g}"
            return f"{first}, {other.doc_id} at rank {other.rank} has {other.score:g}"
    return None


def read_json_run(path: Path, found: Mapping[str, Any]) -> Lists:
    """Return the lists of `{query: {document: score}}`, as ranx writes runs, best score first.

    Equal scores keep the order of the file. Raises BadData naming query and document.
    """
    ranked: dict[str, list[tuple[str, float | None]]] = {}
    for name, scores in found.items():
        query_id = id_of(name, str(path))
        if query_id in ranked:
            raise BadData(f"{path}: query {query_id} is there twice, with white space around it")
        if not isinstance(scores, dict):
            wanted = "{query: {document: score}}"
            raise BadData(f"{path}: query {query_id!r} has no scores by document ({wanted})")
        where = f"{path}: query {query_id}, document"
        rows = [(_score(s, f"{where} {d}"), id_of(d, where)) for d, s in scores.items()]
        again = repeated(doc_id for _, doc_id in rows)
        if again is not None:
            raise twice(f"{path}: query {query_id}", again)
        best_first = sorted(rows, key=lambda row: -row[0])
        ranked[query_id] = [(doc_id, score) for score, doc_id in best_first]
    if len({score for rows in ranked.values() for _, score in rows}) == 1:
        what = "all scores are equal, as in judgements"
        raise BadData(f"{path}: {what}; a run needs the first stage's own scores")
    return Lists(ranked)


def parse_object(where: str, text: str) -> Mapping[str, Any] | None:
    """Return the one JSON object that `text` is, None where it is none; BadData at a key twice."""
    try:
        found = parse_json(text, where)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def twice(where: str, doc_id: str) -> BadData:
    """Return the error for a document that is ranked twice."""
    return BadData(f"{where} ranks document {doc_id} twice")
