from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from rerank_bench.evaluation import Row, infer, interval
from rerank_bench.evaluation.row import captured


def row(task: str, reranker: str, gains: Any, *, profile: str = "bm25", **more: Any) -> Row:
    array = np.asarray(gains, dtype=float)
    gain = float(array.mean())
    facts = {
        "measure": "nDCG@10",
        "origin": "shipped",
        "queries": len(array),
        "first_stage": 0.5,
        "ceiling": 0.9,
    }
    ids = tuple(f"q{i}" for i in range(len(array)))
    return Row(
        task=task, profile=profile, reranker=reranker, natural=0.5 + gain, gain=gain,
        query_ids=ids, query_gains=array, **{**facts, **more},
    )  # fmt: skip


def draw(seed: int, size: int = 50, mean: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 0.2, size=size)


def test_an_effect_of_3_standard_deviations_is_starred_in_a_family_of_540() -> None:
    gains = [draw(seed, 40) for seed in range(540)]
    gains[7] = draw(7, 40) + 0.6
    rows, _ = infer(row("Set/t", f"r{i:03}", g) for i, g in enumerate(gains))
    starred = [found.reranker for found in rows if found.starred]
    assert starred == ["r007"]
    found = next(found for found in rows if found.reranker == "r007")
    assert found.family == "the 540 gains of rerankers after profiles in Set"
    assert found.p == pytest.approx(stats.ttest_1samp(gains[7], 0.0).pvalue)
    assert found.p_holm == pytest.approx(540 * (found.p or 0))


def test_a_task_alone_is_its_data_sets_family_and_tasks_of_a_set_are_one_per_reranker() -> None:
    names = ("Set/a", "Set/b", "Set/c")
    rows = [row(t, r, draw(i), profile=p) for i, t in enumerate(names) for r in "xy" for p in "pq"]
    rows.append(row("alone", "x", draw(9)))
    found, (group,) = infer(rows)
    families = {(r.task, r.reranker, r.profile): r.family for r in found}
    assert families["Set/a", "x", "p"] == "the 3 gains of x after p in the tasks of Set"
    only = "the only one of the gains of rerankers after profiles in alone"
    assert families["alone", "x", "bm25"] == only
    assert {r.family for r in group.rows} == {"the 4 gains of rerankers after profiles in Set"}


@pytest.mark.parametrize("more", [{"floor": True}, {"invalid": "labels"}, {"measure": "MRR@10"}])
def test_floors_invalid_runs_and_other_measures_have_intervals_but_no_star(
    more: dict[str, Any],
) -> None:
    (found,), _ = infer([row("t", "r", draw(1, mean=0.5), **more)])
    assert (found.p, found.starred, found.family) == (None, False, "")
    assert found.gain_low is not None
    assert found.gain_low > 0


def test_fewer_than_20_queries_have_an_interval_and_no_star() -> None:
    few, _ = infer([row("t", "r", draw(1, 19, 0.5))])
    enough, _ = infer([row("t", "r", draw(1, 20, 0.5))])
    assert (few[0].p, few[0].starred) == (None, False)
    assert few[0].gain_low is not None
    assert enough[0].starred


def test_versions_of_few_questions_are_as_few_queries() -> None:
    bases = tuple(f"b{i % 10}" for i in range(50))
    (found,), _ = infer([row("t", "r", draw(1, mean=0.5), query_bases=bases, clusters=10)])
    assert found.p is None


def test_a_rows_interval_is_that_of_its_gains_whoever_stands_beside_it() -> None:
    rows = [row("t", name, draw(seed)) for seed, name in enumerate("abc")]
    (alone,), _ = infer(rows[1:2])
    together, _ = infer(rows)
    low, high = interval(rows[1].query_gains)
    assert (alone.gain_low, alone.gain_high) == pytest.approx((low, high))
    assert (together[1].gain_low, together[1].gain_high) == pytest.approx((low, high))
    assert alone.detectable == pytest.approx(2.8 * rows[1].query_gains.std(ddof=1) / 50**0.5)


