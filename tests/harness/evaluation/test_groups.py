"""What the mean row of a data set takes over from its tasks, and what a run does from its pools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from rerank_bench.evaluation import Row, evaluate, infer, query_values, run_rows
from rerank_bench.runs import QueryResult, Run, run_folder, write_run


def row(task: str, gains: Any, **more: Any) -> Row:
    array = np.asarray(gains, dtype=float)
    gain = float(array.mean())
    return Row(
        task=task, profile="bm25", origin="shipped", reranker="r", measure="nDCG@10",
        queries=len(array), first_stage=0.5, natural=0.5 + gain, ceiling=0.9, gain=gain,
        query_ids=tuple(f"q{i}" for i in range(len(array))), query_gains=array, **more,
    )  # fmt: skip


def draw(seed: int, size: int, mean: float = 0.5, spread: float = 0.2) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, spread, size=size)


def mean_of(*rows: Row) -> Row:
    """The mean row of one data set."""
    _, (group,) = infer(rows)
    (found,) = group.rows
    return found


def stored(root: Path, rankings: tuple[str, str], **settings: Any) -> Path:
    """A run of two queries, whose one positive is `d` of a pool `abcd`; a blank query failed."""
    results = tuple(
        QueryResult(f"q{i}", tuple(r), (1.0,) * 4, tuple("abcd".index(d) + 1 for d in r))
        if r
        else QueryResult(f"q{i}", tuple("abcd"), (None,) * 4, (1, 2, 3, 4), failed="no answer")
        for i, r in enumerate(rankings)
    )
    told = {
        "task": "Set/one",
        "profile": {"asked": "bm25", "resolved": "bm25", "origin": "shipped"},
        "reranker": {"label": "r", "method": "pointwise", "options": {}},
        **settings,
    }
    folder = run_folder(root, "Set/one", "bm25", f"r~{len(list(root.rglob('manifest.json')))}")
    qrels = {result.query_id: {"d": 1} for result in results}
    write_run(folder, Run({"format": 1, "settings": told}, results, qrels))
    return folder


def test_the_mean_of_two_unequal_tasks_is_tested_as_welch_would() -> None:
    """The mean of two means is half the difference of one and the other turned round."""
    few, many = draw(1, 12, 1.0, 0.6), draw(2, 200, 0.5, 0.1)
    found = mean_of(row("Set/few", few), row("Set/many", many))
    welch = stats.ttest_ind(few, -many, equal_var=False)
    assert welch.df < 12
    assert found.p == pytest.approx(welch.pvalue, rel=1e-6)


@pytest.mark.parametrize(("size", "tested"), [(9, False), (10, True)])
def test_a_mean_over_fewer_than_20_queries_of_all_tasks_has_no_star(
    size: int, tested: bool
) -> None:
    found = mean_of(row("Set/a", draw(1, size)), row("Set/b", draw(2, size)))
    assert (found.p is not None) == found.starred == tested
    assert found.gain_low is not None
    assert found.gain_low > 0


def test_a_mean_over_many_versions_of_fewer_than_20_questions_has_no_star() -> None:
    bases = tuple(f"b{i % 9}" for i in range(45))
    found = mean_of(*(row(f"Set/{i}", draw(i, 45), query_bases=bases) for i in range(2)))
    assert (found.p, found.starred, found.family) == (None, False, "")


@pytest.mark.parametrize(
    "odd", [{"failed": 3}, {"invalid": "labels found"}, {"engine": "fake"}, {"floor": True}]
)
def test_a_mean_is_not_tested_where_one_of_its_tasks_is_not(odd: dict[str, Any]) -> None:
    def pair(**second: Any) -> tuple[Row, Row]:
        return row("Set/a", draw(1, 50)), row("Set/b", draw(2, 50), **second)

    assert mean_of(*pair()).starred
    found = mean_of(*pair(**odd))
    assert (found.p, found.p_holm, found.starred) == (None, None, False)
    assert found.gain_low is not None


def test_a_mean_counts_questions_where_a_task_has_versions_and_queries_where_not() -> None:
    bases = tuple(f"b{i % 25}" for i in range(50))
    several = row("Set/a", draw(1, 50), query_bases=bases, clusters=25)
    assert mean_of(several, row("Set/b", draw(2, 40))).clusters == 25 + 40
    assert mean_of(row("Set/a", draw(1, 50)), row("Set/b", draw(2, 40))).clusters is None


def test_a_query_whose_positive_lies_below_the_depth_cannot_be_reranked() -> None:
    def rerankable(depth: int | None) -> int | None:
        result = QueryResult("q", tuple("abcd"), (None,) * 4, (1, 2, 3, 4))
        settings = {
            "task": "t",
            "profile": {"asked": "p", "resolved": "p", "origin": "shipped"},
            "reranker": {"label": "r", "method": "pointwise"},
            "depth": depth,
        }
        run = Run({"settings": settings}, (result,), {"q": {"d": 1}})
        ranked, _ = run_rows(run, query_values(run))
        return ranked[0].rerankable

    assert [rerankable(depth) for depth in (None, 3, 4)] == [1, 0, 1]


def test_noise_is_taken_over_repeats_of_the_same_settings_in_which_nothing_failed(
    tmp_path: Path,
) -> None:
    """One repeat has other settings, and in one a query failed: they differ most, for a reason."""
    again = {"repeat": 2, "shuffled": True}
    folders = [
        stored(tmp_path, ("dabc", "dabc")),
        stored(tmp_path, ("dabc", "abdc"), variant=again),
        stored(tmp_path, ("abcd", "abcd"), variant={**again, "repeat": 3}, depth=4),
        stored(tmp_path, ("dabc", ""), variant={**again, "repeat": 4}),
    ]
    (found,) = (found for found in evaluate(folders).rows if found.measure == "MRR@10")
    assert found.natural == 1.0
    assert found.noise == pytest.approx((1 - 1 / 3) / 2)
    assert found.repeats == 2
