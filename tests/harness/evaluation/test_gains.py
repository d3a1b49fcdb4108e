from __future__ import annotations

import math
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
    MACRO,
    MEASURES,
    MICRO,
    Evaluation,
    Facts,
    Group,
    evaluate,
    facts,
    orders,
    parts,
    query_values,
    results_of,
)
from rerank_bench.evaluation.reading import find_incomparable
from rerank_bench.reranking import Usage
from rerank_bench.runs import QueryResult, Run, run_folder, write_run


def manifest(
    *, task: str = "Toy/one", label: str = "mine", method: str = "mine", **more: Any
) -> dict[str, Any]:
    return {
        "format": 1,
        "is_real": False,
        "exact_labels": True,
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
    settings = run.manifest["settings"]
    label = settings["reranker"]["label"]
    folder = run_folder(root, settings["task"], settings["profile"]["asked"], label)
    write_run(folder, run)
    return folder


def only(found: Evaluation, measure: str) -> Any:
    """The row of one measure, of a report of one run."""
    (row,) = found.results.rows(measure).itertuples()
    return row


def facts_of(run: Run) -> Facts:
    return Facts(run, query_values(run))


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
    found = evaluate([store(tmp_path, run)])
    row = only(found, "nDCG@10")
    ideal = 1 + 1 / math.log2(3) + 1 / 2
    equal = ((1 / math.log2(3) + 1 / 2) / ideal + 1) / 4
    assert (row.first_stage, row.published) == pytest.approx(((BEFORE + 1) / 4, 0.5))
    assert row.as_published == pytest.approx(equal if convention else row.first_stage)
    assert row.first_stage_binary == pytest.approx(equal)
    assert row.natural_binary == pytest.approx((1 + 1 / math.log2(3)) / ideal / 4)
    assert np.isnan(only(found, "hit@10").as_published)
    recall = found.first_stages.set_index("measure").loc[MICRO]
    assert recall["as_published"] == recall["first_stage"]


def test_a_mean_over_tasks_is_compared_under_the_convention_too(tmp_path: Path) -> None:
    """Where grades are equal there is one convention."""
    equal = {query_id: dict.fromkeys(judged, 1) for query_id, judged in QRELS.items()}
    for task, qrels in (("Toy/one", QRELS), ("Toy/two", equal)):
        store(tmp_path, Run(manifest(task=task) | {"convention": "binary"}, RESULTS, qrels))
    found = evaluate([tmp_path])
    own = found.results.rows("nDCG@10").set_index("task")
    (mean,) = found.means.rows("nDCG@10").itertuples()
    for stage in ("first_stage", "natural", "safeguarded"):
        values = own[f"{stage}_binary"]
        assert getattr(mean, f"{stage}_binary") == pytest.approx(values.mean())
        assert values["Toy/two"] == own[stage]["Toy/two"]
    assert mean.as_published == pytest.approx(mean.first_stage_binary)


def test_a_row_sums_a_run_up(tmp_path: Path) -> None:
    found = evaluate([store(tmp_path, Run(manifest(), RESULTS, QRELS))])
    assert found.rows()["measure"].tolist() == [MICRO, MACRO, *MEASURES]
    row = only(found, "nDCG@10")
    exact = {
        "task": "Toy/one", "profile": "dense", "resolved": "minilm", "origin": "shipped",
        "reranker": "mine", "engine": "fake", "queries": 4, "safeguards": 1, "decided": 1,
        "failed": 1, "repaired": 0, "unparsable": 0, "truncated": 0, "calls_per_query": 7 / 4,
        "rounds": 5 / 4, "prompt_tokens": 157, "output_tokens": 15, "seconds": 0.5,
        "from_cache": 1, "published": 0.5, "wins": 1, "ties": 2, "losses": 1,
        # q1 holds documents of three grades and q3 of two; q2 holds none that is natural.
        "rerankable": 2,
    }  # fmt: skip
    assert {name: getattr(row, name) for name in exact} == exact
    near = {
        "first_stage": (BEFORE + 1) / 4, "natural": AFTER / 4, "safeguarded": (AFTER + 1) / 4,
        "gain": (AFTER - BEFORE - 1) / 4, "gain_safeguarded": (AFTER + 1 - BEFORE - 1) / 4,
        "ceiling": (AFTER + 1) / 4, "headroom_captured": (AFTER - BEFORE - 1) / (AFTER - BEFORE),
        # q1 has a judged negative; of its three documents all are judged, of q3's two one is,
        # and q4 has none that could be.
        "judged": (1 + 0 + 0.5) / 3,
    }  # fmt: skip
    assert {name: getattr(row, name) for name in near} == pytest.approx(near)
    assert row.gain_low <= row.gain <= row.gain_high


@pytest.mark.parametrize(
    ("known", "shown"),
    [
        ({}, "nDCG@10"),
        ({"main_measure": "MAP@5", "main_score": "map_at_5"}, "MAP@5"),
        ({"main_measure": None, "main_score": "p-MRR"}, "p-MRR (not computed here)"),
    ],
)
def test_a_main_score_that_is_not_computed_here_is_named(
    tmp_path: Path, known: dict[str, Any], shown: str
) -> None:
    store(tmp_path, Run({**manifest(), **known}, RESULTS, QRELS))
    assert only(evaluate([tmp_path]), "nDCG@10").main_measure == shown


def test_recall_is_the_first_stages_and_given_once(tmp_path: Path) -> None:
    """q1 has two of three positives in its pool, q3 its one; a safeguard is none of the pool."""
    store(tmp_path, Run(manifest(label="few", queries=1), RESULTS[:1], QRELS))
    store(tmp_path, Run(manifest(), RESULTS, QRELS))
    rows = evaluate([tmp_path]).rows().query("reranker.isna()")
    assert rows["measure"].tolist() == [MICRO, MACRO]
    assert rows["first_stage"].tolist() == pytest.approx([3 / 6, (2 / 3 + 1) / 4])
    assert rows["published"].fillna(0).tolist() == [0.75, 0]
    assert set(rows["queries"]) == {4}


def test_a_sample_of_the_queries_is_not_compared_with_the_published_value(tmp_path: Path) -> None:
    found = evaluate([store(tmp_path, Run(manifest(queries=4), RESULTS, QRELS))])
    assert found.rows()["published"].isna().all()


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
    """Judged documents under the least grade are in the pool and must gain nothing either."""
    found = result("q", "".join(order), "abcdefghijkls", safeguard="s")
    run = Run(manifest(depth=depth, min_grade=2), (found,), {"q": {"s": 2, "a": 1, "c": 1}})
    values = query_values(run)
    for name in MEASURES:
        assert values.natural[name][0] == values.first_stage[name][0] == 0.0
        assert values.ceiling[name][0] == 0.0
        assert values.ceiling_safeguarded[name][0] > 0.0


@given(
    st.permutations("abcdefghij"),
    st.dictionaries(st.sampled_from("abcdefghijz"), st.integers(0, 3), min_size=1),
    st.integers(1, 12),
)
@slow(max_examples=40, deadline=None)
def test_no_order_of_what_may_move_is_above_the_ceiling(
    order: list[str], judged: dict[str, int], depth: int
) -> None:
    pool = "abcdefghij"
    ranking = "".join(d for d in order if d in pool[:depth]) + pool[depth:]
    values = query_values(Run(manifest(depth=depth), (result("q", ranking, pool),), {"q": judged}))
    for name in MEASURES:
        assert values.ceiling[name][0] >= values.natural[name][0] - 1e-12


def test_identity_gains_nothing(tmp_path: Path) -> None:
    kept = tuple(
        result(q, p, p, safeguard=s) for q, p, s in (("q1", "xab", None), ("q3", "cy", None))
    )
    values = evaluate([store(tmp_path, Run(manifest(), kept, QRELS))]).values
    assert (values["gain"] == 0).all()
    assert values[["gain_low", "gain_high"]].isna().all(axis=None)


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
    own_manifest = manifest(method="random")
    own_manifest["settings"]["reranker"]["options"] = {"seed": 3}
    values = query_values(Run(own_manifest, (result("q", "ab", "ba"),), {"q": {"a": 1}}))
    assert values.natural["MRR@10"][0] == 1.0


def test_the_same_run_twice_is_refused_and_an_empty_or_incomplete_one_named(tmp_path: Path) -> None:
    run = Run(manifest(), RESULTS, QRELS)
    one, two = store(tmp_path / "1", run), store(tmp_path / "2", run)
    assert len(evaluate([one, one]).values) == len(MEASURES)
    with pytest.raises(BadData, match="the same run"):
        evaluate([one, two])
    with pytest.raises(BadData, match=r"3.*holds no query"):
        evaluate([store(tmp_path / "3", replace(run, results=()))])
    bare = {"format": 1, "settings": {"task": "t"}}
    write_run(tmp_path / "bare", replace(run, manifest=bare))
    with pytest.raises(BadData, match=r"manifest\.json: settings\.profile\.asked is missing"):
        evaluate([tmp_path / "bare"])


def test_a_mean_is_the_plain_one_of_a_data_sets_tasks_and_only_of_whole_ones(
    tmp_path: Path,
) -> None:
    for run in (
        Run(manifest(task="Toy/one"), RESULTS, QRELS),
        Run(manifest(task="Toy/two"), RESULTS[:1], QRELS),
        Run(manifest(task="Toy/two", label="half"), RESULTS[:1], QRELS),
        Run(manifest(task="other"), RESULTS, QRELS),
    ):
        store(tmp_path, run)
    found = evaluate([tmp_path])
    left_out = (("dense", "half", "1 of 2 tasks"),)
    assert found.groups == (Group("Toy", ("Toy/one", "Toy/two"), left_out),)
    (row,) = found.means.rows("nDCG@10").itertuples()
    assert (row.task, row.reranker) == ("Toy", "mine")
    assert row.natural == pytest.approx((AFTER / 4 + AFTER) / 2)
    assert row.gain == pytest.approx(((AFTER - BEFORE - 1) / 4 + AFTER - BEFORE) / 2)
    assert np.isnan(row.gain_low), "a task of one query has no known spread"
    assert (row.queries, row.prompt_tokens, row.calls_per_query) == (5, 257, 11 / 5)


OTHER = "not one model, depth and length of texts"


def test_a_mean_is_of_one_model_and_depth_or_of_nothing_and_says_why(tmp_path: Path) -> None:
    depths = {("one", "a"): 1, ("two", "a"): 2, ("one", "b"): 1, ("two", "b"): 1}
    for (task, label), depth in depths.items():
        own_manifest = manifest(task=f"Toy/{task}", label=label, depth=depth)
        store(tmp_path / label, Run(own_manifest, RESULTS, QRELS))
    found = evaluate([tmp_path])
    assert found.groups[0].left_out == (("dense", "a", OTHER),)
    assert set(found.means.runs["reranker"]) == {"b"}
    alone = evaluate([tmp_path / "a"])
    assert (alone.groups, len(alone.means.values)) == ((), 0)
    assert alone.left_out == (f"Toy · dense · a: no mean, with {OTHER}",)


def test_runs_of_other_queries_are_set_apart_in_tasks_and_means(tmp_path: Path) -> None:
    """Both of two queries each, but not of the same ones."""
    for task in ("one", "two"):
        for label in "abc":
            start = 2 if (task, label) == ("one", "c") else 0
            own_manifest = manifest(task=f"Toy/{task}", label=label)
            store(tmp_path, Run(own_manifest, RESULTS[start : start + 2], QRELS))
    found = evaluate([tmp_path])
    assert apart(found.runs) == [("Toy/one", "c")]
    assert apart(found.means.runs) == [("Toy", "c")]


def apart(runs: Any) -> list[tuple[str, str]]:
    own = runs[find_incomparable(runs)]
    return list(zip(own["task"], own["reranker"], strict=True))


USUAL = {"queries": 30, "ground": 0}


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([{}, {}], []),
        ([{}, {"ground": 1}], ["c"]),
        ([{"ground": 1, "queries": 10}] * 3, ["b", "c", "d"]),
        ([{}, {"ground": 1, "queries": 33}], ["c"]),
        ([{"ground": 1, "judgements": "grades from 2"}], ["b"]),
        ([{"ground": 1, "queries": 10, "task": "u"}, {"ground": 1, "profile": "x"}], []),
    ],
    ids=["same", "other queries", "a sample", "a few more", "other judgements", "other tables"],
)
def test_what_most_results_of_a_table_rest_on_is_what_compares(
    others: list[dict], expected: list[str]
) -> None:
    rows = [
        {"task": "t", "profile": "p", "reranker": name, **USUAL, **own}
        for name, own in zip("abcd", [{}, *others], strict=False)
    ]
    assert [reranker for _, reranker in apart(results_of(rows).runs)] == expected


