from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as slow
from hypothesis import strategies as st

from rerank_bench.errors import BadData
from rerank_bench.evaluation import (
    JSON_FIELDS,
    MACRO,
    MEASURES,
    MICRO,
    Row,
    evaluate,
    orders,
    query_values,
    run_rows,
)
from rerank_bench.reranking import Usage
from rerank_bench.runs import QueryResult, Run, run_folder, write_run


def manifest(
    *, task: str = "Toy/one", label: str = "mine", method: str = "mine", **more: Any
) -> dict[str, Any]:
    return {
        "format": 1,
        "settings": {
            "task": task,
            "profile": {"asked": "dense", "resolved": "minilm", "origin": "shipped"},
            "reranker": {"label": label, "method": method, "options": {}},
            "engine": {"name": "fake"},
            "depth": None,
            "min_grade": 1,
            "queries": None,
            **more,
        },
        "published": {"minilm": {"nDCG@10": 0.5, "recall@100": 0.75}},
    }


def result(query_id: str, ranking: str, pool: str, **more: Any) -> QueryResult:
    """One letter is one document; `pool` is the first stage's order."""
    ranks = tuple(pool.index(doc_id) + 1 for doc_id in ranking)
    return QueryResult(query_id, tuple(ranking), (None,) * len(ranking), ranks, **more)


QRELS = {"q1": {"a": 2, "b": 1, "z": 1, "x": 0}, "q2": {"s": 1}, "q3": {"c": 1}, "q4": {"d": 1}}
RESULTS = (
    result("q1", "abx", "xab", usage=Usage(4, 2, 100, 10, 0, 1, 0.5)),
    result("q2", "sy", "ys", safeguard="s", usage=Usage(2, 2, 50, 5)),
    result("q3", "cy", "cy", failed="no answer", usage=Usage(1, 1, 7, 0)),
    QueryResult("q4", (), (), ()),
)
IDEAL = 2 + 1 / math.log2(3) + 0.5
BEFORE, AFTER = (2 / math.log2(3) + 0.5) / IDEAL, (2 + 1 / math.log2(3)) / IDEAL


def store(root: Path, run: Run) -> Path:
    told = run.manifest["settings"]
    label = told["reranker"]["label"]
    folder = run_folder(root, told["task"], told["profile"]["asked"], label)
    write_run(folder, run)
    return folder


def row_of(rows: Sequence[Row], measure: str) -> Row:
    return next(row for row in rows if row.measure == measure)


def test_the_values_are_those_worked_out_by_hand() -> None:
    values = query_values(Run(manifest(), RESULTS, QRELS))
    assert values.first_stage["nDCG@10"].tolist() == pytest.approx([BEFORE, 0, 1, 0])
    assert values.natural["nDCG@10"].tolist() == pytest.approx([AFTER, 0, 0, 0])
    assert values.safeguarded["nDCG@10"].tolist() == pytest.approx([AFTER, 1, 0, 0])
    assert values.ceiling["nDCG@10"].tolist() == pytest.approx([AFTER, 0, 1, 0])
    assert values.ceiling_safeguarded["nDCG@10"].tolist() == pytest.approx([AFTER, 1, 1, 0])
    assert values.gain("nDCG@10").tolist() == pytest.approx([AFTER - BEFORE, 0, -1, 0])
    assert values.decided("nDCG@10") == 1
    assert values.positives.tolist() == [3, 1, 1, 1]


@pytest.mark.parametrize("convention", ["binary", ""])
def test_a_published_first_stage_is_compared_under_its_own_convention(
    tmp_path: Path, convention: str
) -> None:
    run = Run(manifest() | {"convention": convention}, RESULTS, QRELS)
    rows = evaluate([store(tmp_path, run)]).rows
    row = row_of(rows, "nDCG@10")
    ideal = 1 + 1 / math.log2(3) + 1 / 2
    equal = ((1 / math.log2(3) + 1 / 2) / ideal + 1) / 4
    assert row.first_stage == pytest.approx((BEFORE + 1) / 4)
    assert row.published == 0.5
    assert row.as_published == pytest.approx(equal if convention else row.first_stage)
    assert row.under("binary", "first_stage") == pytest.approx(equal)
    assert row.under("binary", "natural") == pytest.approx((1 + 1 / math.log2(3)) / ideal / 4)
    assert row.under("", "natural") == row.natural
    assert row_of(rows, "hit@10").as_published is None
    assert row_of(rows, MICRO).as_published == row_of(rows, MICRO).first_stage


