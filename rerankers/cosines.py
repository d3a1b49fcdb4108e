"""Cosines of vectors, the same for equal vectors wherever they stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def cosines(query: NDArray[Any], documents: Sequence[NDArray[Any]] | NDArray[Any]) -> list[float]:
    """Return the cosine of a vector with each of some others; 0 for one that is all zeros.

    A matrix product may sum equal rows in another order; here every row is summed alike.
    """
    rows, one = np.asarray(documents, dtype=float), query.astype(float)
    dots = (rows * one).sum(axis=1)
    lengths = (rows * rows).sum(axis=1) ** 0.5 * float((one * one).sum()) ** 0.5
    pairs = zip(dots.tolist(), lengths.tolist(), strict=True)
    return [dot / length if length else 0.0 for dot, length in pairs]