def test_gpu_seconds_count_every_gpu_at_work_and_only_those() -> None:
    own_manifest = manifest() | {"hardware": {"gpu": "H200", "gpus": 4}}
    own_manifest["engine"] = {"tensor_parallel_size": 2}  # an option, whose meaning is vLLM's
    spent = tuple(replace(r, usage=Usage(seconds=3.0)) for r in RESULTS)
    own = facts_of(Run(own_manifest, spent, QRELS))
    assert (facts.seconds_per_query(own), facts.gpu_seconds(own)) == (3.0, 12.0)
    assert parts.hardware(own_manifest) == "H200 x 4"
    own_manifest["hardware"] = {"servers": ["http://b:1", "http://a:1"]}
    own = facts_of(Run(own_manifest, spent, QRELS))
    assert facts.gpu_seconds(own) is None
    assert parts.hardware(own_manifest) == "server http://a:1, http://b:1"


def test_seconds_of_a_query_are_missing_where_a_reply_came_from_the_cache() -> None:
    own = facts_of(Run(manifest(), RESULTS, QRELS))
    assert (own.spent.from_cache, facts.seconds_per_query(own)) == (1, None)


@pytest.mark.parametrize(("depth", "expected"), [(None, 1), (3, 0), (4, 1)])
def test_a_query_whose_positive_lies_below_the_depth_cannot_be_reranked(
    depth: int | None, expected: int
) -> None:
    run = Run(manifest(depth=depth), (result("q", "abcd", "abcd"),), {"q": {"d": 1}})
    assert facts.rerankable(facts_of(run)) == expected


def test_noise_is_over_repeats_of_the_same_settings_in_which_nothing_failed(
    tmp_path: Path,
) -> None:
    """One repeat has other settings, and in one a query failed: they differ most, for a reason."""
    runs: list[tuple[str, str, dict]] = [
        ("dabc", "dabc", {}),
        ("dabc", "abdc", {"variant": {"repeat": 2, "shuffled": True}}),
        ("abcd", "abcd", {"variant": {"repeat": 3, "shuffled": True}, "depth": 4}),
        ("dabc", "", {"variant": {"repeat": 4, "shuffled": True}}),
    ]
    for number, (*rankings, settings) in enumerate(runs):
        results = tuple(
            result(f"q{i}", own or "abcd", "abcd", failed=None if own else "no answer")
            for i, own in enumerate(rankings)
        )
        qrels = {"q0": {"d": 1}, "q1": {"d": 1}}
        write_run(tmp_path / str(number), Run(manifest(**settings), results, qrels))
    row = only(evaluate([tmp_path]), "MRR@10")
    assert (row.natural, row.repeats) == (1.0, 2)
    assert row.noise == pytest.approx((1 - 1 / 3) / 2)
