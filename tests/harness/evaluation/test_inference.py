"""Intervals, p-values, stars and means of data sets, from frames of gains."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rerank_bench.evaluation import infer, interval, results_of
from rerank_bench.evaluation.significance import estimate

Row = dict[str, Any]


def row(task: str, reranker: str, gains: Any, *, bases: Any = None, **more: Any) -> Row:
    array = np.asarray(gains, dtype=float)
    found = estimate(array, bases)
    return {
        "task": task, "profile": "bm25", "reranker": reranker, "measure": "nDCG@10",
        "queries": len(array), "failed": 0, "first_stage": 0.5, "ceiling": 0.9, "tasks": 1,
        "natural": 0.5 + found.mean, "gain": found.mean, "units": found.units,
        "standard_error": found.standard_error, "degrees_of_freedom": found.degrees_of_freedom,
        **more,
    }  # fmt: skip


def draw(seed: int, size: int = 50, mean: float = 0.0, spread: float = 0.2) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, spread, size=size)


def inferred(*rows: Row) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The joined rows of tasks, and of means."""
    results, means, _ = infer(results_of(rows))
    return results.rows(), means.rows()


def alone(*rows: Row) -> Any:
    (found,) = inferred(*rows)[0].itertuples()
    return found


def mean_of(*rows: Row) -> Any:
    (found,) = inferred(*rows)[1].itertuples()
    return found


def test_an_effect_of_3_standard_deviations_is_starred_in_a_family_of_540() -> None:
    gains = [draw(seed, 40) for seed in range(540)]
    gains[7] = draw(7, 40) + 0.6
    rows, _ = inferred(*(row("Set/t", f"r{i:03}", g) for i, g in enumerate(gains)))
    (found,) = rows[rows["starred"]].itertuples()
    assert found.reranker == "r007"
    assert found.family == "the 540 gains of rerankers after profiles in Set"
    assert found.p == pytest.approx(stats.ttest_1samp(gains[7], 0.0).pvalue)
    assert found.p_holm == pytest.approx(540 * found.p)


def test_a_task_alone_is_its_data_sets_family_and_tasks_of_a_set_are_one_per_reranker() -> None:
    names = ("Set/a", "Set/b", "Set/c")
    rows = [row(t, r, draw(i), profile=p) for i, t in enumerate(names) for r in "xy" for p in "pq"]
    found, means = inferred(*rows, row("alone", "x", draw(9)))
    families = found.set_index(["task", "reranker", "profile"])["family"]
    assert families["Set/a", "x", "p"] == "the 3 gains of x after p in the tasks of Set"
    only = "the only one of the gains of rerankers after profiles in alone"
    assert families["alone", "x", "bm25"] == only
    assert set(means["family"]) == {"the 4 gains of rerankers after profiles in Set"}


NOT_TESTED: list[Row] = [
    {"floor": True}, {"invalid": "labels"}, {"is_real": False}, {"failed": 3},
    {"measure": "MRR@10"},
]  # fmt: skip


@pytest.mark.parametrize("odd", NOT_TESTED)
def test_what_is_no_finding_has_an_interval_and_no_star_and_neither_has_its_mean(odd: Row) -> None:
    found = alone(row("t", "r", draw(1, mean=0.5), **odd))
    assert pd.isna(found.p)
    assert (found.starred, found.family, found.gain_low > 0) == (False, "", True)
    if "measure" in odd:
        return
    pair = row("Set/a", "r", draw(1, mean=0.5)), row("Set/b", "r", draw(2, mean=0.5))
    assert mean_of(*pair).starred
    mean = mean_of(pair[0], pair[1] | odd)
    assert pd.isna(mean.p)
    assert (mean.starred, mean.gain_low > 0) == (False, True)


def test_two_failed_queries_of_fifty_are_few_enough() -> None:
    assert alone(row("t", "r", draw(1, 50, -0.5), failed=2)).starred


