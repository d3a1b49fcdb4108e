from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench import BadOption
from rerank_bench.rerankers.first import First
from rerank_bench.rerankers.listwise import Listwise
from rerank_bench.rerankers.orders import Sliding, descending, windows

sizes = st.integers(2, 30).flatmap(lambda size: st.tuples(st.just(size), st.integers(1, size)))


@given(count=st.integers(0, 150), sizes=sizes)
def test_windows_cover_every_place_and_end_at_the_front(count, sizes):
    size, stride = sizes
    made = list(windows(count, size=size, stride=stride))
    if count < 2:
        assert made == []
        return
    assert set().union(*made) == set(range(count))
    assert made[-1].start == 0
    assert made[0].stop == count
    assert all(len(window) == min(size, count) for window in made)
    assert len(made) == (1 if count <= size else 1 + math.ceil((count - size) / stride))
    for later, earlier in itertools.pairwise(made):
        assert 0 < later.start - earlier.start <= stride


@given(st.permutations(list(range(12))))
def test_descending_scores_say_the_ranking_back(ranking):
    scores = descending(ranking)
    assert sorted(range(12), key=lambda i: -scores[i]) == list(ranking)


def test_a_stride_that_is_not_given_is_half_the_window():
    assert Sliding("m", 20, None, 1).step == 10
    assert Sliding("m", 7, None, 1).step == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 1}, "window must be at least 2"),
        ({"stride": 0}, "stride must be from 1"),
        ({"stride": 21}, "stride must be from 1"),
        ({"passes": 0}, "passes must be at least 1"),
    ],
)
@pytest.mark.parametrize("method", [Listwise, First])
def test_windows_that_cannot_work_are_refused(method, options, message):
    with pytest.raises(BadOption, match=message):
        method(**options)


def test_first_has_no_more_letters_than_the_alphabet():
    with pytest.raises(BadOption, match="at most 26"):
        First(window=27)
