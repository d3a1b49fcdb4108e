from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank_bench.evaluation import interval
from rerank_bench.evaluation.resampling import (
    flipped,
    percentiles,
    resampled,
    shuffled,
    units,
)


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


def test_the_interval_is_as_wide_as_the_standard_error_says() -> None:
    values = np.random.default_rng(2).normal(0.1, 1.0, size=400)
    low, high = interval("t", values)
    expected = 2 * 1.96 * values.std() / np.sqrt(400)
    assert high - low == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(("queries", "least", "most"), [(20, 0.89, 0.94), (200, 0.93, 0.97)])
def test_95_of_100_intervals_hold_the_true_mean_and_fewer_where_queries_are_few(
    queries: int, least: float, most: float
) -> None:
    """Queries are drawn from the gains of a real run: half are 0, the others on few values."""
    kept = json.loads((Path(__file__).parent / "gains.json").read_text(encoding="utf-8"))
    gains = np.array(kept["gains"])
    held = []
    for part in np.random.default_rng(3).choice(gains, size=(10, 200, queries)):
        low, high = percentiles(resampled(units("t", part)))
        held += ((low <= gains.mean()) & (gains.mean() <= high)).tolist()
    assert least <= np.mean(held) <= most


def test_versions_of_one_question_are_drawn_together() -> None:
    """Ten questions in twenty languages with equal gains say no more than ten queries do."""
    gains = np.random.default_rng(4).normal(size=10)
    bases = [f"q{i}" for i in range(10) for _ in range(20)]
    wide = interval("t", np.repeat(gains, 20), bases)
    assert wide == pytest.approx(interval("t", gains))
    low, high = interval("t", np.repeat(gains, 20))
    assert high - low < (wide[1] - wide[0]) / 3


def test_a_clusters_mean_is_weighted_by_its_queries() -> None:
    values = np.array([[1.0, 0.0, 0.0, 0.0]])
    given = units("t", values, ["a", "b", "b", "b"])
    assert given.means.tolist() == [0.25]
    # Two clusters are drawn twice: (a, a), (a, b) or (b, b), whose means over queries are these.
    assert set(np.round(resampled(given)[0], 12)) == {1.0, 0.25, 0.0}


def test_a_flip_changes_the_sign_of_whole_units() -> None:
    values = np.array([[1.0, 2.0, 4.0, 4.0]])
    signs = flipped(units("t", values, ["a", "b", "c", "c"]))[0] * 4
    assert set(signs.tolist()) == {x + y + z for x in (-1, 1) for y in (-2, 2) for z in (-8, 8)}


def test_the_standard_error_is_that_of_a_mean() -> None:
    values = np.random.default_rng(5).normal(size=(2, 50))
    expected = values.var(axis=1, ddof=1) / 50
    assert units("t", values).variance == pytest.approx(expected)
    assert units("t", values[:, :1]).variance.tolist() == [0.0, 0.0]


def test_the_tasks_of_a_mean_are_drawn_apart() -> None:
    """Equal values in two tasks are two samples: their mean is surer by the root of two."""
    given = units("t", np.random.default_rng(6).normal(size=(1, 100)))
    alone = resampled(given).std()
    together = (shuffled("a", resampled(given)) + shuffled("b", resampled(given))) / 2
    assert together.std() == pytest.approx(alone / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("count", [3, 600])
def test_resamples_have_the_mean_of_the_values_few_or_many(count: int) -> None:
    values = np.arange(float(count))[None, :]
    given = units("t", values)
    assert resampled(given).shape == flipped(given).shape == (1, 10_000)
    error = values.std() / np.sqrt(count) / 100
    assert resampled(given).mean() == pytest.approx(values.mean(), abs=5 * error)
    assert abs(flipped(given).mean()) < 5 * np.sqrt((values**2).mean() / count) / 100