@pytest.mark.parametrize(("size", "tested"), [(19, False), (20, True)])
def test_fewer_than_20_queries_have_an_interval_and_no_star(size: int, tested: bool) -> None:
    found = alone(row("t", "r", draw(1, size, 0.5)))
    halves = row("S/a", "r", draw(1, 10, 0.5)), row("S/b", "r", draw(2, size - 10, 0.5))
    for own in (found, mean_of(*halves)):
        assert (own.starred, pd.notna(own.p)) == (tested, tested)
        assert own.gain_low > 0


def test_versions_of_few_questions_are_as_few_queries_also_in_a_mean() -> None:
    bases = tuple(f"b{i % 9}" for i in range(45))
    rows = [row(f"Set/{i}", "r", draw(i, 45, 0.5), bases=bases, clusters=9) for i in range(2)]
    assert pd.isna(alone(rows[0] | {"task": "t"}).p)
    assert pd.isna(mean_of(*rows).p)
    several = row("Set/1", "r", draw(1, 40, 0.5))
    assert mean_of(rows[0], several).clusters == 9 + 40
    assert pd.isna(mean_of(several | {"task": "Set/0"}, several).clusters)


def test_a_rows_interval_is_that_of_its_gains_whatever_other_rows_there_are() -> None:
    gains = [draw(seed) for seed in range(3)]
    rows, _ = inferred(*(row("t", name, g) for name, g in zip("abc", gains, strict=True)))
    for own, found in zip(gains, rows.itertuples(), strict=True):
        assert (found.gain_low, found.gain_high) == pytest.approx(interval(own))
        assert found.detectable == pytest.approx(2.8 * own.std(ddof=1) / 50**0.5)


def test_a_mean_is_over_tasks_taken_as_fixed() -> None:
    tasks = {f"Set/{i}": draw(i, 60 + 20 * i, 0.02 * i) for i in range(4)}
    mean = mean_of(*(row(task, "r", gains) for task, gains in tasks.items()))
    error = np.sqrt(sum(g.var(ddof=1) / len(g) for g in tasks.values())) / 4
    assert mean.gain == pytest.approx(np.mean([gains.mean() for gains in tasks.values()]))
    assert mean.gain_high - mean.gain_low == pytest.approx(3.94 * error, rel=0.005)
    assert (mean.detectable, mean.tasks) == (pytest.approx(2.8 * error), 4)


def test_the_mean_of_two_unequal_tasks_is_tested_as_welch_would() -> None:
    """The mean of two means is half the difference of one and the other with its sign changed."""
    few, many = draw(1, 12, 1.0, 0.6), draw(2, 200, 0.5, 0.1)
    mean = mean_of(row("Set/few", "r", few), row("Set/many", "r", many))
    welch = stats.ttest_ind(few, -many, equal_var=False)
    assert welch.df < 12
    assert mean.degrees_of_freedom == pytest.approx(welch.df)
    assert mean.p == pytest.approx(welch.pvalue, rel=1e-6)
    low, high = welch.confidence_interval(0.95)
    assert (mean.gain_low, mean.gain_high) == pytest.approx((low / 2, high / 2))


def test_a_mean_has_no_interval_with_a_task_of_one_query_or_where_no_task_has_spread() -> None:
    varied, equal = row("Set/a", "r", [0.1, 0.2, 0.4]), row("Set/b", "r", [0.1] * 9)
    assert pd.isna(mean_of(varied, row("Set/b", "r", [0.3])).gain_low)
    assert pd.isna(mean_of(equal, equal | {"task": "Set/c"}).gain_low)
    half = mean_of(varied, equal)
    assert half.standard_error == pytest.approx(varied["standard_error"] / 2)
    assert half.degrees_of_freedom == pytest.approx(2)


def test_a_mean_is_sure_of_what_no_task_of_it_can_show() -> None:
    tasks = {f"Set/{i}": np.concatenate([draw(i, 30), -draw(i, 30)]) + 0.04 for i in range(30)}
    rows, means = inferred(*(row(task, "r", gains) for task, gains in tasks.items()))
    assert not rows["starred"].any()
    assert means["starred"].all()


def test_a_mean_captures_the_sum_of_gains_by_the_sum_of_headrooms_and_harm_is_negative() -> None:
    one = row("Set/a", "r", np.full(30, 0.1), ceiling=0.6)
    two = row("Set/b", "r", np.full(30, -0.3), ceiling=0.8)
    assert mean_of(one, two).headroom_captured == pytest.approx((0.1 - 0.3) / (0.1 + 0.3))


