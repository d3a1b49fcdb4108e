"""Intervals, p-values and Holm for recompute.py: what is drawn follows docs/numbers.md."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

SEED, DRAWS, BLOCK, FEWEST = 20260524, 10_000, 500, 20
NO_TEST: dict[str, Any] = {"p": None, "p_from": None}


@dataclass(frozen=True)
class Units:
    """What is drawn of a task: sums of gains, and of how many queries each is."""

    task: str
    sums: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, task: str, gains: np.ndarray, bases: Sequence[str]) -> Units:
        """Queries, or all versions of one question together, by name."""
        if len(set(bases)) == len(bases):
            return cls(task, gains, np.ones(len(gains)))
        places = defaultdict(list)
        for place, base in enumerate(bases):
            places[base].append(place)
        sums = [gains[places[base]].sum() for base in sorted(places)]
        sizes = [float(len(places[base])) for base in sorted(places)]
        return cls(task, np.array(sums), np.array(sizes))

    @property
    def mean(self) -> float:
        return float(self.sums.sum() / self.sizes.sum())

    @property
    def variance(self) -> float:
        """The squared standard error of the mean."""
        squares = float(((self.sums - self.sizes * self.mean) ** 2).sum())
        units = len(self.sums)
        return squares * units / max(units - 1, 1) / float(self.sizes.sum()) ** 2

    @property
    def moved(self) -> int:
        return int((abs(self.sums) > 1e-12).sum())

    def resampled(self) -> np.ndarray:
        generator, means = np.random.default_rng(SEED), []
        for _ in range(DRAWS // BLOCK):
            drawn = generator.integers(len(self.sums), size=(BLOCK, len(self.sums)), dtype=np.int32)
            means.append(self.sums[drawn].sum(axis=1) / self.sizes[drawn].sum(axis=1))
        return np.concatenate(means)

    def flipped(self) -> np.ndarray:
        generator, means, units = np.random.default_rng(SEED + 1), [], len(self.sums)
        width = math.ceil(units / 8)
        for _ in range(DRAWS // BLOCK):
            coins = np.frombuffer(generator.bytes(BLOCK * width), np.uint8).reshape(BLOCK, width)
            signs = 2.0 * np.unpackbits(coins, axis=1, count=units) - 1.0
            means.append(signs @ self.sums / self.sizes.sum())
        return np.concatenate(means)

    def apart(self, drawn: np.ndarray) -> np.ndarray:
        """Draws in the task's own order, so that equally large tasks are drawn independently."""
        digest = hashlib.sha256(f"{SEED}\0{self.task}".encode()).digest()
        order = np.random.default_rng(int.from_bytes(digest[:8], "big")).permutation(DRAWS)
        return drawn[order]


def of_task(units: Units, *, tested: bool) -> dict[str, Any]:
    """Interval, smallest gain to be seen and p-value of one task's mean gain."""
    found = _bounds(units.resampled(), units.variance)
    if not tested or len(units.sums) < FEWEST:
        return found | NO_TEST
    freedom = len(units.sums) - 1
    return found | _p(units.mean, units.flipped(), units.variance, freedom, units.moved)


def of_mean(tasks: Sequence[Units], *, tested: bool) -> dict[str, Any]:
    """The same of the plain mean over tasks, which are drawn independently of each other."""
    count = len(tasks)
    variance = sum(task.variance for task in tasks) / count**2
    drawn = sum(task.apart(task.resampled()) for task in tasks) / count
    found = _bounds(np.asarray(drawn), variance)
    if not tested or sum(len(task.sums) for task in tasks) < FEWEST:
        return found | NO_TEST
    parts = [task.variance**2 / max(len(task.sums) - 1, 1) for task in tasks]
    freedom = (variance * count**2) ** 2 / sum(parts) if sum(parts) else 1.0  # Welch-Satterthwaite
    flipped = np.asarray(sum(task.apart(task.flipped()) for task in tasks) / count)
    mean = sum(task.mean for task in tasks) / count
    return found | _p(mean, flipped, variance, freedom, sum(task.moved for task in tasks))


def _bounds(drawn: np.ndarray, variance: float) -> dict[str, Any]:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"gain_low": float(low), "gain_high": float(high), "detectable": 2.8 * variance**0.5}


def _p(
    mean: float, flipped: np.ndarray, variance: float, freedom: float, moved: int
) -> dict[str, Any]:
    """Count flips; where none came so far, Student's t, but no less than all flips could show."""
    reached = int((abs(flipped) >= abs(mean) - 1e-12).sum())
    counted = (1 + reached) / (1 + DRAWS)
    error = variance**0.5
    spread = error > 1e-12  # equal gains have no t: p is what all flips there are could show
    tail = float(2 * stats.t.sf(abs(mean) / error, max(freedom, 1.0))) if spread else 0.0
    tail = max(tail, 2.0 ** (1 - min(moved, 1000)))
    if reached or tail >= counted:
        return {"p": counted, "p_from": "flips"}
    return {"p": tail, "p_from": "t" if spread else "flips"}


def adjust(families: Iterable[Sequence[dict[str, Any]]]) -> None:
    """Write Holm's p-value, the star and the size of the family into the rows of each family."""
    for family in families:
        ranked = sorted(family, key=lambda row: float(row["p"]))
        steps = [(len(ranked) - place) * row["p"] for place, row in enumerate(ranked)]
        for row, p in zip(ranked, np.minimum(np.maximum.accumulate(steps), 1.0), strict=True):
            row |= {"p_holm": float(p), "starred": bool(p <= 0.05), "family": len(ranked)}
