"""How the mean over the tasks of a data set is taken, column by column.

A rule is given the rows of all tasks that enter a mean, whose column `mean` numbers the means, and
the name of a column. It returns one value for each mean, indexed by that number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .facts import LEAST_HEADROOM

if TYPE_CHECKING:
    import pandas as pd

    Rule = Callable[[pd.DataFrame, str], pd.Series]


def _each(words: str, function: Callable[[list[Any]], Any]) -> Rule:
    """Return the rule, described by `words`, that applies a function to the values of each mean."""

    def rule(rows: pd.DataFrame, name: str) -> pd.Series:
        import pandas as pd

        parts = rows.groupby("mean")[name]
        found = {number: function(own.tolist()) for number, own in parts}
        return pd.Series(found, dtype=object)

    rule.__doc__ = words
    return rule


def _joined(values: Sequence[Any]) -> str:
    return "+".join(dict.fromkeys(value for value in values if isinstance(value, str) and value))


def _means_of_repeats(repeats: Sequence[Sequence[float]]) -> list[float]:
    """Return the mean of each repeat: as many as every task has."""
    return [sum(values) / len(values) for values in zip(*repeats, strict=False)]


def _spread(repeats: Sequence[Sequence[float]]) -> float:
    means = _means_of_repeats(repeats)
    return max(means) - min(means) if len(means) > 1 else np.nan


joined = _each("all different values, joined by +", _joined)
joined_or_none = _each("all different values, joined by +", lambda own: _joined(own) or None)
added = _each("the sum of each count", lambda own: dict(sum(map(Counter, own), Counter())))
combined = _each("a hash of all", lambda own: hash(tuple(own)))
repeated = _each("the means of each repeat", _means_of_repeats)
_spreads = _each("", _spread)


def noise(rows: pd.DataFrame, name: str) -> pd.Series:
    """Return how far the means of the repeats lie apart."""
    return _spreads(rows, "repeated")


def same(rows: pd.DataFrame, name: str) -> pd.Series:
    """Return the value that all tasks have in common."""
    return rows.groupby("mean")[name].first()


def least(rows: pd.DataFrame, name: str) -> pd.Series:
    """Return the lowest value."""
    return rows.groupby("mean")[name].min()


def total(rows: pd.DataFrame, name: str) -> pd.Series:
    """Return the sum; nothing where any task has no value."""
    parts = rows.groupby("mean")[name]
    return parts.sum().where(parts.count() == parts.size())


def mean(rows: pd.DataFrame, name: str) -> pd.Series:
    """Return the plain mean over tasks; nothing where any task has no value."""
    return total(rows, name) / rows.groupby("mean").size()


def per_query(rows: pd.DataFrame, name: str) -> pd.Series:
    """Return the mean over all queries; nothing where any task has no value."""
    weighted = rows.assign(**{name: rows[name] * rows["queries"]})
    return total(weighted, name) / total(rows, "queries")


def on_one_machine(rows: pd.DataFrame, name: str) -> pd.Series:
    """Return the mean over all queries where all tasks ran on the same hardware."""
    return per_query(rows, name).where(rows.groupby("mean")["hardware"].nunique() == 1)


def judgements(rows: pd.DataFrame, name: str) -> pd.Series:
    """Return the names of the judgements; marked where only some tasks have a name."""
    found, whole = joined(rows, name), rows.groupby("mean")[name].agg(all)
    return found.where(whole | (found == ""), "in part " + found)


def clusters(rows: pd.DataFrame, name: str) -> pd.Series:
    """Return the number of questions, where any task has versions of questions."""
    filled = rows.assign(**{name: rows[name].fillna(rows["queries"])})
    return total(filled, name).where(rows.groupby("mean")[name].count() > 0)


def invalid(rows: pd.DataFrame, name: str) -> pd.Series:
    """Return how many tasks are invalid, and why the first one is."""
    bad = rows[rows[name].notna()]
    words = (bad["task"] + " by " + bad[name]).groupby(bad["mean"]).first()
    sizes, found = rows.groupby("mean").size(), bad.groupby("mean").size()
    texts = found.astype(str) + " of " + sizes[found.index].astype(str) + " tasks, " + words
    return texts.reindex(sizes.index).astype(object)


def cut(rows: pd.DataFrame, name: str) -> pd.Series:
    """Return the share of truncated documents over all tasks."""
    known = total(rows, name).notna()
    return (total(rows, "truncated") / total(rows, "documents")).where(known)


def captured(rows: pd.DataFrame, name: str) -> pd.Series:
    """Return the sum of gains by the sum of headrooms."""
    headroom = mean(rows, "ceiling") - mean(rows, "first_stage")
    return mean(rows, "gain") / headroom.where(headroom >= LEAST_HEADROOM)


def standard_error(rows: pd.DataFrame, name: str) -> pd.Series:
    """Return the standard error of a plain mean of independent means.

    Tasks whose values are all equal add nothing. It is unknown where a task has a single unit.
    """
    variance = (rows[name] ** 2).groupby(rows["mean"]).sum()
    is_known = (variance > 0) & (rows.groupby("mean")["degrees_of_freedom"].min() > 0)
    return np.sqrt(variance.where(is_known)) / rows.groupby("mean").size()


def degrees_of_freedom(rows: pd.DataFrame, name: str) -> pd.Series:
    """Return the degrees of freedom of that standard error, by Satterthwaite and Welch."""
    variance = rows["standard_error"] ** 2
    parts = (variance**2 / rows[name]).groupby(rows["mean"]).sum()
    return variance.groupby(rows["mean"]).sum() ** 2 / parts
