"""From resamples to statements: p-values, families of comparisons, and what could have been seen.

A star means that a gain would be a surprise among all the gains its table looks at. That is Holm's
step-down procedure (1979) over the family of the row, so that the chance of even one false star in
a family is at most 5 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .resampling import FLIPS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

LEVEL = 0.05
FEWEST = 20
"""Fewer queries have an interval but no star, and as a part of a run no interval either."""

_SAME = 1e-12  # sums of the same numbers in another order differ by less
_SEEN = 2.8
"""z(0.975) + z(0.8): a true gain of that many standard errors is found 4 times out of 5."""


@dataclass(frozen=True, slots=True)
class Tested:
    """A two-sided p-value, and what it is from: `flips`, or `t` where no flip came so far."""

    p: float
    p_from: str


def p_values(
    means: Array, flipped: Array, variance: Array, *, freedom: float, moved: Array
) -> list[Tested]:
    """Test k means against zero; shapes (k,), (k, 10000), (k,), and (k,) for `moved`.

    p = (1 + flips at least as far from zero) / (1 + flips), so it is never zero (Phipson & Smyth
    2010). 10,000 flips cannot tell smaller p-values than 1/10,001, which a family of 500 needs.
    Where none came as far as the mean, the tail of Student's t with the paired differences' own
    standard error takes their place, if it is smaller: but never less than all flips there are
    could show, of which there are 2 to the power of the units that `moved` at all. Equal gains in
    all queries have no such error, and just that p-value.
    """
    import numpy as np
    from scipy import stats

    reached = (np.abs(flipped) >= np.abs(means)[:, None] - _SAME).sum(axis=1)
    counted = (1.0 + reached) / (1.0 + FLIPS)
    error = np.sqrt(variance)
    t = np.divide(np.abs(means), error, out=np.full_like(means, np.inf), where=error > _SAME)
    tail = 2.0 * stats.t.sf(t, max(freedom, 1.0))
    least = np.exp2(1.0 - np.minimum(moved, 1000.0))
    tail = np.maximum(tail, least)
    beyond = (reached == 0) & (tail < counted)
    chosen, by_t = np.where(beyond, tail, counted), beyond & (error > _SAME)
    return [Tested(float(p), "t" if t else "flips") for p, t in zip(chosen, by_t, strict=True)]


def holm(p: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values, in the order given; at most 1 each."""
    adjusted = [0.0] * len(p)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        highest = max(highest, min(1.0, (len(p) - place) * p[index]))
        adjusted[index] = highest
    return adjusted


def detectable(variance: float) -> float:
    """Return the smallest true gain that would be told from chance 4 times out of 5.

    `variance` is the squared standard error of the mean gain: 2.8 x sd / sqrt(n), at a level of
    5 %, before Holm.
    """
    return float(_SEEN * variance**0.5)
