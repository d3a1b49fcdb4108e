"""Means over the tasks of a data set, as the published group scores are: plain, tasks as fixed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .row import Column, Row, captured
from .sensitivity import spread

_MEANS = (
    "first_stage", "natural", "safeguarded", "ceiling", "ceiling_safeguarded", "gain",
    "gain_safeguarded", "judged", "judged_first_stage",
)  # fmt: skip
_SUMS = (
    "queries", "safeguards", "decided", "failed", "prompt_tokens", "output_tokens", "seconds",
    "from_cache", "cached_tokens", "wins", "ties", "losses", "rerankable", "repaired",
    "unparsable", "truncated",
)  # fmt: skip
_PER_QUERY = ("calls_per_query", "rounds", "ideal_flops", "price")
_PER_MACHINE = ("seconds_per_query", "gpu_seconds")


@dataclass(frozen=True)
class Group:
    """The mean rows of one data set, and who is missing from them.

    left_out: (profile, reranker, why) of those that did not run on all tasks, or whose model or
    depth is not the same in all of them.
    """

    name: str
    tasks: tuple[str, ...]
    rows: tuple[Row, ...]
    left_out: tuple[tuple[str, str, str], ...]


def mean_rows(groups: Iterable[Group]) -> list[Row]:
    """Return the rows of all groups."""
    return [row for group in groups for row in group.rows]


def data_set(row: Row) -> str:
    """Return the data set a row's task is of: what stands before the last slash of its name."""
    return row.task.rpartition("/")[0] or row.task


def columns_of(rows: Iterable[Row]) -> dict[Column, list[Row]]:
    """Return the rows of each (profile, reranker, measure), by task."""
    columns: dict[Column, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (*row.column, row.task)):
        columns.setdefault(row.column, []).append(row)
    return columns


def left_out(
    columns: Mapping[Column, Sequence[Row]], tasks: Sequence[str]
) -> dict[tuple[str, str], str]:
    """Tell why a profile's reranker has no mean.

    All means of a group are over the same tasks, and each is of one method: one model, one depth.
    """
    why: dict[tuple[str, str], str] = {}
    for (profile, reranker, _), part in columns.items():
        if len(part) < len(tasks):
            why[profile, reranker] = f"{len(part)} of {len(tasks)} tasks"
        elif len({(row.model, row.depth) for row in part}) > 1:
            why[profile, reranker] = "not one model and depth on all tasks"
    return why


def mean_row(name: str, rows: Sequence[Row]) -> Row:
    """Return the mean of one column's rows; how sure its gain is has not been asked yet.

    Measures are plain means over tasks, calls, rounds and operations means over all queries, counts
    and tokens sums. Seconds are told if all ran on the same hardware. The headroom captured is the
    sum of gains by the sum of headrooms.
    """
    queries = sum(row.queries for row in rows)
    same_machine = len({row.hardware for row in rows}) == 1
    mean = {field: _mean(rows, field, [1.0] * len(rows)) for field in _MEANS}
    weights = [float(row.queries) for row in rows]
    seconds: dict[str, Any] = {
        field: _mean(rows, field, weights) if same_machine else None for field in _PER_MACHINE
    }
    counts: Counter[str] = sum((Counter(row.counts) for row in rows), Counter())
    repeated = _repeated(rows)
    return replace(
        rows[0],
        task=name,
        origin=_joined(row.origin for row in rows),
        resolved=_joined(row.resolved for row in rows),
        hardware=_joined(row.hardware for row in rows),
        engine="fake" if any(row.engine == "fake" for row in rows) else rows[0].engine,
        tasks=len(rows),
        judgements=_judgements(rows),
        ground=hash(tuple((row.task, row.ground) for row in rows)),
        clusters=_clusters(rows),
        published=_mean(rows, "published", [1.0] * len(rows)),
        headroom_captured=captured(mean["gain"], mean["ceiling"] - mean["first_stage"]),
        invalid=_invalid(rows),
        counts=dict(counts),
        noise=spread(repeated),
        repeated=repeated,
        query_ids=(),
        query_bases=None,
        query_gains=_no_values(),
        query_naturals=_no_values(),
        **{**mean, **{field: _sum(rows, field) for field in _SUMS}, "queries": queries},
        **{field: _mean(rows, field, weights) for field in _PER_QUERY},
        **seconds,
    )


def _no_values() -> Any:
    import numpy as np

    return np.empty(0)


def _mean(rows: Sequence[Row], field: str, weights: Sequence[float]) -> Any:
    """The weighted mean of a field; None where any row has none."""
    values = [getattr(row, field) for row in rows]
    if any(value is None for value in values):
        return None
    return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)


def _sum(rows: Sequence[Row], field: str) -> Any:
    values = [getattr(row, field) for row in rows]
    return None if any(value is None for value in values) else sum(values)


def _clusters(rows: Sequence[Row]) -> int | None:
    if all(row.clusters is None for row in rows):
        return None
    return sum(row.queries if row.clusters is None else row.clusters for row in rows)


def _invalid(rows: Sequence[Row]) -> str | None:
    bad = [row for row in rows if row.invalid]
    return f"{len(bad)} of {len(rows)} tasks, {bad[0].task} by {bad[0].invalid}" if bad else None


def _judgements(rows: Sequence[Row]) -> str:
    named = _joined(row.judgements for row in rows if row.judgements)
    return named if all(row.judgements for row in rows) or not named else f"in part {named}"


def _repeated(rows: Sequence[Row]) -> tuple[float, ...]:
    """The group's means, repeat by repeat: as many as every task has."""
    repeats = list(zip(*(row.repeated for row in rows), strict=False))
    return tuple(sum(values) / len(values) for values in repeats)


def _joined(names: Iterable[str]) -> str:
    return "+".join(dict.fromkeys(names))
