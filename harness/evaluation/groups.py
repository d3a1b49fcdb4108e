"""Means over the tasks of a data set, as published group scores are: plain, tasks as fixed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .columns import RUNS, VALUES
from .measures import MEASURES
from .results import Results, columns_of, typed

if TYPE_CHECKING:
    import pandas as pd

_METHOD = ["model", "depth", "max_doc_chars", "max_doc_tokens", "budget"]
_OTHER_METHOD = "not one model, depth and length of texts"


@dataclass(frozen=True)
class Group:
    """A data set of several tasks, and the rerankers without a mean over all of them.

    left_out: (profile, reranker, why) of those that did not run on all tasks, or whose model, depth
    or length of texts is not the same in all of them.
    """

    name: str
    tasks: tuple[str, ...]
    left_out: tuple[tuple[str, str, str], ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """One sentence for each reranker without a mean."""
        left = self.left_out
        return tuple(f"{self.name} · {p} · {r}: no mean, with {why}" for p, r, why in left)


def data_set(task: str) -> str:
    """Return the data set of a task: its name up to the last slash."""
    return task.rpartition("/")[0] or task


def means_of(results: Results) -> tuple[Results, list[Group]]:
    """Return the means of all data sets of several tasks, and who has none.

    results: of tasks. All means of a data set are over the same tasks, and each is of one method.
    """
    runs = results.runs.assign(set=results.runs["task"].map(data_set))
    tasks = runs.groupby("set")["task"].unique().map(sorted)
    several = tasks[tasks.map(len) > 1]
    if several.empty:
        return Results(results.runs[:0], results.values[:0]), []
    runs = runs[runs["set"].isin(several.index)].sort_values(["set", "profile", "reranker", "task"])
    runs = runs.assign(method=runs.groupby(_METHOD, dropna=False).ngroup())
    columns = runs.groupby(["set", "profile", "reranker"], sort=False)
    few = columns["task"].transform("size") < runs["set"].map(several.map(len))
    mixed = columns["method"].transform("nunique") > 1
    without = runs[few | mixed].assign(few=few).drop_duplicates(["set", "profile", "reranker"])
    sizes = columns.size()
    groups = []
    for name, own in several.items():
        left = without[without["set"] == name]
        left_out = tuple(
            (p, r, f"{sizes[name, p, r]} of {len(own)} tasks" if few_ else _OTHER_METHOD)
            for p, r, few_ in zip(left["profile"], left["reranker"], left["few"], strict=True)
        )
        groups.append(Group(name, tuple(own), left_out))
    whole = runs[~(few | mixed)]
    return _means(whole, results.values[results.values["run"].isin(whole.index)]), groups


def _means(runs: pd.DataFrame, values: pd.DataFrame) -> Results:
    """Return the means of runs, which are sorted by data set, profile and reranker."""
    if runs.empty:
        return Results(runs.drop(columns="set"), values)
    by = runs.groupby(["set", "profile", "reranker"], sort=False)
    runs = runs.assign(mean=by.ngroup())
    means = _mean_rows(runs, RUNS)
    means["task"] = runs.groupby("mean")["set"].first()
    of = values["run"].map(runs["mean"])
    values = values.assign(of=of, mean=of * len(MEASURES) + values["measure"].map(MEASURES.index))
    found = _mean_rows(values, VALUES)
    found.insert(0, "run", values.groupby("mean")["of"].first())
    return Results(typed(means), typed(found))


def _mean_rows(rows: pd.DataFrame, frame: str) -> pd.DataFrame:
    """Return one row for each number in the column `mean`."""
    import pandas as pd

    rules = {c.name: c.mean for c in columns_of(frame) if c.mean is not None and c.name in rows}
    return pd.DataFrame({name: rule(rows, name) for name, rule in rules.items()})
