"""Two rerankers set against each other, as tables and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..evaluation import Comparison, Duel, Row, mean_rows
from .notes import statistics
from .tables import Table
from .text import NOTHING, bounds, number, signed

_COLUMNS = (
    "task", "profile", "queries", "first", "second", "difference", "95 % interval",
    "wins / ties / losses",
)  # fmt: skip


def comparison_tables(found: Comparison, *, queries: int) -> list[Table]:
    """Return the table of differences, and that of the `queries` that differ most."""
    groups = mean_rows(found.groups)
    apart = {task for group in found.groups for task in group.tasks}
    rows = [*groups, *sorted(found.rows, key=lambda row: row.key)]
    main = Table(
        title=f"{found.one} (first) against {found.other} (second) · nDCG@10, natural",
        columns=_COLUMNS,
        rows=tuple(_cells(row) for row in rows),
        names=2,
        notes=_notes(found, groups, rows),
        lead=_sentence(found, [*groups, *(row for row in found.rows if row.task not in apart)]),
    )
    return [main, _duels(found, queries)] if queries else [main]


def _notes(found: Comparison, groups: Sequence[Row], rows: Sequence[Row]) -> tuple[str, ...]:
    means = ["Rows of a data set are plain means over its tasks."] if groups else []
    left_out = [f"Left out: {why}." for why in found.left_out]
    return tuple(dict.fromkeys([*means, *statistics(rows), *_odd(rows), *left_out]))


def _odd(rows: Sequence[Row]) -> list[str]:
    """What keeps a difference from being a finding."""
    told = [
        f"{row.task} after {row.profile}: invalid by {row.invalid}." for row in rows if row.invalid
    ]
    told += [
        f"{row.task} after {row.profile}: {row.failed} failed queries count as 0."
        for row in rows
        if row.failed
    ]
    if any(row.engine == "fake" for row in rows):
        told.append("Fake engine: one of the two was answered from word overlap, by no model.")
    noise = [row.noise for row in rows if row.noise is not None]
    if noise:
        told.append(f"Repeats of the same run lie up to {number(max(noise))} apart.")
    return told


def _marked(row: Row) -> str:
    fake = " (fake engine)" if row.engine == "fake" else ""
    return f"{row.task}{fake}{' (invalid)' if row.invalid else ''}"


def _cells(row: Row) -> tuple[str, ...]:
    return (
        _marked(row),
        row.profile,
        str(row.queries),
        number(row.natural),
        number(row.first_stage),
        f"{signed(row.gain)}{' *' if row.starred else ''}",
        bounds(row.gain_low, row.gain_high),
        NOTHING if row.wins is None else f"{row.wins} / {row.ties} / {row.losses}",
    )


def _sentence(found: Comparison, rows: Sequence[Row]) -> str:
    tested = [row for row in rows if row.family]
    if not tested:
        why = "too few queries, equal values, too many failed, floors, fake engines or invalid runs"
        return f"Nothing here was tested: {why}."
    better = sum(row.starred and (row.gain or 0.0) > 0 for row in tested)
    worse = sum(row.starred and (row.gain or 0.0) < 0 for row in tested)
    where = f"better in {better} and worse in {worse} of {len(tested)} tested"
    return f"By data set and profile, beyond chance {found.one} is {where}."


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
    told = {
        "one": found.one,
        "other": found.other,
        "groups": [_row(row) for row in mean_rows(found.groups)],
        "tasks": [_row(row) for row in found.rows],
        "left_out": list(found.left_out),
        "queries": [_duel(duel) for duel in found.duels],
    }
    return json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False)


def _row(row: Row) -> dict[str, Any]:
    return {
        "task": row.task,
        "profile": row.profile,
        "queries": row.queries,
        "one": row.natural,
        "other": row.first_stage,
        "difference": row.gain,
        "low": row.gain_low,
        "high": row.gain_high,
        "p": row.p,
        "p_holm": row.p_holm,
        "starred": row.starred,
        "family": row.family,
        "detectable": row.detectable,
        "wins": row.wins,
        "ties": row.ties,
        "losses": row.losses,
    }


def _duel(duel: Duel) -> dict[str, Any]:
    return {
        "task": duel.task,
        "profile": duel.profile,
        "query_id": duel.query_id,
        "one": duel.one,
        "other": duel.other,
        "difference": duel.difference,
    }
