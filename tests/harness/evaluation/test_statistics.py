from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank_bench.evaluation import group_intervals, interval


@given(st.lists(st.floats(-1, 1), min_size=5, max_size=40))
@settings(max_examples=40, deadline=None)
def test_the_interval_holds_the_mean_and_is_equal_at_every_call(values: list[float]) -> None:
    low, high = interval("t", values)
    assert low - 1e-9 <= np.mean(values) <= high + 1e-9
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert interval("t", tuple(values)) == (low, high)


@pytest.mark.parametrize("values", [[0.25], [0.1, 0.1, 0.1], [0.0]])
def test_values_without_spread_have_a_point_as_interval(values: list[float]) -> None:
    assert interval("t", values) == (values[0], values[0])


def test_another_task_draws_other_resamples() -> None:
    values = np.random.default_rng(1).normal(size=50)
    assert interval("a", values) != interval("b", values)


def test_the_interval_is_as_wide_as_the_standard_error_says() -> None:
    values = np.random.default_rng(2).normal(0.1, 1.0, size=400)
    low, high = interval("t", values)
    expected = 2 * 1.96 * values.std() / np.sqrt(400)
    assert high - low == pytest.approx(expected, rel=0.05)


def test_95_of_100_intervals_hold_the_true_mean() -> None:
    draws = np.random.default_rng(3).exponential(0.1, size=(300, 100))
    held = [low <= 0.1 <= high for low, high in (interval("t", values) for values in draws)]
    assert 0.90 <= np.mean(held) <= 0.98


def test_a_group_of_one_task_has_the_interval_of_the_task() -> None:
    values = np.random.default_rng(4).normal(size=30)
    assert group_intervals({"g": [("t", values)]})["g"] == pytest.approx(interval("t", values))


def test_the_tasks_of_a_group_are_resampled_apart() -> None:
    """Equal values in two tasks are two samples: their mean is surer by the root of two."""
    values = np.random.default_rng(5).normal(size=100)
    low, high = interval("a", values)
    group = group_intervals({"g": [("a", values), ("b", values)]})["g"]
    assert (group[1] - group[0]) == pytest.approx((high - low) / np.sqrt(2), rel=0.08)
