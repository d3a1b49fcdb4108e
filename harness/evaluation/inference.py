"""Confidence intervals, p-values and stars of all gains, and the means of data sets.

The mean of a data set is the plain mean over its tasks, which are taken as fixed: its standard
error comes from those of the tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .groups import data_set, means_of
from .results import MAIN, Results
from .significance import DETECTABLE, FEWEST, LEVEL, half_width, holm, p_value

if TYPE_CHECKING:
    import pandas as pd

    from .groups import Group

MOST_FAILED = 0.05
"""Share of queries that may have failed: with more of them a gain depends on the engine."""


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
