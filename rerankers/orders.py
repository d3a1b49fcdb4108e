"""Orders over many documents from models that see few: here, the sliding window."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rerank_bench import BadOption

Ordering = Generator[Sequence[Any], Sequence[Any], Sequence[int]]
"""A flow that orders one window: it returns the window's places, best first."""


def windows(count: int, *, size: int, stride: int) -> Iterator[range]:
    """Yield the windows of one pass over `count` places, from the last to the first.

    All hold `size` places and the last one yielded begins at 0: where the stride does not fit, that
    window overlaps more. So there is 1 window for count <= size and 1 + ceil((count - size)/stride)
    beyond; none for fewer than two places, which are in order already. (RankGPT's own loop, Sun et
    al. 2023, arXiv:2304.09542, leaves the first places out where the stride does not fit.)
    """
    if count < 2:
        return
    start = max(count - size, 0)
    while True:
        yield range(start, min(start + size, count))
        if start == 0:
            return
        start = max(start - stride, 0)


def descending(ranking: Sequence[int]) -> list[float]:
    """Turn a ranking of indices, best first, into one score per index."""
    scores = [0.0] * len(ranking)
    for rank, index in enumerate(ranking):
        scores[index] = float(-rank)
    return scores


@dataclass(frozen=True)
class Sliding:
    """The sizes of a sliding window, checked; a stride of None is half the window.

    Raises BadOption, naming `method`, where windows would not move, not meet, or not be there.
    """

    method: str
    window: int
    stride: int | None
    passes: int

    def __post_init__(self) -> None:
        if self.window < 2:
            raise BadOption(f"{self.method}: window must be at least 2, not {self.window}")
        if not 1 <= self.step <= self.window:
            raise BadOption(
                f"{self.method}: stride must be from 1 to the window's {self.window}, "
                f"not {self.stride}"
            )
        if self.passes < 1:
            raise BadOption(f"{self.method}: passes must be at least 1, not {self.passes}")

    @property
    def step(self) -> int:
        """How many places the window moves."""
        return self.window // 2 if self.stride is None else self.stride

    def order(self, count: int, order: Callable[[Sequence[int]], Ordering]) -> Ordering:
        """Order `count` documents by windows from the end to the front, `passes` times over.

        `order(documents)` orders one window of document indices and returns places in it, best
        first. With a perfect judge one pass brings the best window - stride documents to the front,
        in order.
        """
        ranking = list(range(count))
        for _ in range(self.passes):
            for window in windows(count, size=self.window, stride=self.step):
                inside = [ranking[place] for place in window]
                places = yield from order(inside)
                ranking[window.start : window.stop] = [inside[place] for place in places]
        return ranking
