"""Two rerankers set against each other, as tables and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ..evaluation import MAIN, Comparison
from .notes import Record, significant, statistics
from .tables import Table
from .text import bounds, gain, number, ratio, signed

_COLUMNS = (
    "task", "profile", "queries", "first", "second", "difference", "95 % interval",
    "wins / ties / losses",
)  # fmt: skip


def comparison_tables(found: Comparison, *, queries: int) -> list[Table]:
    """Return the table of differences, and that of the `queries` that differ most."""
    means, tasks = found.means.main, found.results.main
    rows = [*means, *sorted(tasks, key=lambda row: (row["task"], row["profile"]))]
    in_means = {task for group in found.groups for task in group.tasks}
    main = Table(
        title=f"{found.one} (first) against {found.other} (second) · {MAIN}, natural",
        columns=_COLUMNS,
        rows=tuple(_cells(row) for row in rows),
        names=2,
        notes=_notes(found, rows),
        lead=_sentence(found, [*means, *(row for row in tasks if row["task"] not in in_means)]),
    )
    return [main, _duels(found, queries)] if queries else [main]


def _notes(found: Comparison, rows: Sequence[Record]) -> tuple[str, ...]:
    means = ["Rows of a data set are plain means over its tasks."] if found.groups else []
    left_out = [f"Left out: {why}." for why in found.left_out]
    return tuple(dict.fromkeys([*means, *statistics(rows), *_odd(rows), *left_out]))


def _odd(rows: Sequence[Record]) -> list[str]:
    """Return what keeps a difference from being a finding."""
    where = [(f"{row['task']} after {row['profile']}", row) for row in rows]
    words = [f"{name}: invalid by {row['invalid']}." for name, row in where if row["invalid"]]
    words += [
        f"{name}: {row['failed']} failed queries count as 0."
        for name, row in where
        if row["failed"]
    ]
    if any(not row["is_real"] for row in rows):
        words.append("Fake engine: one of the two was answered from word overlap, by no model.")
    noise = [row["noise"] for row in rows if row["noise"] is not None]
    if noise:
        words.append(f"Repeats of the same run lie up to {number(max(noise))} apart.")
    return words


def _cells(row: Record) -> tuple[str, ...]:
    marks = " (fake engine)" if not row["is_real"] else ""
    marks += " (invalid)" if row["invalid"] else ""
    return (
        f"{row['task']}{marks}",
        row["profile"],
        str(row["queries"]),
        number(row["natural"]),
        number(row["first_stage"]),
        gain(row["gain"], row["starred"]),
        bounds(row["gain_low"], row["gain_high"]),
        ratio(row["wins"], row["ties"], row["losses"]),
    )


def _sentence(found: Comparison, rows: Sequence[Record]) -> str:
    tested = [row for row in rows if row["family"]]
    if not tested:
        why = "too few queries, equal values, too many failed, floors, fake engines or invalid runs"
        return f"Nothing here was tested: {why}."
    better, worse = significant(tested)
    where = f"better in {better} and worse in {worse} of {len(tested)} tested"
    return f"By data set and profile, {found.one} is significantly {where}."


def _duels(found: Comparison, queries: int) -> Table:
    some = [duel for duel in found.duels if duel.difference][:queries]
    rows = tuple(
        (d.task, d.profile, d.query_id, number(d.one), number(d.other), signed(d.difference))
        for d in some
    )
    columns = ("task", "profile", "query", "first", "second", "difference")
    title = f"The {len(rows)} queries that differ most"
    return Table(title, columns, rows, names=3, notes=(_SEE,) if rows else ())


_SEE = "`rerank-bench show RUN QUERY --against RUN` shows what happened in one of them."


def comparison_json(found: Comparison) -> str:
    """Return one JSON object: `one`, `other`, `groups`, `tasks`, `left_out`, all `queries`."""
    content = {
        "one": found.one,
        "other": found.other,
        "groups": [_object(row) for row in found.means.main],
        "tasks": [_object(row) for row in found.results.main],
        "left_out": list(found.left_out),
        "queries": [{**asdict(duel), "difference": duel.difference} for duel in found.duels],
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
