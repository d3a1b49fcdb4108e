"""Read a user's ranked lists from a file, and write pools to one.

Formats: runs in columns (TREC with 6, MS MARCO with 4 or 3), ranx's JSON, and the JSON lines that
`write_pool` writes. All may be packed with gzip.
"""

from __future__ import annotations

import gzip
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import BadData, RerankBenchError
from ..tasks import (
    MISMATCH_LIMIT,
    Note,
    Task,
    check_query_ids,
    first_repeated,
    is_number,
    mismatch,
    parse_id,
    parse_whole_number,
    read_lines,
    split_fields,
)
from .pool import Pool

Ranked = Mapping[str, Sequence[tuple[str, float | None]]]
"""Query id -> (document id, score), best first."""

_FILE_LIMITS = (MISMATCH_LIMIT, 0.5)
SHIPPED_LIMITS = (0.9, 0.9)
"""Largest shares of queries and of ranked documents whose ids may match nothing in the task.

A list that a data set ships may have been made for a larger corpus or for fewer queries.
"""

_COLUMNS: Mapping[int, tuple[int, int, int, int | None]] = {
    6: (0, 2, 3, 4),
    4: (0, 1, 2, 3),
    3: (0, 1, 2, None),
}
"""Number of columns -> places of query, document, rank and score."""

