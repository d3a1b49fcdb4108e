"""Means over the tasks of a data set, as the published group scores are: plain, tasks as fixed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from .rows import Row
from .statistics import group_intervals

_MEANS = (
    "first_stage", "natural", "safeguarded", "ceiling", "ceiling_safeguarded", "gain",
    "gain_safeguarded",
)  # fmt: skip
_SUMS = (
    "queries", "safeguards", "decided", "failed", "prompt_tokens", "output_tokens", "seconds",
    "from_cache", "cached_tokens",
)  # fmt: skip
_PER_QUERY = ("calls_per_query", "rounds")


@dataclass(frozen=True)
class Group:
    """The mean rows of one data set, and who is missing from them: (profile, reranker, tasks)."""

    name: str
    tasks: tuple[str, ...]
    rows: tuple[Row, ...]
    incomplete: tuple[tuple[str, str, int], ...]


def groups(rows: Iterable[Row]) -> list[Group]:
    """Return a group for every data set with two tasks or more; `rows` are those of rerankers.

    A mean is only given to a reranker and profile that ran on every task of the group, so that all
    means of a group are over the same tasks.
    """
    ranked = sorted((row for row in rows if row.reranker is not None), key=_group_key)
    found = []
    for name, part in groupby(ranked, key=data_set):
        members = list(part)
        tasks = tuple(sorted({row.task for row in members}))
        if len(tasks) > 1:
            found.append(_group(name, tasks, members))
    return found


def data_set(row: Row) -> str:
    """Return the data set a row's task is of: what stands before the last slash of its name."""
    return row.task.rpartition("/")[0] or row.task


def _group_key(row: Row) -> tuple[str, str, str, str, str]:
    return data_set(row), row.profile, row.reranker or "", row.measure, row.task


def _group(name: str, tasks: tuple[str, ...], members: Sequence[Row]) -> Group:
    columns = {key: list(part) for key, part in groupby(members, key=_column)}
    complete = {key: part for key, part in columns.items() if len(part) == len(tasks)}
    intervals = group_intervals(
        {key: [(row.task, row.query_gains) for row in part] for key, part in complete.items()}
    )
    rows = tuple(_mean(name, part, intervals[key]) for key, part in complete.items())
    missing = {key[:2]: len(part) for key, part in columns.items() if key not in complete}
    return Group(name, tasks, rows, tuple((*who, count) for who, count in missing.items()))


def _column(row: Row) -> tuple[str, str, str]:
    return row.profile, row.reranker or "", row.measure


def _mean(name: str, rows: Sequence[Row], interval: tuple[float, float]) -> Row:
    queries = sum(row.queries for row in rows)
    return replace(
        rows[0],
        task=name,
        origin=_joined(row.origin for row in rows),
        resolved=_joined(row.resolved for row in rows),
        engine="fake" if any(row.engine == "fake" for row in rows) else rows[0].engine,
        gain_low=interval[0],
        gain_high=interval[1],
        published=_published(rows),
        invalid=_invalid(rows),
        query_gains=(),
        **{field: sum(getattr(row, field) for row in rows) / len(rows) for field in _MEANS},
        **{field: sum(getattr(row, field) for row in rows) for field in _SUMS},
        **{
            field: sum(getattr(row, field) * row.queries for row in rows) / queries
            for field in _PER_QUERY
        },
    )


def _invalid(rows: Sequence[Row]) -> str | None:
    bad = [row for row in rows if row.invalid]
    return f"{len(bad)} of {len(rows)} tasks, {bad[0].task} by {bad[0].invalid}" if bad else None


def _published(rows: Sequence[Row]) -> float | None:
    known = [row.published for row in rows if row.published is not None]
    return sum(known) / len(known) if len(known) == len(rows) else None


def _joined(names: Iterable[str]) -> str:
    return "+".join(dict.fromkeys(names))
