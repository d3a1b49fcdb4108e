from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from rerank_bench.evaluation.resampling import flipped, units
from rerank_bench.evaluation.significance import detectable, holm, p_values


def examined(values: np.ndarray) -> list:
    own = units("t", values)
    return p_values(
        own.means, flipped(own), own.variance, freedom=values.shape[1] - 1.0, moved=own.moved
    )


def test_p_is_the_share_of_flips_at_least_as_far_worked_out_by_hand() -> None:
    """Of the 32 signs of five equal gains only all plus and all minus reach as far: 1 / 16."""
    (found,) = examined(np.full((1, 5), 0.1))
    assert found.p_from == "flips"
    assert found.p == pytest.approx(1 / 16, abs=0.01)


@given(st.lists(st.sampled_from([-0.5, -0.13, 0.0, 0.2, 0.37, 1.0]), min_size=6, max_size=9))
@settings(max_examples=25, deadline=None)
def test_p_agrees_with_all_flips_there_are(values: list[float]) -> None:
    array = np.array(values)
    signs = np.array(list(product((-1, 1), repeat=len(array))))
    exact = (abs(signs @ array) >= abs(array.sum()) - 1e-12).mean()
    (found,) = examined(array[None, :])
    assert found.p == pytest.approx(exact, abs=0.02)


def test_no_gain_at_all_has_p_1_and_p_is_never_0() -> None:
    nothing, surest = examined(np.stack([np.zeros(50), np.full(50, 0.3)]))
    assert nothing.p == 1.0
    assert surest.p == pytest.approx(2**-49)  # two of all the flips there are
    assert surest.p_from == "flips"


def test_beyond_all_flips_the_tail_is_that_of_the_paired_t_test() -> None:
    gains = np.random.default_rng(0).normal(0.3, 0.2, size=60)
    (found,) = examined(gains[None, :])
    assert found.p_from == "t"
    assert found.p == pytest.approx(stats.ttest_1samp(gains, 0.0).pvalue)
    assert found.p < 1 / 10_001


def test_the_tail_never_says_less_than_all_flips_there_are_could_show() -> None:
    """Fourteen equal gains and no other: only 2 of 16,384 flips of them reach as far."""
    gains = np.zeros(40)
    gains[:14] = np.random.default_rng(0).uniform(0.37, 0.39, 14)
    few, many = examined(gains[None, :])[0], examined(np.linspace(0.30, 0.31, 20)[None, :])[0]
    assert few.p == pytest.approx(min(2**-13, 1 / 10_001), rel=0.3)
    assert few.p >= 1 / 10_001
    assert many.p == pytest.approx(2**-19)


def test_p_under_no_gain_is_small_no_more_often_than_it_says() -> None:
    """20,000 comparisons of skewed gains with random signs; four standard errors of room."""
    generator = np.random.default_rng(1)
    sizes = generator.exponential(0.1, size=(40, 20_000)) * (generator.random((40, 20_000)) < 0.5)
    p = np.array([one.p for one in examined(sizes * generator.choice([-1, 1], sizes.shape))])
    for level in (0.01, 0.05, 0.10):
        error = np.sqrt(level * (1 - level) / p.size)
        assert (p <= level).mean() <= level + 4 * error
        assert (p <= level).mean() >= level - 5 * error - 0.002


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_holm_is_that_of_statsmodels(p: list[float]) -> None:
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1].tolist())


def test_holm_worked_out_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_a_gain_of_the_detectable_size_is_seen_4_times_out_of_5() -> None:
    draws = np.random.default_rng(2).normal(size=(50, 2000))
    size = detectable(1 / 50)
    assert size == pytest.approx(2.8 / np.sqrt(50))
    seen = stats.ttest_1samp(draws + size, 0.0).pvalue < 0.05
    assert 0.75 <= seen.mean() <= 0.82
