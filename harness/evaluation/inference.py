"""Confidence intervals, p-values and stars for all rows of a report, and each data set's means.

The mean of a data set is the plain mean over its tasks, which are taken as fixed: its standard
error comes from those of the tasks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from .groups import Group, columns_of, data_set, left_out, mean_row
from .measures import MEASURES
from .row import Column, Row
from .significance import FEWEST, LEVEL, Estimate, estimate, holm, mean_of

MOST_FAILED = 0.05
"""Share of queries that may have failed: beyond it a gain tells of the engine, not the reranker."""

MAIN = MEASURES[0]
"""The measure that is tested; the others have intervals alone."""

Estimates = Mapping[tuple[str, Column], Estimate]
"""The estimated gain of each task and column."""


def infer(rows: Iterable[Row]) -> tuple[list[Row], list[Group]]:
    """Return `rows` of rerankers with intervals, p-values and stars, and each data set's means.

    A data set of several tasks has a group, also where no reranker has a mean over all of them.
    """
    found: list[Row] = []
    groups: list[Group] = []
    for name, part in groupby(sorted(rows, key=data_set), key=data_set):
        members = list(part)
        estimates = {(r.task, r.column): estimate(r.query_gains, r.query_bases) for r in members}
        stated = [_stated(r, estimates[r.task, r.column], tested=_is_tested(r)) for r in members]
        tasks = tuple(sorted({row.task for row in members}))
        if len(tasks) > 1:
            groups.append(_group(name, tasks, members, estimates))
            found += _of_tasks(name, stated)
        else:
            found += _of_set(name, stated)
    return found, groups


def _group(name: str, tasks: tuple[str, ...], rows: Sequence[Row], estimates: Estimates) -> Group:
    columns = columns_of(rows)
    without = left_out(columns, tasks)
    means = [
        _mean(name, own, [estimates[row.task, column] for row in own])
        for column, own in columns.items()
        if column[:2] not in without
    ]
    return Group(name, tasks, _of_set(name, means), tuple((*k, why) for k, why in without.items()))


def _mean(name: str, rows: Sequence[Row], parts: Sequence[Estimate]) -> Row:
    """Return the mean row of a column; it is tested where all of its tasks are."""
    return _stated(mean_row(name, rows), mean_of(parts), tested=all(map(_is_tested, rows)))


def _is_tested(row: Row) -> bool:
    """Only gains of real rerankers that worked, in one measure, are findings."""
    real = not row.floor and row.engine != "fake" and row.invalid is None
    return row.measure == MAIN and real and (row.failed or 0) <= MOST_FAILED * row.queries


def _stated(row: Row, gain: Estimate, *, tested: bool) -> Row:
    low, high = gain.interval
    return replace(
        row,
        gain_low=low,
        gain_high=high,
        p=gain.p if tested and gain.units >= FEWEST else None,
        p_holm=None,
        starred=False,
        family="",
        detectable=gain.detectable if row.measure == MAIN else None,
    )


def _of_set(name: str, rows: Sequence[Row]) -> tuple[Row, ...]:
    """A data set's rows, or those of its only task: all rerankers x profiles are one family."""
    return _starred(rows, lambda row: f"gains of rerankers after profiles in {name}")


def _of_tasks(name: str, rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows of tasks: those of one reranker after one profile are a family."""
    words = f"in the tasks of {name}"
    return _starred(rows, lambda row: f"gains of {row.reranker} after {row.profile} {words}")


def _starred(rows: Sequence[Row], family_of: Callable[[Row], str]) -> tuple[Row, ...]:
    """Adjust p-values after Holm within each family, and star those of at most 5 %."""
    families: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        if row.p is not None:
            families[family_of(row)].append(place)
    found = list(rows)
    for words, places in families.items():
        adjusted = holm([rows[place].p or 0.0 for place in places])
        for place, p in zip(places, adjusted, strict=True):
            size = len(places) if len(places) > 1 else "only one of the"
            family = f"the {size} {words}"
            found[place] = replace(rows[place], p_holm=p, starred=p <= LEVEL, family=family)
    return tuple(found)