def test_where_grades_are_equal_there_is_one_convention(tmp_path: Path) -> None:
    qrels = {query_id: dict.fromkeys(judged, 1) for query_id, judged in QRELS.items()}
    run = Run(manifest() | {"convention": "binary"}, RESULTS, qrels)
    row = row_of(evaluate([store(tmp_path, run)]).rows, "nDCG@10")
    assert row.binary == {}
    assert row.as_published == row.first_stage


def test_a_mean_over_tasks_is_compared_under_the_convention_too(tmp_path: Path) -> None:
    equal = {query_id: dict.fromkeys(judged, 1) for query_id, judged in QRELS.items()}
    for task, qrels in (("Toy/one", QRELS), ("Toy/two", equal)):
        store(tmp_path, Run(manifest(task=task) | {"convention": "binary"}, RESULTS, qrels))
    found = evaluate([file.parent for file in tmp_path.rglob("manifest.json")])
    own = [row for row in found.rows if row.measure == "nDCG@10"]
    mean = row_of([row for group in found.groups for row in group.rows], "nDCG@10")
    for stage in ("first_stage", "natural", "safeguarded"):
        values = [row.under("binary", stage) for row in own]
        assert mean.under("binary", stage) == pytest.approx(sum(values) / 2)
    assert mean.as_published == pytest.approx(mean.under("binary", "first_stage"))


def test_a_row_sums_a_run_up(tmp_path: Path) -> None:
    rows = evaluate([store(tmp_path, Run(manifest(), RESULTS, QRELS))]).rows
    assert [row.measure for row in rows] == [MICRO, MACRO, *MEASURES]
    row = row_of(rows, "nDCG@10")
    assert (row.task, row.profile, row.resolved) == ("Toy/one", "dense", "minilm")
    assert (row.origin, row.reranker, row.engine) == ("shipped", "mine", "fake")
    assert row.first_stage == pytest.approx((BEFORE + 1) / 4)
    assert row.natural == pytest.approx(AFTER / 4)
    assert row.gain == pytest.approx((AFTER - BEFORE - 1) / 4)
    assert row.safeguarded == pytest.approx((AFTER + 1) / 4)
    assert row.gain_safeguarded == pytest.approx((AFTER + 1 - BEFORE - 1) / 4)
    assert row.ceiling == pytest.approx((AFTER + 1) / 4)
    assert row.gain_low is not None
    assert row.gain_high is not None
    assert row.gain_low <= row.gain <= row.gain_high
    assert (row.queries, row.safeguards, row.decided, row.failed) == (4, 1, 1, 1)
    assert (row.repaired, row.unparsable, row.truncated) == (0, 0, 0)
    assert (row.calls_per_query, row.rounds) == (7 / 4, 5 / 4)
    assert (row.prompt_tokens, row.output_tokens) == (157, 15)
    assert (row.seconds, row.from_cache) == (0.5, 1)
    assert row.published == 0.5


def test_recall_is_the_first_stages_and_told_once(tmp_path: Path) -> None:
    """q1 has two of three positives in its pool, q3 its one; a safeguard is none of the pool."""
    few = Run(manifest(label="few", queries=1), RESULTS[:1], QRELS)
    folders = [store(tmp_path, few), store(tmp_path, Run(manifest(), RESULTS, QRELS))]
    rows = [row for row in evaluate(folders).rows if row.reranker is None]
    assert [row.measure for row in rows] == [MICRO, MACRO]
    assert [row.first_stage for row in rows] == pytest.approx([3 / 6, (2 / 3 + 1) / 4])
    assert [row.published for row in rows] == [0.75, None]
    assert all(row.queries == 4 and row.gain is None for row in rows)


def test_a_sample_of_the_queries_is_not_set_beside_the_published_value(tmp_path: Path) -> None:
    folder = store(tmp_path, Run(manifest(queries=4), RESULTS, QRELS))
    assert all(row.published is None for row in evaluate([folder]).rows)


def test_only_the_first_k_could_have_moved_in_the_ceiling_at_depth_k() -> None:
    run = Run(manifest(depth=2), (result("q", "xab", "xab"),), {"q": {"a": 1, "b": 2}})
    values = query_values(run)
    ideal = 2 + 1 / math.log2(3)
    assert values.ceiling["nDCG@10"][0] == pytest.approx((1 + 2 / 2) / ideal)


def test_grades_under_the_least_count_neither_before_nor_after() -> None:
    values = query_values(Run(manifest(min_grade=2), (result("q", "ba", "ab"),), {"q": {"b": 1}}))
    assert values.natural["nDCG@10"].tolist() == values.ceiling["nDCG@10"].tolist() == [0.0]


