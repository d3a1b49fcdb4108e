"""Intervals and p-values of mean gains: against scipy and statsmodels, and by simulation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from rerank_bench.evaluation import interval
from rerank_bench.evaluation.significance import DETECTABLE, estimate, holm, p_value

KEPT = json.loads((Path(__file__).parent / "gains.json").read_text(encoding="utf-8"))
GAINS = {name: np.array(gains) for name, gains in KEPT.items()}


def p_of(values: Any, clusters: Any = None) -> float:
    return float(p_value(*estimate(values, clusters)[:3]))


@pytest.mark.parametrize("gains", GAINS.values(), ids=GAINS)
def test_interval_and_p_are_those_of_the_paired_t_test(gains: np.ndarray) -> None:
    expected = stats.ttest_1samp(gains[:60], 0.0)
    assert interval(gains[:60].tolist()) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert p_of(gains[:60]) == pytest.approx(expected.pvalue)


def test_a_p_value_is_exact_however_small() -> None:
    gains = np.random.default_rng(0).normal(0.6, 0.2, 200)
    assert p_of(gains) == pytest.approx(stats.ttest_1samp(gains, 0.0).pvalue, rel=1e-9, abs=0)


@pytest.mark.parametrize("values", [[0.25], [0.1] * 50, [0.0] * 3, [0.1, 0.3 - 0.2, 0.1]])
def test_equal_gains_have_no_interval_no_p_and_no_detectable_size(values: list[float]) -> None:
    found = estimate(values)
    assert found.mean == pytest.approx(values[0])
    assert np.isnan([found.standard_error, p_of(values)]).all()
    assert interval(values) == (None, None)


def test_versions_of_one_question_are_a_cluster_as_in_a_robust_regression_on_a_constant() -> None:
    generator = np.random.default_rng(1)
    sizes = generator.integers(1, 7, size=25)
    clusters = np.repeat(np.arange(25), sizes)
    values = generator.normal(0.1, 0.3, 25)[clusters] + generator.normal(0, 0.1, len(clusters))
    fitted = sm.OLS(values, np.ones_like(values)).fit(
        cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True
    )
    names = [f"q{number}" for number in clusters]
    found = estimate(values, names)
    assert found.standard_error == pytest.approx(fitted.bse[0])
    assert (found.degrees_of_freedom, found.units) == (24, 25)
    assert interval(values, names) == pytest.approx(tuple(fitted.conf_int()[0]))
    assert p_of(values, names) == pytest.approx(fitted.pvalues[0])


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30), st.randoms())
@settings(max_examples=50, deadline=None)
def test_clusters_of_one_query_each_are_queries(values: list[float], random: object) -> None:
    names = [f"q{place}" for place in range(len(values))]
    random.shuffle(names)  # type: ignore[attr-defined]
    plain, clustered = estimate(values), estimate(values, names)
    assert clustered.standard_error == pytest.approx(plain.standard_error, nan_ok=True)
    assert clustered.degrees_of_freedom == plain.degrees_of_freedom


def test_ten_questions_in_twenty_equal_versions_are_ten_queries() -> None:
    gains = np.random.default_rng(4).normal(size=10)
    bases = [f"q{i}" for i in range(10) for _ in range(20)]
    assert interval(np.repeat(gains, 20), bases) == pytest.approx(interval(gains))


@pytest.mark.parametrize("bases", [["a"] * 8, ["a", "a", "b", "b"] * 2])
def test_one_question_or_questions_of_equal_means_have_no_interval(bases: list[str]) -> None:
    assert interval([0.0, 0.4, 0.4, 0.0] * 2, bases) == (None, None)


@pytest.mark.parametrize("gains", GAINS.values(), ids=GAINS)
def test_95_of_100_intervals_hold_the_true_mean(gains: np.ndarray) -> None:
    """200 queries drawn from the gains of real runs: four standard errors of room, and 1 %."""
    drawn = np.random.default_rng(3).choice(gains, (2000, 200))
    bounds = np.array([interval(own) for own in drawn])
    held = ((bounds[:, 0] <= gains.mean()) & (gains.mean() <= bounds[:, 1])).mean()
    assert 0.92 <= held <= 0.97


@pytest.mark.parametrize("size", [20, 50])
def test_p_under_no_gain_is_small_no_more_often_than_it_says(size: int) -> None:
    """2,000 comparisons for each real run, with random signs; four standard errors of room."""
    generator = np.random.default_rng(1)
    p = []
    for gains in GAINS.values():
        null = generator.choice(gains, (2000, size)) * generator.choice([-1, 1], (2000, size))
        p += np.nan_to_num([p_of(own) for own in null], nan=1.0).tolist()
    for level in (0.01, 0.05, 0.10):
        share, error = np.mean(np.array(p) <= level), np.sqrt(level * (1 - level) / len(p))
        assert level / 3 <= share <= level + 4 * error


@pytest.mark.parametrize("size", [1, 2, 30])
def test_holm_is_that_of_statsmodels(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some p-values are equal, and some so large that they are cut at 1."""
    monkeypatch.setattr("gc.collect", lambda: 0)  # statsmodels collects garbage in each call
    generator = np.random.default_rng(size)
    for p in generator.choice(generator.beta(0.3, 1, 20), (50, size)):
        assert holm(p).tolist() == pytest.approx(multipletests(p, method="holm")[1].tolist())


def test_holm_worked_out_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]).tolist() == []


def test_a_gain_of_the_detectable_size_is_seen_4_times_out_of_5() -> None:
    draws = np.random.default_rng(2).normal(size=(2000, 50))
    size = DETECTABLE / np.sqrt(50)
    errors = [estimate(own).standard_error for own in draws]
    assert DETECTABLE * np.mean(errors) == pytest.approx(size, rel=0.02)
    assert 0.75 <= np.mean([p_of(own + size) <= 0.05 for own in draws]) <= 0.82