def test_noise_of_a_mean_is_that_of_the_means_of_its_repeats() -> None:
    one = row("Set/a", "r", draw(1), repeated=(0.50, 0.52), noise=0.02)
    two = row("Set/b", "r", draw(2), repeated=(0.60, 0.58), noise=0.02)
    assert mean_of(one, two).noise == pytest.approx(0.0)
    assert pd.isna(mean_of(one, two | {"repeated": (), "noise": None}).noise)


def test_a_mean_over_other_hardware_has_no_seconds() -> None:
    one = row("Set/a", "r", draw(1), seconds_per_query=1.0, hardware="here", rounds=2.0)
    two = row("Set/b", "r", draw(2), seconds_per_query=3.0, hardware="here", rounds=2.0)
    assert mean_of(one, two).seconds_per_query == 2.0
    elsewhere = mean_of(one, two | {"hardware": "there"})
    assert (pd.isna(elsewhere.seconds_per_query), elsewhere.rounds) == (True, 2.0)


@pytest.mark.parametrize("gains", [np.full(50, 0.1), np.zeros(50)])
def test_equal_gains_have_no_interval_no_p_and_no_part_in_a_family(gains: np.ndarray) -> None:
    rows, _ = inferred(row("t", "equal", gains), row("t", "real", draw(1)))
    equal, real = rows.itertuples()
    missing = equal.gain_low, equal.gain_high, equal.p, equal.p_holm, equal.detectable
    assert all(map(pd.isna, missing))
    assert (equal.starred, equal.family) == (False, "")
    assert real.family == "the only one of the gains of rerankers after profiles in t"


def test_the_tasks_of_mteb_have_a_mean_in_which_a_task_counts_once_whatever_its_subsets() -> None:
    tasks = {"mteb:A/dev": 0.1, "mteb:B/ar-dev": 0.2, "mteb:B/en-dev": 0.4, "mteb:C/test": 0.5}
    rows = [
        row(task, r, draw(n), main_score=value + shift, main_measure="MAP@9")
        for n, (task, value) in enumerate({**tasks, "Other/a": 0.9, "Other/b": 0.9}.items())
        for r, shift in (("x", 0.0), ("y", 0.25))
    ]
    found, means, groups = infer(results_of(rows))
    scores = means.rows("nDCG@10").set_index(["task", "reranker"])
    assert scores["main_score"]["mteb:B", "x"] == pytest.approx(0.3)
    assert scores["main_score"]["mteb:*", "x"] == pytest.approx((0.1 + 0.3 + 0.5) / 3)
    assert scores["main_score"]["mteb:*", "y"] == pytest.approx((0.35 + 0.55 + 0.75) / 3)
    (whole,) = (group for group in groups if group.name == "mteb:*")
    assert whole.tasks == ("mteb:A/dev", "mteb:B", "mteb:C/test")
    gains = found.rows("nDCG@10").set_index(["task", "reranker"])["gain"]
    of_b = (gains["mteb:B/ar-dev", "x"] + gains["mteb:B/en-dev", "x"]) / 2
    wanted = (gains["mteb:A/dev", "x"] + of_b + gains["mteb:C/test", "x"]) / 3
    assert scores["gain"]["mteb:*", "x"] == pytest.approx(wanted)
    assert means.rows().index.is_unique
    assert len(means.runs) == 2 * 3


def test_a_reranker_without_all_tasks_of_mteb_and_one_main_score_have_no_mean() -> None:
    rows = [
        row("mteb:A/dev", "x", draw(1), main_score=0.5),
        row("mteb:B/dev", "x", draw(2), main_score=None),
        row("mteb:A/dev", "y", draw(3), main_score=0.5),
    ]
    _, means, (whole,) = infer(results_of(rows))
    assert whole.left_out == (("bm25", "y", "1 of 2 tasks"),)
    (only,) = means.rows().itertuples()
    assert (only.task, only.reranker) == ("mteb:*", "x")
    assert np.isnan(only.main_score)
    assert not np.isnan(only.gain)
