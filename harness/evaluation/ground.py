"""Which rows of a table compare: those of the same queries, pools and judgements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .row import Row


def set_apart(rows: Iterable[Row]) -> list[Row]:
    """Mark the rows of a (task, profile, measure) that do not rest on what the others do.

    The others are those that share queries, pool and judgements and hold the most results, which
    are queries times rows; among several such those with the most queries, and then those by the
    usual judgements.
    """
    tables: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        tables.setdefault((row.task, row.profile, row.measure), []).append(row)
    return [marked for table in tables.values() for marked in _marked(table)]


def _marked(table: list[Row]) -> list[Row]:
    counts = Counter(row.ground for row in table)

    def standing(row: Row) -> tuple[int, int, bool]:
        return row.queries * counts[row.ground], row.queries, not row.judgements

    usual = max(table, key=standing).ground
    return [row if row.ground == usual else replace(row, apart=True) for row in table]
