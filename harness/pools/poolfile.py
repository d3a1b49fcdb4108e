"""Read a user's ranked lists from a file, and write pools to one as JSON lines.

Files whose names end in .gz are packed with gzip.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import BadData, RerankBenchError
from ..tasks import (
    MISMATCH_LIMIT,
    Task,
    check_query_ids,
    first_repeated,
    mismatch,
    parse_id,
    parse_json,
    read_lines,
)
from .pool import Pool
from .runfile import Lists, Ranked, located, read_columns, read_ranx

_FILE_LIMITS = (MISMATCH_LIMIT, 0.5)
SHIPPED_LIMITS = (0.9, 0.9)
"""Largest shares of queries and of ranked documents whose ids may match nothing in the task.

A list that a data set ships may have been made for a larger corpus or for fewer queries.
"""

_KEYS = ("task", "query-id", "corpus-ids", "safeguard")


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
        raise mismatch(what, found.ranked, task.queries, cure="write the ids alike")
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
    number, first = lines[0]
    if first.lstrip().startswith("["):
        raise BadData(f"{path} is a JSON array; write one object for each query, one per line")
    if not first.lstrip().startswith("{"):
        return read_columns(path, lines)
    whole = _parse_object(first, f"{path}, line {number}")
    if whole is None:  # one object over several lines, or a broken line
        whole = _parse_object("\n".join(line for _, line in lines), str(path))
    elif len(lines) > 1 or "query-id" in whole or "corpus-ids" in whole:
        whole = None
    return _read_json_lines(path, lines, task) if whole is None else read_ranx(path, whole)


def _parse_object(text: str, where: str) -> Mapping[str, Any] | None:
    """Return `text` as a JSON object, None if it is not one; raise BadData for a repeated key."""
    try:
        found = parse_json(text, where)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _read_json_lines(path: Path, lines: list[tuple[int, str]], task: str) -> Lists:
    ranked: dict[str, list[tuple[str, float | None]]] = {}
    others: set[str] = set()
    for number, line in lines:
        where = f"{path}, line {number}"
        with located(where):
            name, query_id, doc_ids, safeguard = _parse_line(line, where)
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
        other = next((key for key in row if key not in _KEYS), None)
        if other is not None:
            raise TypeError(f"{other!r} is not read; remove it: a list is read in its own order")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        wanted = ", ".join(f'"{key}"' for key in _KEYS)
        raise ValueError(f"expected {{{wanted}}} ({error})") from error
    if last is not None and ids[-1:] != [last]:
        raise ValueError(f"safeguard {last!r} must be the last of its corpus-ids")
    return row.get("task"), query_id, ids, last