def test_a_groups_interval_is_that_of_the_mean_over_tasks_taken_as_fixed() -> None:
    tasks = {f"Set/{i}": draw(i, 60 + 20 * i, 0.02 * i) for i in range(4)}
    _, (group,) = infer(row(task, "r", gains) for task, gains in tasks.items())
    (mean,) = group.rows
    assert mean.gain == pytest.approx(np.mean([gains.mean() for gains in tasks.values()]))
    error = np.sqrt(sum(g.var(ddof=1) / len(g) for g in tasks.values())) / 4
    assert (mean.gain_high or 0) - (mean.gain_low or 0) == pytest.approx(3.94 * error, rel=0.005)
    assert mean.detectable == pytest.approx(2.8 * error)


def test_a_group_is_sure_of_what_no_task_of_it_can_show() -> None:
    tasks = {f"Set/{i}": np.concatenate([draw(i, 30), -draw(i, 30)]) + 0.04 for i in range(30)}
    rows, (group,) = infer(row(task, "r", gains) for task, gains in tasks.items())
    assert not any(found.starred for found in rows)
    assert group.rows[0].starred


def test_a_group_captures_the_sum_of_gains_by_the_sum_of_headrooms_and_harm_is_negative() -> None:
    one = row("Set/a", "r", np.full(30, 0.1), ceiling=0.6)
    two = row("Set/b", "r", np.full(30, -0.3), ceiling=0.8)
    _, (group,) = infer([one, two])
    assert group.rows[0].headroom_captured == pytest.approx((0.1 - 0.3) / (0.1 + 0.3))
    assert captured(0.1, 0.0099) is None


def test_noise_of_a_mean_is_that_of_the_means_of_its_repeats() -> None:
    one = row("Set/a", "r", draw(1), repeated=(0.50, 0.52), noise=0.02)
    two = row("Set/b", "r", draw(2), repeated=(0.60, 0.58), noise=0.02)
    _, (group,) = infer([one, two])
    assert group.rows[0].noise == pytest.approx(0.0)
    _, (group,) = infer([one, replace(two, repeated=(), noise=None)])
    assert group.rows[0].noise is None


def test_a_mean_over_other_hardware_has_no_seconds() -> None:
    one = row("Set/a", "r", draw(1), seconds_per_query=1.0, hardware="here", rounds=2.0)
    two = row("Set/b", "r", draw(2), seconds_per_query=3.0, hardware="here", rounds=2.0)
    _, (group,) = infer([one, two])
    assert group.rows[0].seconds_per_query == 2.0
    _, (group,) = infer([one, replace(two, hardware="there")])
    assert (group.rows[0].seconds_per_query, group.rows[0].rounds) == (None, 2.0)


@pytest.mark.parametrize(("failed", "tested"), [(2, True), (3, False), (50, False)])
def test_a_run_with_many_failed_queries_tells_of_the_engine_and_has_no_star(
    failed: int, tested: bool
) -> None:
    (found,), _ = infer([row("t", "r", draw(1, 50, -0.5), failed=failed)])
    assert found.starred == tested == (found.p is not None)


def test_what_the_fake_engine_answered_is_in_no_family() -> None:
    rows, _ = infer([row("t", "real", draw(1)), row("t", "fake", draw(2, mean=0.5), engine="fake")])
    assert {found.reranker for found in rows if found.family} == {"real"}


@pytest.mark.parametrize("gains", [np.full(50, 0.1), np.zeros(50)])
def test_equal_gains_have_no_interval_no_p_and_no_part_in_a_family(gains: np.ndarray) -> None:
    rows, _ = infer([row("t", "equal", gains), row("t", "real", draw(1))])
    equal, real = sorted(rows, key=lambda found: found.reranker or "")
    assert (equal.gain_low, equal.gain_high, equal.p, equal.detectable) == (None,) * 4
    assert (equal.starred, equal.family) == (False, "")
    assert real.family == "the only one of the gains of rerankers after profiles in t"
