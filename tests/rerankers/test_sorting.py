"""Heaps, bubbles and both ends: exact with exact choices, and as many of them as published."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench.rerankers.orders import bubble_sort, heap_sort, sort_from_both_ends

SIZES = [0, 1, 2, 19, 20, 21, 95, 100, 101]


class Judge:
    """Chooses by `values`, and counts `calls` and `rounds`; it never sees fewer than two."""

    def __init__(self, values):
        self.values, self.calls, self.rounds = values, 0, 0

    def choose(self, sets):
        assert sets
        assert all(len(set(inside)) == len(inside) >= 2 for inside in sets)
        assert len(set().union(*sets)) == sum(map(len, sets))
        self.calls += len(sets)
        self.rounds += 1
        yield [f"which of {inside}" for inside in sets]
        return [max(range(len(s)), key=lambda place: self.values[s[place]]) for s in sets]

    def ends(self, inside):
        self.calls += 1
        yield [f"ends of {inside}"]
        found = sorted(range(len(inside)), key=lambda place: -self.values[inside[place]])
        return found[0], found[-1]


def finish(flow):
    """What a sort returns once every round was answered."""
    try:
        while True:
            next(flow)
    except StopIteration as end:
        return end.value


def shuffled(count: int, seed: int) -> list[int]:
    values = list(range(count))
    random.Random(seed).shuffle(values)
    return values


def ideal(values) -> list[int]:
    return sorted(range(len(values)), key=lambda index: -values[index])


def with_tail(values, best: int) -> list[int]:
    top = ideal(values)[:best]
    return [*top, *(index for index in range(len(values)) if index not in top)]


def test_a_heap_of_100_gives_the_best_ten_for_the_published_number_of_choices():
    """The figures are those of an independent simulation over the same 1,600 orders."""
    orders = random.Random(0)
    published = {2: (131, 139.8, 147), 3: (77, 81.7, 85), 9: (29, 31.5, 35), 19: (19, 23.3, 25)}
    for children, figures in published.items():
        calls = []
        for _ in range(400):
            values = list(range(100))
            orders.shuffle(values)
            judge = Judge(values)
            found = finish(heap_sort(100, best=10, children=children, choose=judge.choose))
            assert found == with_tail(values, 10)
            calls.append(judge.calls)
        assert (min(calls), statistics.mean(calls), max(calls)) == pytest.approx(figures, abs=0.051)


def choices_of_one_parent_after_another(values, *, best: int, children: int) -> int:
    """How often a textbook heap sort chooses, with one parent after another."""
    heap, calls = list(range(len(values))), 0

    def sink(node, size):
        nonlocal calls
        family = [node, *range(children * node + 1, min(children * (node + 1) + 1, size))]
        if len(family) > 1:
            calls += 1
            top = max(family, key=lambda place: values[heap[place]])
            heap[node], heap[top] = heap[top], heap[node]
            if top != node:
                sink(top, size)

    for node in range(len(heap) // children, -1, -1):
        sink(node, len(heap))
    for size in range(len(heap) - 1, len(heap) - best, -1):
        heap[0], heap[size] = heap[size], heap[0]
        sink(0, size)
    return calls


@pytest.mark.parametrize(("children", "rounds"), [(2, 75), (3, 46), (9, 26), (19, 21)])
def test_a_heap_built_by_levels_takes_as_many_choices_in_fewer_rounds(children, rounds):
    for seed in range(50):
        judge = Judge(shuffled(100, seed))
        finish(heap_sort(100, best=10, children=children, choose=judge.choose))
        textbook = choices_of_one_parent_after_another(judge.values, best=10, children=children)
        assert judge.calls == textbook
        assert judge.rounds <= rounds


@pytest.mark.parametrize(
    ("children", "calls"), [(1, 945), (2, 475), (3, 318), (9, 109), (19, 54), (99, 10)]
)
def test_bubbles_of_100_take_as_many_choices_as_their_formula_says(children, calls):
    judge = Judge(shuffled(100, 1))
    found = finish(bubble_sort(100, best=10, children=children, choose=judge.choose))
    assert found == with_tail(judge.values, 10)
    assert judge.calls == judge.rounds == calls


@pytest.mark.parametrize("count", SIZES)
def test_both_ends_order_everything_in_half_as_many_choices_as_documents(count):
    judge = Judge(shuffled(count, 2))
    found = finish(sort_from_both_ends(count, best=count, choose=judge.ends))
    assert found == ideal(judge.values)
    assert judge.calls == count // 2


def test_ten_choices_of_both_ends_place_the_ten_best_and_the_ten_worst():
    values = shuffled(100, 3)
    found = finish(sort_from_both_ends(100, best=10, choose=Judge(values).ends))
    assert found[:10] == ideal(values)[:10]
    assert found[-10:] == ideal(values)[-10:]
    assert found[10:-10] == sorted(found[10:-10])


@given(
    st.sampled_from(SIZES).flatmap(lambda n: st.permutations(range(n))),
    st.integers(1, 25),
    st.integers(1, 110),
)
def test_whatever_the_order_the_best_are_exact_and_the_tail_keeps_its_order(values, children, best):
    count = len(values)
    bubbles = bubble_sort(count, best=best, children=children, choose=Judge(values).choose)
    assert finish(bubbles) == with_tail(values, best)
    heap = heap_sort(count, best=best, children=children + 1, choose=Judge(values).choose)
    assert finish(heap) == with_tail(values, best)
