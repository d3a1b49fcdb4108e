"""What the page says without a script: sentences, notes, what was left out, and summary tables."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ...evaluation import MAIN, Evaluation, records
from ..notes import named, notes_of, sentence
from ..tables import Table
from ..text import NOTHING, count, signed

if TYPE_CHECKING:
    from ..notes import Record

MOST = 50
"""Summary tables, of data sets and of tasks in none."""


def parts_of(found: Evaluation) -> list[list[Record]]:
    """Return the main results of each data set, and of each task that is in no data set's mean.

    Within each, profiles follow by name, with the best reranker first.
    """
    in_means = {task for group in found.groups for task in group.tasks}
    tasks = found.results.rows(MAIN)
    rows = records(found.means.rows(MAIN)) + records(tasks[~tasks["task"].isin(in_means)])
    rows = [row for row in rows if not row["apart"]]
    rows.sort(key=lambda row: (row["tasks"] == 1, row["task"], row["profile"], -row["natural"]))
    return [list(part) for _, part in groupby(rows, key=lambda row: row["task"])]


def sentences(parts: Sequence[Sequence[Record]]) -> list[dict[str, Any]]:
    """Return the conclusion of each data set or task and profile, with its notes."""
    return [
        {"task": rows[0]["task"], "profile": profile, "sentence": sentence(rows),
         "notes": notes_of(rows)}
        for part in parts
        for profile, own in groupby(part, key=lambda row: row["profile"])
        for rows in [list(own)]
    ]  # fmt: skip


def left_out(found: Evaluation) -> list[str]:
    """Return what is in no table or has no mean, and why."""
    without = (
        f"{group.name} · {profile} · {reranker}: no mean, with {why}"
        for group in found.groups
        for profile, reranker, why in group.left_out
    )
    return list(dict.fromkeys([*found.left_out, *without]))


def summary_tables(parts: Sequence[Sequence[Record]]) -> list[Table]:
    """Return a table of rerankers and profiles for each data set or task, for want of a script."""
    return [_matrix(part) for part in parts[:MOST]]


def _matrix(rows: Sequence[Record]) -> Table:
    """Return mean gains with half the width of their intervals, and what they cost."""
    profiles = list(dict.fromkeys(row["profile"] for row in rows))
    cells = {(row["reranker"], row["profile"]): _gain(row) for row in rows}
    rerankers = {row["reranker"]: row for row in sorted(rows, key=lambda row: -row["gain"])}
    return Table(
        f"{rows[0]['task']}: gain in {MAIN}",
        ("reranker", *(f"after {profile}" for profile in profiles), "calls", "seconds"),
        tuple(
            (
                named(row),
                *(cells.get((name, profile), NOTHING) for profile in profiles),
                count(row["calls_per_query"]),
                count(row["seconds_per_query"]),
            )
            for name, row in rerankers.items()
        ),
    )


def _gain(row: Record) -> str:
    star = " ★" if row["starred"] else ""
    if row["gain_high"] is None or row["gain_low"] is None:
        return f"{signed(row['gain'], 3)}{star}"
    half = (row["gain_high"] - row["gain_low"]) / 2
    return f"{signed(row['gain'], 3)} ± {half:.3f}{star}"
