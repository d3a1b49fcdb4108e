"""Confidence intervals, p-values and stars of all gains, and the means of data sets.

The mean of a data set is the plain mean over its tasks, which are taken as fixed: its standard
error comes from those of the tasks. The tasks of MTEB have one too, as its benchmarks do: the plain
mean over tasks, each of which is the mean of its subsets and splits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..tasks import MTEB
from .columns import RUNS, VALUES
from .results import MAIN, Results, cast_columns, columns_of
from .significance import DETECTABLE, FEWEST, LEVEL, half_width, holm, p_value

if TYPE_CHECKING:
    import pandas as pd

MOST_FAILED = 0.05
"""Share of queries that may have failed: with more of them a gain depends on the engine."""

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


MTEB_TASKS = "mteb:*"
"""Stands for all tasks of MTEB that a report has."""


def data_set(task: str) -> str:
    """Return the data set of a task: its name up to the last slash."""
    return task.rpartition("/")[0] or task


def infer(results: Results) -> tuple[Results, Results, list[Group]]:
    """Return results with intervals, p-values and stars, the same of the means, and the data sets.

    results: of tasks. A data set of several tasks has a group, also where no reranker has a mean.
    """
    results = Results(results.runs.assign(tested=_is_tested(results.runs)), results.values)
    means, groups = means_of(results)
    several = {group.name for group in groups}
    rows = results.rows()[["task", "profile", "reranker"]]
    sets = rows["task"].map(data_set)
    alone = "gains of rerankers after profiles in " + sets
    own = "gains of " + rows["reranker"] + " after " + rows["profile"] + " in the tasks of " + sets
    of_means = "gains of rerankers after profiles in " + means.rows()["task"]
    return (
        _inferred(results, own.where(sets.isin(several), alone)),
        _inferred(means, of_means),
        groups,
    )


def _is_tested(runs: pd.DataFrame) -> pd.Series:
    """Return whether a run is of a real reranker that worked, with few failed queries."""
    real = ~runs["floor"] & runs["is_real"]
    few_failed = runs["failed"] <= MOST_FAILED * runs["queries"]
    return real & few_failed & runs["invalid"].isna()


def _inferred(results: Results, family: pd.Series) -> Results:
    """Return results with all that follows from a gain and its standard error.

    family: of each row of values, the words for the gains among which it is corrected.
    """
    values, runs = results.values, results.runs
    gain, error, freedom = values["gain"], values["standard_error"], values["degrees_of_freedom"]
    half = half_width(error, freedom)
    is_main = values["measure"] == MAIN
    tested = is_main & values["run"].map(runs["tested"]).astype(bool) & (values["units"] >= FEWEST)
    p = (gain * 0 + p_value(gain, error, freedom)).where(tested)
    found = values.assign(
        gain_low=gain - half,
        gain_high=gain + half,
        p=p,
        detectable=(DETECTABLE * error).where(is_main),
    )
    return Results(runs, found.assign(**_corrected(p, family)))


def _corrected(p: pd.Series, family: pd.Series) -> Mapping[str, pd.Series]:
    """Adjust p-values after Holm within each family, and star those of at most 5 %."""
    known = p.notna()
    families = p[known].groupby(family[known])
    adjusted = families.transform(holm).reindex(p.index)
    size = families.transform("size").astype(int).astype(str).replace("1", "only one of the")
    names = "the " + size + " " + family[known]
    return {
        "p_holm": adjusted,
        "starred": (adjusted <= LEVEL).fillna(False).astype(bool),
        "family": names.reindex(p.index, fill_value="").astype(object),
    }


def means_of(results: Results) -> tuple[Results, list[Group]]:
    """Return the means of all data sets of several tasks and of MTEB's tasks, and who has none.

    results: of tasks. All means of a data set are over the same tasks, and each is of one method.
    """
    means, groups = _means_by(results, data_set)
    several = {group.name for group in groups}
    alone = results.runs["task"].map(lambda task: data_set(task) not in several)
    of_mteb = _stacked(_of_mteb(results, alone), _of_mteb(means, True))
    benchmark, of_all = _means_by(of_mteb, lambda _: MTEB_TASKS)
    return _stacked(means, benchmark), [*groups, *of_all]


def _of_mteb(results: Results, chosen: pd.Series | bool) -> Results:
    """Return the `chosen` rows that are tasks of MTEB."""
    runs = results.runs[results.runs["task"].str.startswith(MTEB).astype(bool) & chosen]
    return Results(runs, results.values[results.values["run"].isin(runs.index)])


def _stacked(one: Results, other: Results) -> Results:
    """Return the rows of both, which are numbered again."""
    import pandas as pd

    if one.runs.empty or other.runs.empty:
        return other if one.runs.empty else one
    parts, first = [], 0
    for own in (one, other):
        numbers = pd.Series(range(first, first + len(own.runs)), index=own.runs.index)
        values = own.values.assign(run=own.values["run"].map(numbers))
        parts.append((own.runs.set_axis(numbers), values))
        first += len(own.runs)
    runs, values = zip(*parts, strict=True)
    return Results(pd.concat(runs), pd.concat(values, ignore_index=True))


def _means_by(results: Results, name_of: Callable[[str], str]) -> tuple[Results, list[Group]]:
    """Return the means of tasks with one name by `name_of`, where these are several."""
    runs = results.runs.assign(set=results.runs["task"].map(name_of))
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
    names = list(dict.fromkeys(values["measure"]))  # every run has the same
    values = values.assign(of=of, mean=of * len(names) + values["measure"].map(names.index))
    found = _mean_rows(values, VALUES)
    found.insert(0, "run", values.groupby("mean")["of"].first())
    return Results(cast_columns(means), cast_columns(found))


def _mean_rows(rows: pd.DataFrame, frame: str) -> pd.DataFrame:
    """Return one row for each number in the column `mean`."""
    import pandas as pd

    rules = {c.name: c.mean for c in columns_of(frame) if c.mean is not None and c.name in rows}
    return pd.DataFrame({name: rule(rows, name) for name, rule in rules.items()})