_FORMATS = (
    "6 (query Q0 document rank score tag), 4 (query document rank score) or 3 (query document rank)"
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


def write_pool(pools: Iterable[Pool], path: Path) -> None:
    """Write one JSON line per task and query, packed if the name ends in .gz.

    A safeguard is the last document of its list, and named. A file of several pools of one task
    cannot be read back as one first stage. Raises RerankBenchError if `path` cannot be written.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(aside, "wt", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(line)}\n" for pool in pools for line in _lines(pool))
        aside.replace(path)
    except OSError as error:
        with suppress(OSError):
            aside.unlink()
        raise RerankBenchError(f"pool file {path} cannot be written: {error.strerror}") from error


def _lines(pool: Pool) -> Iterator[dict[str, Any]]:
    for row in pool.rows:
        yield {
            "task": pool.task,
            "query-id": row.query_id,
            "corpus-ids": list(row.doc_ids),
            "safeguard": row.safeguard,
        }


def read_ranked(path: Path, *, task: Task, keep_going: bool = False) -> Lists:
    """Read the ranked lists for `task`; safeguards are removed from them.

    Raises BadData naming file and line for a broken file, and for ids that do not match those of
    the task: always if no query is the task's, otherwise unless `keep_going`.
    """
    lines = list(read_lines(path))
    if not lines:
        raise BadData(f"first stage {path} is empty")
    found = _read(path, lines, task.name)
    if found.ranked.keys().isdisjoint(task.queries):
        what = f"first stage {path} ranks no query of task {task.name}"
        raise mismatch(what, found.ranked, task.queries, cure="")
    if not keep_going:
        check_ids(f"first stage {path}", found.ranked, task, limits=_FILE_LIMITS)
    return found


def check_ids(what: str, ranked: Ranked, task: Task, *, limits: tuple[float, float]) -> None:
    """Raise BadData if too many ranked queries or documents are not the task's.

    what: the source of the lists.
    limits: largest shares of the task's queries and of the ranked documents that may match nothing.
    """
    where, size = f"task {task.name}", len(task.queries)
    check_query_ids(what, ranked, task.queries, where, limit=limits[0] * size)
    found = [doc_id for query_id in task.queries for doc_id, _ in ranked.get(query_id, ())]
    outside = [doc_id for doc_id in found if doc_id not in task.corpus]
    if len(outside) > limits[1] * len(found):
        counts = f"{len(outside)} of {len(found)} ranked documents"
        what = f"{what}: {counts} are not in the corpus of {task.name}"
        raise mismatch(what, outside, task.corpus)


def _read(path: Path, lines: list[tuple[int, str]], task: str) -> Lists:
    first = lines[0][1]
    if not first.lstrip().startswith("{"):
        return _read_columns(path, lines)
    whole = _parse_object(path, first)
    if whole is None:  # one object over several lines, or a broken line
        whole = _parse_object(path, "\n".join(line for _, line in lines))
    elif len(lines) > 1 or "query-id" in whole or "corpus-ids" in whole:
        whole = None
    return _read_json_lines(path, lines, task) if whole is None else _read_ranx(path, whole)


def _parse_object(path: Path, text: str) -> Mapping[str, Any] | None:
    """Return `text` as a JSON object, None if it is not one; raise BadData for a repeated key."""

    def check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        repeated = first_repeated(key for key, _ in pairs)
        if repeated is not None:
            raise BadData(f"{path}: {repeated!r} occurs twice in one JSON object")
        return dict(pairs)

    try:
        found = json.loads(text, object_pairs_hook=check)
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


def _read_columns(path: Path, lines: Sequence[tuple[int, str]]) -> Lists:
    """Read a run in columns, ordered by score, then rank, then document id.

    Without scores the ranks decide, and must be 1, 2, … or 0, 1, ….
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
    if _COLUMNS[size][3] is None:
        for query_id, entries in found.items():
            with _located(f"{path}: query {query_id}"):
                _check_ranks([entry.rank for entry in entries])
    ranked = {q: [(entry.doc_id, entry.score) for entry in row] for q, row in found.items()}
    return Lists(ranked, _contradictions(found))


def _parse_row(parts: list[str], size: int, hint: str) -> tuple[str, _Entry]:
    if size not in _COLUMNS:
        raise ValueError(f"found {len(parts)} columns; a run has {_FORMATS}")
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


def _check_ranks(ranks: Sequence[int]) -> None:
    if ranks[0] not in (0, 1) or list(ranks) != list(range(ranks[0], ranks[0] + len(ranks))):
        listed = ", ".join(map(str, ranks[:4])) + (", …" if len(ranks) > 4 else "")
        raise ValueError(f"ranks are {listed}; without scores they must be 1, 2, 3, …")


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


def _read_ranx(path: Path, found: Mapping[str, Any]) -> Lists:
    """Read `{query: {document: score}}`, best score first; equal scores keep the file's order."""
    ranked: dict[str, Sequence[tuple[str, float | None]]] = {}
    for query_id, scores in found.items():
        if not isinstance(scores, dict):
            wanted = "{query: {document: score}}"
            raise BadData(f"{path}: query {query_id!r} has no scores by document ({wanted})")
        rows: list[tuple[str, float]] = []
        for doc_id, score in scores.items():
            with _located(f"{path}: query {query_id!r}, document {doc_id!r}"):
                rows.append((parse_id(doc_id), _parse_score(score)))
        with _located(str(path)):
            best_first = sorted(rows, key=lambda row: -row[1])
            ranked[parse_id(query_id)] = best_first
    return Lists(ranked)


def _read_json_lines(path: Path, lines: list[tuple[int, str]], task: str) -> Lists:
    ranked: dict[str, list[tuple[str, float | None]]] = {}
    others: set[str] = set()
    for number, line in lines:
        with _located(f"{path}, line {number}"):
            name, query_id, doc_ids, safeguard = _parse_line(line)
            if name is not None and name != task:
                others.add(str(name))
                continue
            if query_id in ranked:
                raise ValueError(f"query {query_id} occurs twice")
            repeated = first_repeated(doc_ids)
            if repeated is not None:
                raise ValueError(f"query {query_id} ranks document {repeated} twice")
            ranked[query_id] = [(doc_id, None) for doc_id in doc_ids if doc_id != safeguard]
    if not ranked:
        raise BadData(f"first stage {path} holds no line of task {task}, only of {min(others)}")
    return Lists(ranked)


def _parse_line(line: str) -> tuple[object, str, list[str], str | None]:
    """Return task, query id, document ids and safeguard of a line; raise ValueError."""
    try:
        row = json.loads(line)
        doc_ids, safeguard = row["corpus-ids"], row.get("safeguard")
        if not isinstance(doc_ids, list):
            raise TypeError("corpus-ids is not a list")
        ids = [parse_id(doc_id) for doc_id in doc_ids]
        last = None if safeguard is None else parse_id(safeguard)
        return row.get("task"), parse_id(row["query-id"]), ids, last
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        wanted = '{"task", "query-id", "corpus-ids", "safeguard"}'
        raise ValueError(f"expected {wanted} ({error})") from error
