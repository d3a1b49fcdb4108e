"""Intervals, p-values and stars for all rows of a report, and the means over each data set.

A task's columns are (profile, reranker, measure). Those that ran on the same queries are resampled
together. The mean of a data set is the plain mean over its tasks, which are taken as fixed: queries
are resampled within each.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from .groups import Group, columns_of, data_set, left_out, mean_row
from .measures import MEASURES
from .resampling import FLIPS, RESAMPLES, flipped, percentiles, resampled, shuffled, units
from .significance import FEWEST, LEVEL, Tested, detectable, holm, p_values

if TYPE_CHECKING:
    from .resampling import Array, Units
    from .row import Column, Row

MOST_FAILED = 0.05
"""Share of queries that may have failed: beyond it a gain tells of the engine, not the reranker."""

MAIN = MEASURES[0]
"""The measure that is tested; the others have intervals alone."""

_MOST_CORES = 4  # each holds what was drawn for a task: some 100 MB where rows are many


def infer(rows: Iterable[Row]) -> tuple[list[Row], list[Group]]:
    """Return the rerankers' `rows` with how sure their gains are, and each data set's mean rows.

    A data set of several tasks has a group, also where no reranker has a mean over all of them.

    Deterministic: the same rows always give the same numbers.
    """
    found: list[Row] = []
    groups: list[Group] = []
    for name, part in groupby(sorted(rows, key=data_set), key=data_set):
        members = list(part)
        columns = columns_of(members)
        tasks = tuple(sorted({row.task for row in members}))
        without = left_out(columns, tasks)
        several = len(tasks) > 1
        sums = {key: _Sums() for key in columns if several and key[:2] not in without}
        done: list[Row] = []
        for drawn, stated in _examined(list(_same_queries(members))):
            drawn.add_to(sums)
            done += stated
        if several:
            means = [_mean(name, columns[key], added) for key, added in sums.items()]
            reasons = tuple((*who, why) for who, why in without.items())
            groups.append(Group(name, tasks, _of_set(name, means), reasons))
        found += _of_tasks(name, done) if several else _of_set(name, done)
    return found, groups


def _same_queries(rows: Sequence[Row]) -> Iterable[list[Row]]:
    """Deal the rows of a data set out to lists of one task and equal queries."""
    dealt: dict[tuple[str, tuple[str, ...]], list[Row]] = defaultdict(list)
    for row in rows:
        dealt[row.task, row.query_ids].append(row)
    return dealt.values()


def _examined(parts: Sequence[Sequence[Row]]) -> Iterator[tuple[_Drawn, list[Row]]]:
    """Draw for each part and state what came of it, on all cores, in the order given.

    A core multiplies its matrices alone: on a machine that others use too, threads that share one
    product mostly wait for each other. A few parts are held at a time, not all of them.
    """
    from threadpoolctl import threadpool_limits

    cores = min(os.cpu_count() or 1, _MOST_CORES)
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(cores) as pool:
        for start in range(0, len(parts), cores):
            yield from pool.map(_examine, parts[start : start + cores])


def _examine(rows: Sequence[Row]) -> tuple[_Drawn, list[Row]]:
    drawn = _Drawn.of(rows)
    return drawn, drawn.stated()


@dataclass
class _Sums:
    """What the tasks of a column have added up to: draws, squared errors, units."""

    resampled: Array = field(default_factory=lambda: np.zeros(RESAMPLES))
    flipped: Array = field(default_factory=lambda: np.zeros(FLIPS))
    variance: float = 0.0
    by_freedom: float = 0.0  # squared variances, each by its degrees of freedom
    units: int = 0
    moved: float = 0.0
    tested: bool = True

    def add(
        self, means: Array, flips: Array | None, variance: float, units: int, moved: float
    ) -> None:
        """Add one task; without flips the mean of all is not tested."""
        self.resampled += means
        self.variance += float(variance)
        self.by_freedom += float(variance) ** 2 / max(units - 1, 1)
        self.units += units
        self.moved += moved
        if flips is None:
            self.tested = False
        else:
            self.flipped += flips


@dataclass(frozen=True)
class _Drawn:
    """What was drawn for k rows of one task, and of those that are tested, by their places."""

    rows: Sequence[Row]
    units: Units
    means: Array
    tested: Sequence[int]
    flips: Array

    @classmethod
    def of(cls, rows: Sequence[Row]) -> _Drawn:
        """Draw once for rows that share their queries."""
        gains = np.stack([row.query_gains for row in rows])
        given = units(rows[0].task, gains, rows[0].query_bases)
        tested = [place for place, row in enumerate(rows) if _is_tested(row)]
        return cls(rows, given, resampled(given), tested, flipped(given.take(tested)))

    def add_to(self, sums: Mapping[Column, _Sums]) -> None:
        """Add up for the means over tasks what belongs to one."""
        if not sums:
            return
        number, variance, moved = len(self.units.sizes), self.units.variance, self.units.moved
        means = shuffled(self.units.task, self.means)
        flips = dict(zip(self.tested, shuffled(self.units.task, self.flips), strict=True))
        for place, row in enumerate(self.rows):
            if row.column in sums:
                sums[row.column].add(
                    means[place], flips.get(place), variance[place], number, moved[place]
                )

    def stated(self) -> list[Row]:
        """The rows with their intervals and p-values."""
        low, high = percentiles(self.means)
        own, number = self.units, len(self.units.sizes)
        variance = own.variance
        p = p_values(
            own.means[self.tested],
            self.flips,
            variance[self.tested],
            freedom=number - 1.0,
            moved=own.moved[self.tested],
        )
        tested = dict(zip(self.tested, p, strict=True)) if number >= FEWEST else {}
        return [
            _stated(row, (low[i], high[i]), variance[i], tested.get(i))
            for i, row in enumerate(self.rows)
        ]


def _is_tested(row: Row) -> bool:
    """Only gains of real rerankers that worked, in one measure, are findings."""
    real = not row.floor and row.engine != "fake" and row.invalid is None
    return row.measure == MAIN and real and (row.failed or 0) <= MOST_FAILED * row.queries


def _stated(row: Row, bounds: tuple[float, float], variance: float, tested: Tested | None) -> Row:
    same = len(row.query_gains) > 0 and np.ptp(row.query_gains) == 0.0
    low, high = (row.gain, row.gain) if same else (float(bounds[0]), float(bounds[1]))
    return replace(
        row,
        gain_low=low,
        gain_high=high,
        p=tested.p if tested else None,
        p_from=tested.p_from if tested else None,
        p_holm=None,
        starred=False,
        family="",
        detectable=detectable(variance) if row.measure == MAIN else None,
    )


def _mean(name: str, rows: Sequence[Row], drawn: _Sums) -> Row:
    """Return the mean row of a column; Welch and Satterthwaite's degrees of freedom for its t."""
    count = len(rows)
    low, high = percentiles(drawn.resampled[None, :] / count)
    row = mean_row(name, rows)
    variance = drawn.variance / count**2
    freedom = drawn.variance**2 / drawn.by_freedom if drawn.by_freedom else 1.0
    gain = np.array([row.gain])
    (tested,) = p_values(
        gain,
        drawn.flipped[None, :] / count,
        np.array([variance]),
        freedom=freedom,
        moved=np.array([drawn.moved]),
    )
    found = tested if drawn.tested and drawn.units >= FEWEST else None
    return _stated(row, (low[0], high[0]), variance, found)


def _of_set(name: str, rows: Sequence[Row]) -> tuple[Row, ...]:
    """A data set's rows, or those of its only task: all rerankers x profiles are one family."""
    return _starred(rows, lambda row: f"gains of rerankers after profiles in {name}")


def _of_tasks(name: str, rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows of tasks: those of one reranker after one profile are a family."""
    words = f"in the tasks of {name}"
    return _starred(rows, lambda row: f"gains of {row.reranker} after {row.profile} {words}")


def _starred(rows: Sequence[Row], family_of: Callable[[Row], str]) -> tuple[Row, ...]:
    """Adjust p-values by Holm within each family, and star what remains at most 5 %."""
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
