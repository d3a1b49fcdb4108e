"""Mean gains with standard errors: confidence intervals, p-values and Holm's correction.

Interval and p-value of a mean gain both come from Student's t of the paired differences (for
retrieval: Urbano, Lima & Hanjalic, "Statistical Significance Testing in Information Retrieval",
SIGIR 2019).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

LEVEL = 0.05
FEWEST = 20
"""A gain over fewer queries is not tested; a stratum of fewer has no interval either."""

_NO_SPREAD = 1e-12  # standard errors of equal values are as large as rounding makes them
_DETECTABLE = 2.8
"""z(0.975) + z(0.8): a true gain of that many standard errors is significant 4 times out of 5."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its standard error.

    degrees_of_freedom: of the standard error, which is unknown where they are 0.
    units: how many independent observations there are: queries, or questions with several versions.
    """

    mean: float
    standard_error: float
    degrees_of_freedom: float
    units: int

    @property
    def has_spread(self) -> bool:
        """Say whether the values tell how far the mean may be off; equal values do not."""
        return self.degrees_of_freedom > 0 and self.standard_error > _NO_SPREAD

    @property
    def interval(self) -> tuple[float, float] | tuple[None, None]:
        """The 95 % confidence interval; None and None without spread."""
        if not self.has_spread:
            return None, None
        half = _critical(self.degrees_of_freedom) * self.standard_error
        return self.mean - half, self.mean + half

    @property
    def p(self) -> float | None:
        """The two-sided p-value of a true mean of 0; None without spread."""
        from scipy.special import stdtr

        if not self.has_spread:
            return None
        return float(2 * stdtr(self.degrees_of_freedom, -abs(self.mean) / self.standard_error))

    @property
    def detectable(self) -> float | None:
        """The smallest true mean that is significant 4 times out of 5, at 5 % and before Holm."""
        return _DETECTABLE * self.standard_error if self.has_spread else None


@lru_cache(maxsize=1024)
def _critical(degrees_of_freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees_of_freedom, 1 - LEVEL / 2))


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
    return Estimate(mean, math.sqrt(variance), units - 1, units)


@lru_cache(maxsize=256)  # all runs of a task have the same clusters
def _places(clusters: tuple[str, ...]) -> tuple[NDArray[np.intp], int]:
    numbers = {name: number for number, name in enumerate(dict.fromkeys(clusters))}
    return np.array([numbers[name] for name in clusters], dtype=np.intp), len(numbers)


def mean_of(parts: Sequence[Estimate]) -> Estimate:
    """Return the plain mean of independent estimates.

    Its degrees of freedom are Satterthwaite's (1946) and Welch's (1947). Where a part is of a
    single unit, the standard error is unknown.
    """
    mean = math.fsum(part.mean for part in parts) / len(parts)
    units = sum(part.units for part in parts)
    variances = [part.standard_error**2 for part in parts]
    total = math.fsum(variances)
    if total == 0 or not all(part.degrees_of_freedom for part in parts):
        return Estimate(mean, 0.0, 0.0, units)
    pairs = zip(variances, parts, strict=True)
    freedom = 1 / math.fsum((v / total) ** 2 / part.degrees_of_freedom for v, part in pairs)
    return Estimate(mean, math.sqrt(total) / len(parts), freedom, units)


def interval(
    values: ArrayLike, clusters: Sequence[str] | None = None
) -> tuple[float, float] | tuple[None, None]:
    """Return the 95 % confidence interval of the mean of `values`, one value per query.

    clusters: see `estimate`. None and None for one value, or for values that are all equal.
    """
    return estimate(values, clusters).interval


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values adjusted after Holm (1979), in the order given; at most 1 each."""
    adjusted = [0.0] * len(p)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        highest = max(highest, min(1.0, (len(p) - place) * p[index]))
        adjusted[index] = highest
    return adjusted
