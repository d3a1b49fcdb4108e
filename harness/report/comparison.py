"""Two rerankers compared with each other, as tables and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from operator import attrgetter, itemgetter
from typing import Any

from ..evaluation import MAIN, Comparison, QueryDifference
from .notes import Record, headline, significant, statistics
from .tables import ReportTable
from .text import bounds, gain, number, ratio, signed


def comparison_tables(found: Comparison, *, queries: int) -> list[ReportTable]:
    """Return the table of differences, and that of the `queries` that differ most."""
    tasks = sorted(found.results.main, key=lambda row: (row["task"], row["profile"]))
    rows = [*found.means.main, *tasks]
    title = f"{found.one} (first) against {found.other} (second) · {MAIN}, natural"
    lead = _sentence(found)
    main = ReportTable.of(title, rows, _COLUMNS, names=2, notes=_notes(found, rows), lead=lead)
    if not queries:
        return [main]
    differing = [query for query in found.queries if query.difference][:queries]
    most = f"The {len(differing)} queries that differ most"
    see = [_SEE] if differing else []
    return [main, ReportTable.of(most, differing, _QUERIES, names=3, notes=see)]


def _notes(found: Comparison, rows: Sequence[Record]) -> list[str]:
    means = ["Rows of a data set are plain means over its tasks."] if found.groups else []
    left_out = [f"Left out: {why}." for why in found.left_out]
    return list(dict.fromkeys([*means, *statistics(rows), *_odd(rows), *left_out]))


def _odd(rows: Sequence[Record]) -> Iterator[str]:
    """Return what keeps a difference from being a finding."""
    where = [(f"{row['task']} after {row['profile']}", row) for row in rows]
    yield from (f"{name}: invalid by {row['invalid']}." for name, row in where if row["invalid"])
    for name, row in where:
        if row["failed"]:
            yield f"{name}: {row['failed']} failed queries count as 0."
    if any(not row["is_real"] for row in rows):
        yield "Fake engine: one of the two was answered from word overlap, by no model."
    noise = [row["noise"] for row in rows if row["noise"] is not None]
    if noise:
        yield f"Repeats of the same run lie up to {number(max(noise))} apart."


def _sentence(found: Comparison) -> str:
    tested = [row for row in headline(found) if row["family"]]
    if not tested:
        why = "too few queries, equal values, too many failed, floors, fake engines or invalid runs"
        return f"Nothing here was tested: {why}."
    better, worse = significant(tested)
    where = f"better in {better} and worse in {worse} of {len(tested)} tested"
    return f"By data set and profile, {found.one} is significantly {where}."


def _task(row: Record) -> str:
    marks = {" (fake engine)": not row["is_real"], " (invalid)": row["invalid"]}
    return str(row["task"]) + "".join(mark for mark, is_so in marks.items() if is_so)


_COLUMNS: dict[str, Callable[[Record], str]] = {
    "task": _task,
    "profile": itemgetter("profile"),
    "queries": lambda row: str(row["queries"]),
    "first": lambda row: number(row["natural"]),
    "second": lambda row: number(row["first_stage"]),
    "difference": lambda row: gain(row["gain"], row["starred"]),
    "95 % interval": lambda row: bounds(row["gain_low"], row["gain_high"]),
    "wins / ties / losses": lambda row: ratio(row["wins"], row["ties"], row["losses"]),
}
_QUERIES: dict[str, Callable[[QueryDifference], str]] = {
    "task": attrgetter("task"),
    "profile": attrgetter("profile"),
    "query": attrgetter("query_id"),
    "first": lambda query: number(query.one),
    "second": lambda query: number(query.other),
    "difference": lambda query: signed(query.difference),
}
_SEE = "`rerank-bench show RUN QUERY --against RUN` shows what happened in one of them."


def comparison_json(found: Comparison) -> str:
    """Return one JSON object: `one`, `other`, `groups`, `tasks`, `left_out`, all `queries`."""
    content = {
        "one": found.one,
        "other": found.other,
        "groups": [_object(row) for row in found.means.main],
        "tasks": [_object(row) for row in found.results.main],
        "left_out": list(found.left_out),
        "queries": [{**asdict(query), "difference": query.difference} for query in found.queries],
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)


_KEYS = {
    "one": "natural", "other": "first_stage", "difference": "gain", "low": "gain_low",
    "high": "gain_high",
}  # fmt: skip
_OBJECT = (
    "task", "profile", "queries", "one", "other", "difference", "low", "high", "p", "p_holm",
    "starred", "family", "detectable", "wins", "ties", "losses",
)  # fmt: skip


def _object(row: Record) -> dict[str, Any]:
    return {key: row[_KEYS.get(key, key)] for key in _OBJECT}
