"""Pools on disk: JSON lines out, JSON lines or a TREC run in."""

from __future__ import annotations

import gzip
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import IO, Any

from ..errors import BadData, RerankBenchError
from .pool import Pool

Ranked = Mapping[str, list[tuple[str, float | None]]]
"""Query id -> (document id, score), best first."""


def write_pool(pools: Iterable[Pool], path: Path) -> None:
    """Write one JSON line per task and query; a safeguard is last in its list and named.

    A file of several pools of one task says each query several times, and cannot be read back as
    one first stage. Raises RerankBenchError where `path` cannot be written.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("w", encoding="utf-8", errors="surrogatepass") as file:
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


def read_ranked(path: Path, *, task: str) -> Ranked:
    """Read a user's first stage for `task`: a TREC run, or the JSON lines of `write_pool`; or gz.

    Safeguards in JSON lines are left out, to be decided anew. A TREC run is ordered by score, then
    by its rank column. Raises BadData that names file and line.
    """
    try:
        with _open(path) as file:
            lines = [(number, line) for number, line in enumerate(file, 1) if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"first stage {path} cannot be read: {error}") from error
    if not lines:
        raise BadData(f"first stage {path} is empty")
    reader = _json_lines if lines[0][1].lstrip().startswith("{") else _trec
    ranked = reader(path, lines, task)
    for query_id, row in ranked.items():
        _no_repeats(path, query_id, [doc_id for doc_id, _ in row])
    return ranked


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _json_lines(path: Path, lines: list[tuple[int, str]], task: str) -> Ranked:
    ranked: dict[str, list[tuple[str, float | None]]] = {}
    for number, line in lines:
        try:
            row = json.loads(line)
            query_id, doc_ids = str(row["query-id"]), [str(d) for d in row["corpus-ids"]]
            safeguard = row.get("safeguard")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            wanted = '{"task", "query-id", "corpus-ids", "safeguard"}'
            raise BadData(f"{path}, line {number}: expected {wanted} ({error})") from error
        if row.get("task", task) != task:
            continue
        if query_id in ranked:
            raise BadData(f"{path}, line {number}: query {query_id} stands there twice")
        ranked[query_id] = [(d, None) for d in doc_ids if d != safeguard]
    if not ranked:
        raise BadData(f"first stage {path} holds no line of task {task}")
    return ranked


def _trec(path: Path, lines: list[tuple[int, str]], task: str) -> Ranked:
    rows = [_trec_row(path, number, line) for number, line in lines]
    rows.sort(key=lambda row: row[0])
    return {
        query_id: [
            (doc_id, score) for _, doc_id, score, _ in sorted(group, key=lambda r: (-r[2], r[3]))
        ]
        for query_id, group in groupby(rows, key=lambda row: row[0])
    }


def _trec_row(path: Path, number: int, line: str) -> tuple[str, str, float, int]:
    try:
        query_id, _, doc_id, rank, score, _ = line.split()
        if not math.isfinite(float(score)):
            raise ValueError(score)
        return query_id, doc_id, float(score), int(rank)
    except ValueError as error:
        wanted = "query-id Q0 doc-id rank score tag"
        raise BadData(f"{path}, line {number}: expected {wanted}") from error


def _no_repeats(path: Path, query_id: str, doc_ids: list[str]) -> None:
    if len(set(doc_ids)) != len(doc_ids):
        twice = next(d for d in doc_ids if doc_ids.count(d) > 1)
        raise BadData(f"{path}: query {query_id} ranks document {twice} twice")
