"""The two frames that hold the numbers of runs, or of the means over data sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .columns import COLUMNS, RUNS, VALUES, Column
from .measures import MEASURES

if TYPE_CHECKING:
    import pandas as pd

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


def columns_of(frame: str) -> list[Column]:
    """Return the columns of `runs` or `values`, in their order."""
    return [column for column in COLUMNS if column.frame == frame]


def frame_of(records: Sequence[Mapping[str, Any]], columns: Iterable[Column]) -> pd.DataFrame:
    """Return a frame with a row for each record; what a record lacks is `Column.absent`."""
    import pandas as pd

    found = {
        c.name: pd.Series([r.get(c.name, c.absent) for r in records], dtype=object) for c in columns
    }
    return pd.DataFrame(found).pipe(typed)


def typed(frame: pd.DataFrame) -> pd.DataFrame:
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
    numbers: dict[tuple[Any, ...], int] = {}
    firsts = []
    places = []
    for record in records:
        key = tuple(record.get(name) for name in KEY)
        if key not in numbers:
            numbers[key] = len(firsts)
            firsts.append(record)
        places.append(numbers[key])
    values = frame_of(records, columns_of(VALUES))
    values.insert(0, "run", places)
    return Results(frame_of(firsts, columns_of(RUNS)), values)


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
