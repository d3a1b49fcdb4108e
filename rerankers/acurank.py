"""AcuRank: windows only where the top is uncertain (Yoon et al. 2025, arXiv:2505.18512)."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from rerank_bench import BadData, BadOption, Candidates, Flow, Scored

from .budgets import check_counts
from .listwise import Listwise, Windows

if TYPE_CHECKING:
    from trueskill import Rating

MEAN, SPREAD = 25.0, 0.49
STARTS = ("ranks", "scores", "equal")


@dataclass(frozen=True)
class AcuRank(Listwise):
    """Rates documents by TrueSkill from windows that a model orders, until the top is certain.

    Every window of the first-stage order is ordered once. Then, round by round, the documents for
    which it is uncertain whether they belong to the top `k` are ordered again, in windows of their
    order by that probability. The last round takes all that may belong there. A document's score is
    its mean rating. Windows of one round are asked together.

    k: size of the top that is sought.
    tolerance: a document is certain where its probability of the top is within this of 0 or 1.
    uncertain: the round is the last when fewer documents than this are uncertain.
    max_calls: windows that may be asked after the first round.
    start: the first ratings. `ranks`: close together, in first-stage order; `scores`: the first
        stage's scores, which must be positive, as in the paper's BM25 runs; `equal`. The standard
        deviation is a third of the mean.
    Others: as for listwise.
    """

    k: int = 10
    tolerance: float = 0.01
    uncertain: int = 10
    max_calls: int = 100
    start: str = "ranks"
    method = "acurank"

    def __post_init__(self) -> None:
        Listwise.__post_init__(self)
        if self.start not in STARTS:
            raise BadOption(f"acurank: start must be one of {', '.join(STARTS)}, not {self.start}")
        if not 0 < self.tolerance < 0.5:
            raise BadOption(f"acurank: tolerance must be between 0 and 0.5, not {self.tolerance}")
        check_counts("acurank", k=self.k, max_calls=self.max_calls)
        if self.uncertain < 2:
            raise BadOption(
                f"acurank: uncertain must be at least 2, not {self.uncertain}: one document alone "
                "cannot be ordered"
            )
        if self.stride is not None or self.passes != 1:
            raise BadOption("acurank: windows do not slide, so stride and passes have no meaning")

    def rerank(self, candidates: Candidates) -> Flow:
        """Order windows and update the ratings, until the top is certain or the calls are spent."""
        windows = Windows(self, candidates)
        ratings = self._first(candidates)
        everything = list(range(len(ratings)))
        yield from self._round(windows, everything, ratings)
        calls, last = 0, len(ratings) < 2
        while not last and calls < self.max_calls:
            chances = top_probabilities(ratings, self.k)
            ordered = sorted(everything, key=lambda place: (-chances[place], place))
            possible = [place for place in ordered if chances[place] > self.tolerance]
            open_ = [place for place in possible if chances[place] < 1 - self.tolerance]
            last = len(open_) < self.uncertain
            chosen = possible if last else open_
            left = (self.max_calls - calls) * self.window
            calls += yield from self._round(windows, chosen[:left], ratings)
        return Scored([rating.mu for rating in ratings], windows.counts, windows.repairs)

    def _round(
        self, windows: Windows, chosen: Sequence[int], ratings: list[Rating]
    ) -> Generator[Sequence[Any], Sequence[Any], int]:
        """Order `chosen` in windows that are asked together; return how many were asked."""
        import trueskill

        groups = [chosen[i : i + self.window] for i in range(0, len(chosen), self.window)]
        groups = [group for group in groups if len(group) > 1]  # one alone has no order
        orders = yield from windows.order_all(groups)
        for group, places in zip(groups, orders, strict=True):
            ranked = [group[place] for place in places]
            try:
                updated = trueskill.rate([(ratings[place],) for place in ranked])
            except FloatingPointError:  # an order too improbable to compute changes nothing
                continue
            for place, (rating,) in zip(ranked, updated, strict=True):
                ratings[place] = rating
        return len(groups)

    def _first(self, candidates: Candidates) -> list[Rating]:
        import trueskill

        count = len(candidates.documents)
        if self.start == "equal":
            means = [MEAN] * count
        elif self.start == "ranks":
            step = SPREAD / max(count - 1, 1)
            means = [MEAN + step * ((count - 1) / 2 - rank) for rank in range(count)]
        else:
            means = list(candidates.signals.get("first_stage", ()))
            if len(means) != count or min(means, default=1.0) <= 0:
                raise BadData(
                    "acurank: start=scores needs positive scores of the first stage, and this "
                    "profile has none; use start=ranks"
                )
        return [trueskill.Rating(mean, mean / 3) for mean in means]


def top_probabilities(ratings: Sequence[Rating], k: int) -> list[float]:
    """Return how probable each document is to exceed the level that `k` documents exceed.

    The level is the one at which the probabilities sum to k.
    """
    from scipy.optimize import brentq

    normals = [NormalDist(rating.mu, rating.sigma) for rating in ratings]
    if k >= len(normals):
        return [1.0] * len(normals)

    def above(level: float) -> list[float]:
        return [1 - normal.cdf(level) for normal in normals]

    widest = 40 * max(normal.stdev for normal in normals)
    low = min(normal.mean for normal in normals) - widest
    high = max(normal.mean for normal in normals) + widest
    return above(brentq(lambda level: math.fsum(above(level)) - k, low, high))
