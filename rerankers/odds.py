"""Log-odds: how much more probable one outcome is than all others together."""

from __future__ import annotations

import math
from collections.abc import Sequence


def log_sum_exp(values: Sequence[float]) -> float:
    """Return the natural log of the sum of the exponentials of `values`, without overflow."""
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))


def log_odds(values: Sequence[float], place: int) -> float:
    """Return the natural log-odds of the outcome at `place` against all others together.

    values: logits, or natural-log probabilities, one per outcome; at least two.
    """
    others = [value for other, value in enumerate(values) if other != place]
    return values[place] - log_sum_exp(others)
