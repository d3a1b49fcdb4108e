"""What the page says without a script: sentences, notes, what was left out, and summary tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ...evaluation import MEASURES, Evaluation, Row
from ..notes import notes_of, sentence
from ..tables import Table, tables

FEW = 9
"""Sentences that are shown at once."""


def summary(found: Evaluation) -> list[dict[str, Any]]:
    """Return a sentence and notes for each data set, or task of none, and each profile."""
    wholes: Iterable[Sequence[Row]] = [group.rows for group in found.groups]
    grouped = {task for group in found.groups for task in group.tasks}
    alone = [row for row in found.rows if row.task not in grouped]
    parts = (
        part
        for rows in [*wholes, *_parts(alone, "task")]
        for part in _parts([r for r in rows if r.measure == MEASURES[0] and r.reranker], "profile")
    )
    return [_summed(sorted(part, key=lambda r: (r.apart, -(r.natural or 0.0)))) for part in parts]


def _summed(rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "task": rows[0].task,
        "profile": rows[0].profile,
        "sentence": sentence(rows),
        "notes": notes_of(rows),
    }


def _parts(rows: Iterable[Row], field: str) -> Iterable[list[Row]]:
    parts: dict[str, list[Row]] = {}
    for row in rows:
        parts.setdefault(getattr(row, field), []).append(row)
    return parts.values()


def left_out(found: Evaluation) -> list[str]:
    """Return what has no mean or cannot be compared, and why."""
    return [*found.left_out, *(reason for group in found.groups for reason in group.reasons)]


def summary_tables(found: Evaluation) -> list[Table]:
    """Return the tables that stand in for the page where no script runs."""
    return [table for table in tables(found) if "after" in table.title][:30]
