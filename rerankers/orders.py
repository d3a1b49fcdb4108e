"""Orders over many documents from models that see few: sliding windows, heaps and bubbles."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rerank_bench import BadOption

from .budgets import check_counts

Ordering = Generator[Sequence[Any], Sequence[Any], Sequence[int]]
"""A flow that orders one window: it returns the window's places, best first."""

Choosing = Generator[Sequence[Any], Sequence[Any], Sequence[int]]
"""A flow that looks at several sets of documents: it returns the place of the best in each."""

Choose = Callable[[Sequence[Sequence[int]]], Choosing]
"""Chooses within sets of document indices that do not depend on each other, in one round."""

Ending = Generator[Sequence[Any], Sequence[Any], tuple[int, int]]
"""A flow that looks at one set of documents: it returns the places of the best and the worst."""

Sinking = Generator[Sequence[Any], Sequence[Any], None]


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
        check_counts(self.method, passes=self.passes)

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


def heap_sort(count: int, *, best: int, children: int, choose: Choose) -> Ordering:
    """Order the `best` first of `count` documents by a heap; the others follow in their order.

    children: of each node, at least 2; `choose` is given a parent and its children, in this order.

    The heap is built from its last parents up, then its root is taken out `best` times (Setwise:
    Zhuang et al. 2023, arXiv:2310.09497). All parents of one level sink in the same rounds, since
    no two of them share a document: choices are as many as for one parent after another, and rounds
    far fewer. With exact choices the order is exact.
    """
    heap = list(range(count))
    for level in reversed(_levels(count, children)):
        yield from _sink(heap, level, children, choose)
    top: list[int] = []
    while heap and len(top) < best:
        top.append(heap[0])
        heap[0] = heap[-1]
        heap.pop()
        if len(top) < best:
            yield from _sink(heap, range(1), children, choose)
    return _before_the_rest(top, count)


def _levels(count: int, children: int) -> list[range]:
    """Return the nodes of each level of a heap that has a node with children, from the root."""
    levels: list[range] = []
    start, width = 0, 1
    while children * start + 1 < count:
        levels.append(range(start, min(start + width, count)))
        start, width = children * start + 1, children * width
    return levels


def _sink(heap: list[int], nodes: Iterable[int], children: int, choose: Choose) -> Sinking:
    """Swap the document at each of `nodes` with its best child until it is the best itself."""
    sinking = list(nodes)
    while sinking:
        ends = [(children * node + 1, children * (node + 1) + 1) for node in sinking]
        families = [
            [node, *range(first, min(end, len(heap)))]
            for node, (first, end) in zip(sinking, ends, strict=True)
            if first < len(heap)
        ]
        if not families:
            return
        places = yield from choose([[heap[node] for node in family] for family in families])
        sinking = []
        for family, place in zip(families, places, strict=True):
            if place:
                parent, child = family[0], family[place]
                heap[parent], heap[child] = heap[child], heap[parent]
                sinking.append(child)


def bubble_sort(count: int, *, best: int, children: int, choose: Choose) -> Ordering:
    """Order the `best` first of `count` documents by bubbles; the others follow in their order.

    children: how many documents a pass compares with the one before them, at least 1.

    Each of `best` passes goes from the end to the front in sets that share one place, and brings
    the best of each set to its first place: ceil((count - 1 - i) / children) choices in pass i,
    from 0, one after the other. With exact choices the order is exact. (The code of Setwise,
    llm-rankers, leaves out sets at the end that it takes to be settled, which they may not be, and
    may ask about sets of one document or none.)
    """
    ranking = list(range(count))
    for front in range(min(best, count - 1)):
        stop = count
        while stop - front > 1:
            start = max(stop - children - 1, front)
            (place,) = yield from choose([ranking[start:stop]])
            moved = start + place
            ranking[start], ranking[moved] = ranking[moved], ranking[start]
            stop = start + 1
    return _before_the_rest(ranking[:best], count)


def sort_from_both_ends(
    count: int, *, best: int, choose: Callable[[Sequence[int]], Ending]
) -> Ordering:
    """Order the `best` first and as many last of `count` documents; the rest keep their order.

    Each choice is given all documents that have no place yet, and gives a place to two of them (Li
    et al. 2026, arXiv:2606.01782): count // 2 choices order everything.
    """
    inside = list(range(count))
    front: list[int] = []
    back: list[int] = []
    while len(inside) > 1 and len(front) < best:
        first, last = yield from choose(inside)
        front.append(inside[first])
        back.append(inside[last])
        inside = [index for place, index in enumerate(inside) if place not in (first, last)]
    return [*front, *inside, *reversed(back)]


def _before_the_rest(top: Sequence[int], count: int) -> list[int]:
    """Put the documents `top` before all others, which keep their order."""
    chosen = set(top)
    return [*top, *(index for index in range(count) if index not in chosen)]