@given(st.permutations("abcdefghijkls"), st.integers(1, 12))
@slow(max_examples=40, deadline=None)
def test_a_safeguarded_query_has_0_naturally_in_any_order(order: list[str], depth: int) -> None:
    """Judged documents under the least grade stand in the pool and must gain nothing either."""
    found = result("q", "".join(order), "abcdefghijkls", safeguard="s")
    run = Run(manifest(depth=depth, min_grade=2), (found,), {"q": {"s": 2, "a": 1, "c": 1}})
    values = query_values(run)
    for name in MEASURES:
        assert values.natural[name][0] == values.first_stage[name][0] == 0.0
        assert values.ceiling[name][0] == 0.0
        assert values.ceiling_safeguarded[name][0] > 0.0


@given(st.permutations("abcdefghij"), st.sets(st.sampled_from("abcdefghijz"), min_size=1))
@slow(max_examples=40, deadline=None)
def test_no_order_is_above_the_ceiling(order: list[str], positives: set[str]) -> None:
    found = result("q", "".join(order), "abcdefghij")
    values = query_values(Run(manifest(), (found,), {"q": dict.fromkeys(positives, 1)}))
    for name in MEASURES:
        assert values.ceiling[name][0] >= values.natural[name][0]


def test_identity_gains_nothing(tmp_path: Path) -> None:
    kept = tuple(
        result(q, p, p, safeguard=s) for q, p, s in (("q1", "xab", None), ("q3", "cy", None))
    )
    for row in evaluate([store(tmp_path, Run(manifest(), kept, QRELS))]).rows:
        if row.reranker:
            assert (row.gain, row.gain_low, row.gain_high) == (0.0, None, None)


def test_random_is_the_mean_of_twenty_shuffles_and_not_the_one_stored() -> None:
    pool = "abcdefghijklmnopqrst"
    best = result("q", pool, pool)
    floor = query_values(Run(manifest(method="random"), (best,), {"q": {"a": 1}}))
    assert floor.first_stage["MRR@10"][0] == 1.0
    value = floor.natural["MRR@10"][0]
    shuffles = [
        query_values(
            Run(manifest(method="mine"), (result("q", "".join(order), pool),), {"q": {"a": 1}})
        ).natural["MRR@10"][0]
        for order in orders.shuffles(pool, "q")
    ]
    assert len(shuffles) == 20
    assert value == pytest.approx(np.mean(shuffles))
    assert 0 < value < 1


def test_random_with_a_seed_of_its_own_is_taken_as_stored() -> None:
    told = manifest(method="random")
    told["settings"]["reranker"]["options"] = {"seed": 3}
    values = query_values(Run(told, (result("q", "ab", "ba"),), {"q": {"a": 1}}))
    assert values.natural["MRR@10"][0] == 1.0


def test_the_same_run_twice_is_refused_and_an_empty_or_incomplete_one_named(tmp_path: Path) -> None:
    run = Run(manifest(), RESULTS, QRELS)
    one, two = store(tmp_path / "1", run), store(tmp_path / "2", run)
    assert len(evaluate([one, one]).rows) == len(MEASURES) + 2
    with pytest.raises(BadData, match="the same run"):
        evaluate([one, two])
    with pytest.raises(BadData, match=r"3.*holds no query"):
        evaluate([store(tmp_path / "3", replace(run, results=()))])
    bare = {"format": 1, "settings": {"task": "t"}}
    write_run(tmp_path / "bare", replace(run, manifest=bare))
    with pytest.raises(BadData, match=r"manifest\.json: settings\.profile\.asked is missing"):
        evaluate([tmp_path / "bare"])


def test_a_group_is_the_plain_mean_of_its_tasks_and_only_of_whole_ones(tmp_path: Path) -> None:
    one = Run(manifest(task="Toy/one"), RESULTS, QRELS)
    two = Run(manifest(task="Toy/two"), RESULTS[:1], QRELS)
    half = Run(manifest(task="Toy/two", label="half"), RESULTS[:1], QRELS)
    alone = Run(manifest(task="other"), RESULTS, QRELS)
    (group,) = evaluate([store(tmp_path, run) for run in (one, two, half, alone)]).groups
    assert (group.name, group.tasks) == ("Toy", ("Toy/one", "Toy/two"))
    assert group.left_out == (("dense", "half", "1 of 2 tasks"),)
    assert {row.reranker for row in group.rows} == {"mine"}
    row = row_of(group.rows, "nDCG@10")
    assert row.natural == pytest.approx((AFTER / 4 + AFTER) / 2)
    assert row.gain == pytest.approx(((AFTER - BEFORE - 1) / 4 + AFTER - BEFORE) / 2)
    assert row.gain_low is None, "a task of one query tells nothing of its spread"
    assert (row.queries, row.prompt_tokens, row.calls_per_query) == (5, 257, 11 / 5)


