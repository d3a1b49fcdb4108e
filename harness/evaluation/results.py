"""The frames that hold the numbers of a report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .columns import COLUMNS, RUNS, VALUES, Column
from .measures import MACRO, MEASURES, MICRO

if TYPE_CHECKING:
    import pandas as pd

    from .calibration import CalibrationRow
    from .claims import ClaimRow
    from .facts import PerQuery
    from .inference import Group
    from .queries import QueryRow, StratumRow
    from .sensitivity import LatencyRow, OrderRow

    Key = tuple[str, str, str]
    Record = dict[str, Any]
    """The values of one row by column."""

KEY = ["task", "profile", "reranker"]
MAIN = MEASURES[0]
"""The measure that is tested; the others have intervals alone."""


@dataclass(frozen=True)
class Results:
    """What is known of runs, or of means over data sets.

    runs: one row a run, with the columns of `columns.py` for runs.
    values: one row a run and measure; `run` is the label of its row in `runs`.
    """

    runs: pd.DataFrame
    values: pd.DataFrame

    def rows(self, measure: str | None = None) -> pd.DataFrame:
        """Return both frames joined: one row a run and measure, or those of one measure alone."""
        chosen = self.values if measure is None else self.values[self.values["measure"] == measure]
        return chosen.join(self.runs, on="run")

    @cached_property
    def main(self) -> list[Record]:
        """The rows of the measure MAIN as records; callers must not change them."""
        return records(self.rows(MAIN))


@dataclass(frozen=True)
class Evaluation:
    """All that a report shows.

    results: of runs, sorted by task, profile and reranker. means: over data sets of several tasks.
    first_stages: one row a task, profile, judgements and measure (with MICRO, MACRO).
    per_query: the arrays of each run by task, profile and reranker.
    orders, latencies: of runs with other input orders, and with one query at a time. calibrations:
    nAUC where it was asked for. strata,
    queries: of all runs while there are few queries, else of the runs asked for in detail. claims:
    published figures that compare with a run. left_out: what is in no table, and why.
    """

    results: Results
    means: Results
    first_stages: pd.DataFrame
    groups: tuple[Group, ...] = ()
    per_query: Mapping[Key, PerQuery] = field(default_factory=dict)
    orders: tuple[OrderRow, ...] = ()
    latencies: tuple[LatencyRow, ...] = ()
    calibrations: tuple[CalibrationRow, ...] = ()
    strata: tuple[StratumRow, ...] = ()
    queries: tuple[QueryRow, ...] = ()
    claims: tuple[ClaimRow, ...] = ()
    left_out: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        rows: Sequence[Record] = (),
        means: Sequence[Record] = (),
        first_stages: Sequence[Record] = (),
        **more: Any,
    ) -> Evaluation:
        """Return the evaluation of flat records: one a run and measure, a mean, a first stage."""
        first = frame_of(first_stages, columns_of(of_pool=True))
        return cls(results_of(rows), results_of(means), first, **more)

    @property
    def measures(self) -> tuple[str, ...]:
        """MEASURES, and the further ones that every run has."""
        return tuple(dict.fromkeys([*MEASURES, *self.values["measure"]]))

    @property
    def runs(self) -> pd.DataFrame:
        """One row a run: identity, cost, health."""
        return self.results.runs

    @property
    def values(self) -> pd.DataFrame:
        """One row a run and measure; `run` is the label of its row in `runs`."""
        return self.results.values

    def rows(self) -> pd.DataFrame:
        """Return one row a task, profile, reranker and measure, as JSON and CSV have them.

        Rows of a first stage's recall have no reranker and come before its rerankers'.
        """
        import pandas as pd

        recall = self.first_stages[self.first_stages["measure"].isin([MICRO, MACRO])]
        rows = pd.concat([recall.assign(reranker=None), self.results.rows()], ignore_index=True)
        return rows.sort_values(KEY, na_position="first", ignore_index=True)


def columns_of(frame: str | None = None, *, of_pool: bool = False) -> list[Column]:
    """Return the columns of `runs`, `values` or both, or those that a first stage has too."""
    return [c for c in COLUMNS if frame in (None, c.frame) and (c.of_pool or not of_pool)]


def compute_columns(columns: Iterable[Column], *source: Any) -> Record:
    """Return the values of columns that are functions of `source`."""
    return {column.name: column.of(*source) for column in columns if column.of}


def frame_of(records: Sequence[Mapping[str, Any]], columns: Iterable[Column]) -> pd.DataFrame:
    """Return a frame with a row for each record; what a record lacks is `Column.absent`."""
    import pandas as pd

    found = {
        c.name: pd.Series([r.get(c.name, c.absent) for r in records], dtype=object) for c in columns
    }
    return pd.DataFrame(found).pipe(cast_columns)


def cast_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose columns are of their kind; whole numbers that may be missing are float.

    Columns that are not in the list are left as they are.
    """
    kinds = {column.name: column.kind for column in COLUMNS}
    known = {name: own for name, own in frame.items() if name in kinds}
    return frame.astype({name: _dtype(own, kinds[name]) for name, own in known.items()})


def _dtype(values: pd.Series, kind: type) -> Any:
    if kind in (str, object):
        return object
    missing = bool(values.isna().any())
    if kind is bool:
        return object if missing else bool
    return float if missing else kind


def results_of(records: Sequence[Mapping[str, Any]]) -> Results:
    """Return the frames of flat records, one for each run and measure.

    records: the values of columns by name; those of a run are read from its first record.
    """
    keys = [tuple(record.get(name) for name in KEY) for record in records]
    firsts = dict(zip(reversed(keys), reversed(records), strict=True))
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    values = frame_of(records, columns_of(VALUES))
    values.insert(0, "run", [numbers[key] for key in keys])
    return Results(frame_of([firsts[key] for key in numbers], columns_of(RUNS)), values)


def records(rows: pd.DataFrame) -> list[Record]:
    """Return rows as plain values by column; what is missing is None."""
    lists = {c.name: _plain(rows[c.name], c.kind) for c in COLUMNS if c.name in rows}
    return [dict(zip(lists, own, strict=True)) for own in zip(*lists.values(), strict=True)]


def written(rows: pd.DataFrame) -> dict[str, list[Any]]:
    """Return the columns that JSON and CSV have, as lists of plain values."""
    return {
        column.name: [
            column.absent if value is None else value
            for value in _plain(rows[column.name], column.kind)
        ]
        for column in COLUMNS
        if column.is_written
    }


def _plain(values: pd.Series, kind: type) -> list[Any]:
    if kind is object:
        return list(values)
    return [None if v is None or v != v else kind(v) for v in values.tolist()]
