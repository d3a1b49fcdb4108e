"""Pools on disk: JSON lines out, a user's first stage in."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import BadData, RerankBenchError
from ..tasks import Task, as_id, examples, parse_json, read_lines, repeated
from .matching import OF_A_FILE, check_ids
from .pool import Pool
from .runlines import Lists, id_of, parse_object, read_json_run, read_run, twice

_KEYS = ("task", "query-id", "corpus-ids", "safeguard")


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


def read_ranked(path: Path, *, task: Task, keep_going: bool = False) -> Lists:
    """Read a user's first stage for `task`; a name that ends in .gz is unpacked.

    It is a run in columns, a JSON object as ranx writes it, or the JSON lines of `write_pool`,
    whose safeguards are left out, to be decided anew. Raises BadData that names file and line; also
    where ids do not match the task's, unless `keep_going`, and where no query is the task's.
    """
    lines = list(read_lines(path))
    if not lines:
        raise BadData(f"first stage {path} is empty")
    found = _read(path, lines, task.name)
    if found.ranked.keys().isdisjoint(task.queries):
        pair = examples(found.ranked, task.queries)
        what = f"first stage {path} ranks no query of task {task.name} ({pair})"
        raise BadData(f"{what}; write the ids alike")
    if not keep_going:
        check_ids(f"first stage {path}", found.ranked, task, limits=OF_A_FILE)
    return found


def _read(path: Path, lines: list[tuple[int, str]], task: str) -> Lists:
    number, first = lines[0]
    if first.lstrip().startswith("["):
        raise BadData(f"{path} is a JSON array; write one object for each query, one per line")
    if not first.lstrip().startswith("{"):
        return read_run(path, lines)
    row = parse_object(f"{path}, line {number}", first)
    if row is None:  # one object over several lines, or a broken line
        row = parse_object(str(path), "\n".join(line for _, line in lines))
    elif len(lines) > 1 or "query-id" in row or "corpus-ids" in row:
        row = None
    return _json_lines(path, lines, task) if row is None else read_json_run(path, row)


def _json_lines(path: Path, lines: list[tuple[int, str]], task: str) -> Lists:
    ranked: dict[str, list[tuple[str, float | None]]] = {}
    others: set[str] = set()
    for number, line in lines:
        found, query_id, doc_ids, safeguard = _json_row(path, number, line)
        if found is not None and found != task:
            others.add(str(found))
            continue
        if query_id in ranked:
            raise BadData(f"{path}, line {number}: query {query_id} stands there twice")
        again = repeated(doc_ids)
        if again is not None:
            raise twice(f"{path}, line {number}: query {query_id}", again)
        ranked[query_id] = [(d, None) for d in doc_ids if d != safeguard]
    if not ranked:
        raise BadData(f"first stage {path} holds no line of task {task}, only of {min(others)}")
    return Lists(ranked)


def _json_row(path: Path, number: int, line: str) -> tuple[object, str, list[str], str | None]:
    """Task, query id, document ids and safeguard of one line; ids may be numbers."""
    where = f"{path}, line {number}"
    try:
        row = parse_json(line, where)
        query_id, doc_ids = row["query-id"], row["corpus-ids"]
        if type(doc_ids) is not list:
            raise TypeError("corpus-ids is no list")
        safeguard = row.get("safeguard")
        ids = [as_id(value) for value in (query_id, *doc_ids)]
        if None in ids:
            raise TypeError("an id is a string or a whole number")
        other = next((key for key in row if key not in _KEYS), None)
        if other is not None:
            raise TypeError(f"{other!r} is not read; remove it: a list is in its own order")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        wanted = ", ".join(f'"{key}"' for key in _KEYS)
        raise BadData(f"{where}: expected {{{wanted}}} ({error})") from error
    first, *rest = (str(found) for found in ids)
    behind = None if safeguard is None else id_of(safeguard, where)
    if behind is not None and rest[-1:] != [behind]:
        raise BadData(f"{where}: safeguard {behind!r} must be the last of its corpus-ids")
    return row.get("task"), first, rest, behind