def test_a_mean_is_of_one_model_and_depth_or_of_nothing(tmp_path: Path) -> None:
    runs = [
        Run(manifest(task=f"Toy/{task}", label=label, depth=depth), RESULTS, QRELS)
        for task, label, depth in (
            ("one", "a", 1),
            ("two", "a", 2),
            ("one", "b", 1),
            ("two", "b", 1),
        )
    ]
    (group,) = evaluate([store(tmp_path, run) for run in runs]).groups
    assert group.left_out == (("dense", "a", "not one model, depth and length of texts"),)
    assert {row.reranker for row in group.rows} == {"b"}


def test_a_data_set_without_any_mean_says_why(tmp_path: Path) -> None:
    runs = [
        Run(manifest(task=f"Toy/{t}", depth=d), RESULTS, QRELS) for t, d in (("a", 1), ("b", 2))
    ]
    found = evaluate([store(tmp_path, run) for run in runs])
    assert found.groups == ()
    why = "not one model, depth and length of texts"
    assert found.left_out == (f"Toy · dense · mine: no mean, with {why}",)


def test_runs_of_other_queries_are_set_apart_in_tasks_and_means(tmp_path: Path) -> None:
    """Both of two queries each, but not of the same ones."""
    runs = [
        Run(manifest(task=f"Toy/{task}", label=label), RESULTS[start : start + 2], QRELS)
        for task in ("one", "two")
        for label, start in (("a", 0), ("b", 0), ("c", 2 if task == "one" else 0))
    ]
    found = evaluate([store(tmp_path, run) for run in runs])
    assert {row.key for row in found.rows if row.apart} == {("Toy/one", "dense", "c")}
    assert {row.reranker for row in found.groups[0].rows if row.apart} == {"c"}


def test_the_json_fields_are_those_of_a_row_in_its_order() -> None:
    fields = iter(Row.__dataclass_fields__)
    assert all(name in fields for name in JSON_FIELDS)
    assert JSON_FIELDS[23] == "from_cache"


def test_gpu_seconds_count_every_gpu_at_work_and_only_those() -> None:
    told = manifest() | {"hardware": {"gpu": "H200", "gpus": 8}}
    told["engine"] = {"data_parallel": 2, "tensor_parallel_size": 2}
    spent = tuple(replace(r, usage=Usage(seconds=3.0)) for r in RESULTS)
    row = run_rows(Run(told, spent, QRELS), query_values(Run(told, spent, QRELS)))[0][0]
    assert (row.seconds_per_query, row.gpu_seconds) == (3.0, 12.0)
    assert row.hardware == "H200 x 8"
    told["settings"]["engine"] = {"name": "http"}
    told["engine"] = {"http://b:1": {}, "http://a:1": {}}
    row = run_rows(Run(told, spent, QRELS), query_values(Run(told, spent, QRELS)))[0][0]
    assert (row.gpu_seconds, row.hardware) == (None, "server http://a:1, http://b:1")


def test_seconds_of_a_query_are_not_told_where_a_reply_came_from_the_cache() -> None:
    run = Run(manifest(), RESULTS, QRELS)
    row = run_rows(run, query_values(run))[0][0]
    assert (row.from_cache, row.seconds_per_query, row.gpu_seconds) == (1, None, None)


def test_wins_headroom_and_what_could_move_worked_out_by_hand() -> None:
    run = Run(manifest(), RESULTS, QRELS)
    row = row_of(run_rows(run, query_values(run))[0], "nDCG@10")
    assert (row.wins, row.ties, row.losses) == (1, 2, 1)
    assert row.headroom_captured == pytest.approx((AFTER - BEFORE - 1) / (AFTER - BEFORE))
    # q1 holds documents of three grades and q3 of two; q2 holds none that is natural, q4 nothing.
    assert row.rerankable == 2
    # q1 has a judged negative; of its three documents all are judged, of q3's two one is, and q4
    # has none that could be.
    assert row.judged == pytest.approx((1 + 0 + 0.5) / 3)
