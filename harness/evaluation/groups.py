"""Means over the tasks of a data set, as the published group scores are: plain, tasks as fixed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .measures import BINARY
from .row import Column, Row, captured
from .sensitivity import spread


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

    @property
    def reasons(self) -> tuple[str, ...]:
        """Say of each who is left out that it has no mean, and why."""
        left = self.left_out
        return tuple(f"{self.name} · {p} · {r}: no mean, with {why}" for p, r, why in left)


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
        elif len({_method(row) for row in part}) > 1:
            why[profile, reranker] = "not one model, depth and length of texts"
    return why


def _method(row: Row) -> tuple[object, ...]:
    """What is the same in all rows of a mean: the model, and how much of what is reranked."""
    return row.model, row.depth, row.max_doc_chars, row.max_doc_tokens, row.budget


def mean_row(name: str, rows: Sequence[Row]) -> Row:
    """Return the mean of one column's rows; how sure its gain is has not been asked yet.

    Measures are plain means over tasks, calls, rounds and operations means over all queries, counts
    and tokens sums. Seconds are told if all ran on the same hardware. The headroom captured is the
    sum of gains by the sum of headrooms.
    """
    told = {field: rule(rows, field) for field, rule in RULES.items()}
    headroom = told["ceiling"] - told["first_stage"]
    return Row(
        task=name, tasks=len(rows), headroom_captured=captured(told["gain"], headroom), **told
    )


Rule = Callable[[Sequence[Row], str], Any]


def _values(rows: Sequence[Row], field: str) -> list[Any]:
    return [getattr(row, field) for row in rows]


def _same(rows: Sequence[Row], field: str) -> Any:
    """What all rows of a column have in common."""
    return getattr(rows[0], field)


def _mean(rows: Sequence[Row], field: str, weights: Sequence[float] | None = None) -> Any:
    """The plain mean; None where any row has none."""
    values, weights = _values(rows, field), weights or [1.0] * len(rows)
    if any(value is None for value in values):
        return None
    return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)


def _per_query(rows: Sequence[Row], field: str) -> Any:
    """The mean over all queries; None where any row has none."""
    return _mean(rows, field, [float(row.queries) for row in rows])


def _on_one_machine(rows: Sequence[Row], field: str) -> Any:
    return _per_query(rows, field) if len({row.hardware for row in rows}) == 1 else None


def _sum(rows: Sequence[Row], field: str) -> Any:
    values = _values(rows, field)
    return None if any(value is None for value in values) else sum(values)


def _added(rows: Sequence[Row], field: str) -> dict[str, int]:
    return dict(sum((Counter(counts) for counts in _values(rows, field)), Counter()))


def _binary(rows: Sequence[Row], field: str) -> dict[str, float]:
    """The means under BINARY of each stage, where they differ in any row."""
    stages = dict.fromkeys(stage for row in rows for stage in row.binary)
    values = {stage: [row.under(BINARY, stage) or 0.0 for row in rows] for stage in stages}
    return {stage: sum(own) / len(own) for stage, own in values.items()}


def _joined(rows: Sequence[Row], field: str) -> str:
    return "+".join(dict.fromkeys(filter(None, _values(rows, field))))


def _judgements(rows: Sequence[Row], field: str) -> str:
    named = _joined(rows, field)
    return named if all(row.judgements for row in rows) or not named else f"in part {named}"


def _engine(rows: Sequence[Row], field: str) -> str:
    engines = _values(rows, field)
    return "fake" if "fake" in engines else str(engines[0])


def _clusters(rows: Sequence[Row], field: str) -> int | None:
    if all(row.clusters is None for row in rows):
        return None
    return sum(row.queries if row.clusters is None else row.clusters for row in rows)


def _invalid(rows: Sequence[Row], field: str) -> str | None:
    bad = [row for row in rows if row.invalid]
    return f"{len(bad)} of {len(rows)} tasks, {bad[0].task} by {bad[0].invalid}" if bad else None


def _repeated(rows: Sequence[Row], field: str) -> tuple[float, ...]:
    """The group's means, repeat by repeat: as many as every task has."""
    repeats = list(zip(*_values(rows, field), strict=False))
    return tuple(sum(values) / len(values) for values in repeats)


def _noise(rows: Sequence[Row], field: str) -> float | None:
    return spread(_repeated(rows, "repeated"))


def _ground(rows: Sequence[Row], field: str) -> int:
    return hash(tuple((row.task, row.ground) for row in rows))


def _cut(rows: Sequence[Row], field: str) -> float | None:
    if any(row.cut is None for row in rows):
        return None
    return sum(row.truncated or 0 for row in rows) / sum(row.documents or 0 for row in rows)


def _instruction(rows: Sequence[Row], field: str) -> str | None:
    return _joined(rows, field) or None


_BY_RULE: Mapping[Rule, str] = {
    _same: "profile reranker measure model depth max_doc_chars max_doc_tokens budget floor order "
    "repeat alone",
    _mean: "first_stage natural safeguarded ceiling ceiling_safeguarded gain gain_safeguarded "
    "judged judged_first_stage published as_published",
    _sum: "queries safeguards decided failed prompt_tokens output_tokens cached_tokens seconds "
    "startup_seconds from_cache wins ties losses rerankable repaired unparsable truncated "
    "documents",
    _per_query: "calls_per_query rounds ideal_flops price tied_at_10 label_probability",
    _on_one_machine: "seconds_per_query gpu_seconds",
    _joined: "origin resolved hardware",
    _judgements: "judgements",
    _engine: "engine",
    _clusters: "clusters",
    _invalid: "invalid",
    _added: "counts",
    _binary: "binary",
    _repeated: "repeated",
    _noise: "noise",
    _ground: "ground",
    _cut: "cut",
    _instruction: "instruction",
    lambda rows, field: min(_values(rows, field)): "repeats",
}
RULES = {field: rule for rule, fields in _BY_RULE.items() for field in fields.split()}
"""How each field of a mean row comes from the rows of tasks."""
