"""Pools on disk: JSON lines out, JSON lines or a TREC run in."""

from __future__ import annotations

import gzip
import json
import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import BadData, RerankBenchError
from ..tasks import Task
from ..tasks.lines import read_lines
from .pool import Pool

Ranked = Mapping[str, list[tuple[str, float | None]]]
"""Query id -> (document id, score), best first."""


def write_pool(pools: Iterable[Pool], path: Path) -> None:
    """Write one JSON line per task and query; a safeguard is last in its list and named.

    A file of several pools of one task says each query several times, and cannot be read back as
    one first stage. A name that ends in .gz is packed. Raises RerankBenchError where `path` cannot
    be written.
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


def read_ranked(path: Path, *, task: Task) -> Ranked:
    """Read a user's first stage for `task`: a TREC run, or the JSON lines of `write_pool`; or gz.

    Safeguards in JSON lines are left out, to be decided anew. A TREC run is ordered by score, then
    by its rank column. Raises BadData that names file and line, also where no query is the task's.
    """
    lines = list(read_lines(path))
    if not lines:
        raise BadData(f"first stage {path} is empty")
    is_json = lines[0][1].lstrip().startswith("{")
    ranked = _json_lines(path, lines, task.name) if is_json else _trec(path, lines)
    if ranked.keys().isdisjoint(task.queries):
        raise BadData(f"first stage {path} ranks no query of task {task.name}")
    return ranked


def _json_lines(path: Path, lines: list[tuple[int, str]], task: str) -> Ranked:
    ranked: dict[str, list[tuple[str, float | None]]] = {}
    others: set[str] = set()
    for number, line in lines:
        found, query_id, doc_ids, safeguard = _json_row(path, number, line)
        if found is not None and found != task:
            others.add(str(found))
            continue
        if query_id in ranked:
            raise BadData(f"{path}, line {number}: query {query_id} stands there twice")
        _no_repeats(doc_ids, f"{path}, line {number}: query {query_id}")
        ranked[query_id] = [(d, None) for d in doc_ids if d != safeguard]
    if not ranked:
        raise BadData(f"first stage {path} holds no line of task {task}, only of {min(others)}")
    return ranked


def _json_row(path: Path, number: int, line: str) -> tuple[object, str, list[str], str | None]:
    """Task, query id, document ids and safeguard of one line; ids may be numbers."""
    try:
        row = json.loads(line)
        query_id, doc_ids = row["query-id"], row["corpus-ids"]
        if type(doc_ids) is not list or not all(
            type(i) in (str, int) for i in [query_id, *doc_ids]
        ):
            raise TypeError("an id is a string or a whole number")
        safeguard = row.get("safeguard")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        wanted = '{"task", "query-id", "corpus-ids", "safeguard"}'
        raise BadData(f"{path}, line {number}: expected {wanted} ({error})") from error
    behind = None if safeguard is None else str(safeguard)
    return row.get("task"), str(query_id), [str(doc_id) for doc_id in doc_ids], behind


def _trec(path: Path, lines: list[tuple[int, str]]) -> Ranked:
    rows: defaultdict[str, dict[str, tuple[float, int, str]]] = defaultdict(dict)
    for number, line in lines:
        query_id, doc_id, rank, score = _trec_row(path, number, line)
        if doc_id in rows[query_id]:
            raise _twice(f"{path}, line {number}: query {query_id}", doc_id)
        rows[query_id][doc_id] = (-score, rank, doc_id)
    return {
        query_id: [(doc_id, -negated) for negated, _, doc_id in sorted(row.values())]
        for query_id, row in rows.items()
    }


def _trec_row(path: Path, number: int, line: str) -> tuple[str, str, int, float]:
    try:
        query_id, _, doc_id, rank, score, _ = line.split()
        if not math.isfinite(float(score)):
            raise ValueError(score)
        return query_id, doc_id, int(rank), float(score)
    except ValueError as error:
        wanted = "query-id Q0 doc-id rank score tag"
        raise BadData(f"{path}, line {number}: expected {wanted}") from error


def _no_repeats(doc_ids: Sequence[str], where: str) -> None:
    if len(set(doc_ids)) != len(doc_ids):
        raise _twice(where, next(i for i, count in Counter(doc_ids).items() if count > 1))


def _twice(where: str, doc_id: str) -> BadData:
    return BadData(f"{where} ranks document {doc_id} twice")
