"""Mean gains with standard errors: confidence intervals, p-values and Holm's correction.

Interval and p-value of a mean gain both come from Student's t of the paired differences (for
retrieval: Urbano, Lima & Hanjalic, "Statistical Significance Testing in Information Retrieval",
SIGIR 2019).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

LEVEL = 0.05
FEWEST = 20
"""A gain over fewer queries is not tested; a stratum of fewer has no interval either."""

DETECTABLE = 2.8
"""z(0.975) + z(0.8): a true gain of that many standard errors is significant 4 times out of 5."""

_NO_SPREAD = 1e-12  # standard errors of equal values are as large as rounding makes them


class Estimate(NamedTuple):
    """A mean with its standard error.

    standard_error: NaN where it is unknown: for a single unit, and for values that are all equal.
    degrees_of_freedom: of the standard error.
    units: how many independent observations there are: queries, or questions with several versions.
    """

    mean: float
    standard_error: float
    degrees_of_freedom: float
    units: int


def estimate(values: ArrayLike, clusters: Sequence[str] | None = None) -> Estimate:
    """Estimate the mean of at least one value.

    values: shape (queries,).
    clusters: the question that each query is a version of. With G clusters of n_g queries, N in
    all, the variance of the mean m over queries is G / (G - 1) times the sum of the squared
    (sum of a cluster's values - n_g m), by N squared, with G - 1 degrees of freedom: the
    cluster-robust variance of a regression on a constant (Cameron & Miller, "A Practitioner's Guide
    to Cluster-Robust Inference", Journal of Human Resources 2015). With clusters of one query each
    it is the usual variance of a mean.
    """
    array = np.asarray(values, dtype=np.float64)
    mean = float(array.sum()) / len(array)
    residuals, units = array - mean, len(array)
    if clusters is not None:
        places, units = _places(tuple(clusters))
        residuals = np.asarray(np.bincount(places, residuals), dtype=np.float64)
    variance = float(residuals @ residuals) * units / max(units - 1, 1) / len(array) ** 2
    error = math.sqrt(variance)
    is_known = units > 1 and error > _NO_SPREAD
    return Estimate(mean, error if is_known else math.nan, units - 1, units)


@lru_cache(maxsize=256)  # all runs of a task have the same clusters
def _places(clusters: tuple[str, ...]) -> tuple[NDArray[np.intp], int]:
    numbers = {name: number for number, name in enumerate(dict.fromkeys(clusters))}
    return np.array([numbers[name] for name in clusters], dtype=np.intp), len(numbers)


def half_width(standard_error: ArrayLike, degrees_of_freedom: ArrayLike) -> Array:
    """Return half the width of 95 % confidence intervals; NaN without a standard error."""
    from scipy.special import stdtrit

    critical = stdtrit(np.asarray(degrees_of_freedom, float), 1 - LEVEL / 2)
    return np.asarray(critical * np.asarray(standard_error, float), dtype=np.float64)


def p_value(mean: ArrayLike, standard_error: ArrayLike, degrees_of_freedom: ArrayLike) -> Array:
    """Return the two-sided p-values of true means of 0; NaN without a standard error."""
    from scipy.special import stdtr

    ratio = np.abs(np.asarray(mean, float)) / np.asarray(standard_error, float)
    return np.asarray(2 * stdtr(np.asarray(degrees_of_freedom, float), -ratio), dtype=np.float64)


def interval(
    values: ArrayLike, clusters: Sequence[str] | None = None
) -> tuple[float, float] | tuple[None, None]:
    """Return the 95 % confidence interval of the mean of `values`, one value per query.

    clusters: see `estimate`. None and None for one value, or for values that are all equal.
    """
    found = estimate(values, clusters)
    half = float(half_width(found.standard_error, found.degrees_of_freedom))
    return (None, None) if math.isnan(half) else (found.mean - half, found.mean + half)


def holm(p: ArrayLike) -> Array:
    """Return p-values adjusted after Holm (1979), in the order given; at most 1 each."""
    array = np.asarray(p, dtype=np.float64)
    order = np.argsort(array, kind="stable")
    adjusted = np.empty_like(array)
    remaining = np.arange(len(array), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(remaining * array[order]), 1.0)
    return adjusted
