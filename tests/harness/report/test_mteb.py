from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ir_measures import AP, RR, P, R, Success, nDCG

from rerank_bench.errors import BadData
from rerank_bench.evaluation import strictly_descending
from rerank_bench.report import export
from rerank_bench.report.mteb import (
    CUTOFFS,
    Result,
    experiment_name,
    experiment_of,
    mteb_scores,
    task_result,
)
from rerank_bench.runs import QueryResult, Run, run_folder, write_run

SCORES = st.lists(st.none() | st.floats(-1e40, 1e40) | st.sampled_from([0.0, 1.0, 0.1]), max_size=9)


def run_of(task: str, profile: str = "bm25", **more: Any) -> Run:
    """Pools of 12, of which the first query's fails and the second's has a safeguard."""
    rng = random.Random(1)
    results, qrels = [], {}
    for i in range(8):
        pool = [f"d{j}" for j in range(12)]
        guard = "s" if i == 1 else None
        final = sorted([*pool, *([guard] if guard else [])], key=lambda _: rng.random())
        ranks = tuple([*pool, "s"].index(d) + 1 for d in final)
        scores = tuple(float(-(n // 2)) for n in range(len(final)))
        failed = "no answer" if i == 0 else None
        results.append(QueryResult(f"q{i}", tuple(final), scores, ranks, guard, failed))
        relevant = ["s"] if guard else rng.sample(pool, 3)
        qrels[f"q{i}"] = {d: rng.randint(1, 3) for d in relevant} | {"x": 0}
    settings = {
        "task": task,
        "source": {"kind": "hub", "revision": "abc", "sha256": "def"},
        "profile": {"asked": profile, "resolved": profile, "origin": "computed", "sha256": "123"},
        "reranker": {"label": "mine", "method": "mine", "options": {}},
        "engine": {"name": "none"},
        "depth": None,
        "min_grade": 1,
        "queries": None,
        **more,
    }
    manifest = {"format": 1, "settings": settings, "created": "2026-01-02T03:04:05+00:00"}
    return Run({**manifest, "is_real": True, "exact_labels": True}, tuple(results), qrels)


def store(root: Path, *runs: Run) -> Path:
    for run in runs:
        own = run.manifest["settings"]
        write_run(run_folder(root, own["task"], own["profile"]["asked"], "mine"), run)
    return root


def read(files: list[Path], name: str) -> dict[str, Any]:
    (file,) = [file for file in files if file.name == name]
    content: dict[str, Any] = json.loads(file.read_text())
    return content


def test_every_measure_is_that_of_ir_measures_over_the_predictions(tmp_path: Path) -> None:
    run = run_of("Some/dev")
    files = export([store(tmp_path / "runs", run)], tmp_path / "out", "mteb")
    (ours,) = read(files, "Some.json")["scores"]["dev"]
    predicted = read(files, "Some_predictions.json")["default"]["dev"]
    names = {"ndcg": nDCG, "map": AP, "recall": R, "precision": P, "mrr": RR, "hit_rate": Success}
    measures = {m @ k: f"{name}_at_{k}" for name, m in names.items() for k in CUTOFFS}
    theirs = ir_measures.calc_aggregate(list(measures), run.qrels, predicted)
    assert {name: ours[name] for name in measures.values()} == pytest.approx(
        {name: theirs[measure] for measure, name in measures.items()}, abs=6e-6
    )
    assert ours["main_score"] == ours["ndcg_at_10"] > 0
    assert predicted["q0"] == {}
    assert "s" not in predicted["q1"]


def test_a_ranking_ends_at_the_depth_that_was_reranked(tmp_path: Path) -> None:
    files = export(
        [store(tmp_path / "runs", run_of("Some/dev", depth=5))], tmp_path / "out", "mteb"
    )
    predicted = read(files, "Some_predictions.json")["default"]["dev"]
    assert {len(own) for own in predicted.values()} == {0, 5}
    assert read(files, "model_meta.json")["experiment_kwargs"] == {
        "first_stage": "bm25",
        "depth": 5,
    }


def test_subsets_and_splits_of_a_task_are_one_file_and_first_stages_are_experiments(
    tmp_path: Path,
) -> None:
    names = ("Some/ar-dev", "Some/en-dev", "Some/en-test")
    runs = [run_of(name, profile) for name in names for profile in ("bm25", "dense(a/b)")]
    files = export([store(tmp_path / "runs", *runs)], tmp_path / "out", "mteb")
    results = [file for file in files if file.name == "Some.json"]
    revision = tmp_path / "out" / "results" / "rerank-bench__mine" / "no_revision_available"
    assert [file.parent for file in results] == [
        revision / "experiments" / "first_stage_bm25",
        revision / "experiments" / "first_stage_dense(a_b)",
    ]
    scores = json.loads(results[0].read_text())["scores"]
    found = {split: [entry["hf_subset"] for entry in own] for split, own in scores.items()}
    assert found == {"dev": ["ar", "en"], "test": ["en"]}


def test_a_first_stage_as_a_model_has_the_values_of_the_experiment_and_no_folder_of_one(
    tmp_path: Path,
) -> None:
    runs = [run_of("Some/dev", profile, depth=5) for profile in ("bm25", "dense(a/b)")]
    root = store(tmp_path / "runs", *runs)
    usual = export([root], tmp_path / "usual", "mteb")
    files = export([root], tmp_path / "models", "mteb-models")
    places = [f.relative_to(tmp_path / "models").as_posix() for f in files]
    names = ("depth_5,first_stage_bm25", "depth_5,first_stage_dense(a_b)")
    own = [f"rerank-bench__mine@{name}/no_revision_available" for name in names]
    assert places == [
        file
        for place in own
        for file in (
            f"results/{place}/model_meta.json",
            f"results/{place}/Some.json",
            f"predictions/{place}/Some_predictions.json",
        )
    ]
    for one, other in zip(usual, files, strict=True):
        found, wanted = json.loads(other.read_text()), json.loads(one.read_text())
        if other.name == "Some.json":
            assert found == wanted
        if other.name == "model_meta.json":
            assert found["experiment_kwargs"] is None
            assert f"results/{found['name'].replace('/', '__')}/" in other.as_posix()


def test_what_is_less_than_a_whole_task_is_part_of_the_experiment(tmp_path: Path) -> None:
    run = run_of("Some/dev", queries=8, seed=3, min_grade=2)
    fake = Run({**run.manifest, "is_real": False, "invalid": "it did not answer"}, run.results, {})
    assert experiment_of(fake) == {
        "first_stage": "bm25", "queries": 8, "min_grade": 2, "engine": "none",
        "invalid": "it did not answer", "seed": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("task", "split", "wanted"),
    [
        ("org/Some/dev", None, ("org__Some", "default", "dev")),
        ("mteb:Some", "dev", ("Some", "default", "dev")),
        ("mteb:Some/ar-dev", "dev", ("Some", "ar", "dev")),
        ("mteb:Some/zh-Hans-test_full", None, ("Some", "zh-Hans", "test_full")),
        ("NanoSet/quora", "quora", ("NanoSet__quora", "default", "quora")),
        ("stdlib-code", None, ("stdlib-code", "default", "stdlib-code")),
    ],
)
def test_mteb_names_are_read_in_the_task_and_its_split(
    task: str, split: str | None, wanted: tuple[str, ...]
) -> None:
    run = run_of(task)
    own = Result.of(Run({**run.manifest, "split": split}, run.results, run.qrels))
    assert (own.task, own.subset, own.split) == wanted


@pytest.mark.parametrize(
    ("measure", "name"),
    [("MAP@1000", "map_at_1000"), ("recall@2", "recall_at_2"), (None, "ndcg_at_10")],
)
def test_the_main_score_is_the_main_measure_of_the_task(measure: str | None, name: str) -> None:
    run = run_of("Some/dev")
    own = Result.of(Run({**run.manifest, "main_measure": measure}, run.results, run.qrels))
    (entry,) = task_result([own])["scores"]["dev"]
    assert entry["main_score"] == entry[name] > 0


def test_a_task_whose_main_score_is_not_computed_here_has_no_result_of_mteb(tmp_path: Path) -> None:
    run = run_of("mteb:Core17InstructionRetrieval/eng-test")
    run.manifest.update(main_measure=None, main_score="p-MRR")
    root = store(tmp_path / "runs", run_of("Some/dev"), run)
    told = "main score of Core17InstructionRetrieval is p-MRR, which is not computed here"
    with pytest.raises(BadData, match=told):
        export([root], tmp_path / "out", "mteb")
    assert not [*(tmp_path / "out").rglob("*.json")]
    assert export([root], tmp_path / "trec", "trec")


def test_accuracy_is_recall_at_1() -> None:
    run = run_of("Some/dev")
    own = Result.of(Run({**run.manifest, "main_measure": "recall@1"}, run.results, run.qrels))
    (entry,) = task_result([own])["scores"]["dev"]
    assert entry["main_score"] == entry["accuracy"] == entry["recall_at_1"] > 0


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("dense(/home/me/minilm/)", "dense(minilm)"),
        (
            "rrf(bm25,dense(../models/minilm),run(lists/a.trec))",
            "rrf(bm25,dense(minilm),run(a.trec))",
        ),
        ("dense(org/minilm)", "dense(org/minilm)"),
        ("rrf(bm25(),bm25())", "rrf(bm25(),bm25())"),
    ],
)
def test_a_first_stage_is_named_without_the_folders_of_a_machine(asked: str, name: str) -> None:
    assert experiment_of(run_of("Some/dev", asked))["first_stage"] == name


def test_models_of_one_name_in_two_folders_are_two_experiments(tmp_path: Path) -> None:
    profiles = ("dense(/a/model)", "dense(/b/model)", "dense(/b/other)")
    runs = store(tmp_path / "runs", *(run_of("Some/dev", profile) for profile in profiles))
    files = export([runs], tmp_path / "out", "mteb")
    names = sorted({file.parent.name for file in files if file.name == "Some.json"})
    assert names[2] == "first_stage_dense(other)"
    assert all(re.fullmatch(r"first_stage_dense\(model\)~[0-9a-f]{6}", own) for own in names[:2])
    content = "".join(file.read_text() for file in files)
    assert "/a/model" not in content


@pytest.mark.parametrize(
    ("task", "queries", "codes"),
    [
        ("zh", [], ["cmn-Hans"]),
        ("zh", ["de", "fra_Latn", "tlh"], ["deu-Latn", "fra-Latn", "tlh"]),
        (None, [], ["und"]),
    ],
)
def test_languages_are_those_of_the_queries_or_else_of_the_task(
    tmp_path: Path, task: str | None, queries: list[str], codes: list[str]
) -> None:
    run = run_of("Some/dev")
    run.manifest["language"] = task
    results = [replace(r, language=c) for r, c in zip(run.results, queries, strict=False)]
    run = replace(run, results=(*results, *run.results[len(results) :]))
    files = export([store(tmp_path / "runs", run)], tmp_path / "out", "mteb")
    assert read(files, "Some.json")["scores"]["dev"][0]["languages"] == codes


def test_a_long_name_of_an_experiment_is_hashed() -> None:
    assert experiment_name({"b": 1, "a": "x/y"}) == "a_x_y__b_1"
    assert experiment_name({"first_stage": "x" * 200}).startswith("exp_")


def test_two_runs_of_one_place_are_refused(tmp_path: Path) -> None:
    both = [
        store(tmp_path / "one", run_of("Some/dev")),
        store(tmp_path / "two", run_of("Some/dev")),
    ]
    with pytest.raises(BadData, match="are the same result for MTEB"):
        export(both, tmp_path / "out", "mteb")


@pytest.mark.parametrize(
    ("settings", "mark"),
    [
        ({"qrels": "qrels"}, {}),
        ({"qrels": "other"}, {"qrels": "other"}),
        ({"exclude_identical": False}, {"exclude_identical": False}),
        ({"ignore_column": ["lang", "x"]}, {"ignore_column": "lang,x"}),
        ({"query_prompt": "query: "}, {"query_prompt": "query: "}),
        ({"query_prompt_name": "web"}, {"query_prompt_name": "web"}),
        ({"doc_prompt": ""}, {"doc_prompt": ""}),
        (
            {"reranker": {"label": "mine", "instruction": {"source": "task", "text": "Find."}}},
            {"instructions": "task"},
        ),
        ({"reranker": {"label": "mine", "instruction": {"source": "model default"}}}, {}),
    ],
)
def test_every_setting_that_sets_runs_apart_is_part_of_the_experiment(
    settings: dict[str, Any], mark: dict[str, Any]
) -> None:
    run = run_of("Some/dev", **settings)
    assert experiment_of(run) == {"first_stage": "bm25", **mark}


def test_a_subset_that_is_exported_later_joins_those_that_are_there(tmp_path: Path) -> None:
    """Whatever the order, one file has all of them, as it has after one export of them all."""
    out, names = tmp_path / "out", ("Some/ar-dev", "Some/en-dev", "Some/en-test")
    runs = [run_of(name) for name in names]
    timed = [Run({**r.manifest, "seconds": 2.0}, r.results, r.qrels) for r in runs]
    whole = export([store(tmp_path / "all", *timed)], tmp_path / "whole", "mteb")
    for number in (0, 1, 2, 1):
        files = export([store(tmp_path / str(number), timed[number])], out, "mteb")
    for name in ("Some.json", "Some_predictions.json"):
        assert read(files, name) == read(whole, name)
    assert read(files, "Some.json")["evaluation_time"] == 6.0


def test_another_run_is_not_written_over_the_one_that_is_there(tmp_path: Path) -> None:
    run, out = run_of("Some/dev"), tmp_path / "out"
    (file,) = [
        file
        for file in export([store(tmp_path / "one", run)], out, "mteb")
        if file.name == "Some.json"
    ]
    before = file.read_text()
    other = Run(run.manifest, run.results[::-1], {**run.qrels, "q3": {"x": 1}})
    with pytest.raises(BadData, match=r"Some\.json has another run of subset default, split dev; "):
        export([store(tmp_path / "two", other)], out, "mteb")
    source = {"kind": "hub", "revision": "abd"}
    with pytest.raises(BadData, match="of the data sets' commits abc and abd"):
        export([store(tmp_path / "three", run_of("Some/dev", source=source))], out, "mteb")
    assert file.read_text() == before
    file.write_text("{}")
    with pytest.raises(BadData, match="is no file of an export; remove it"):
        export([tmp_path / "one"], out, "mteb")


@given(SCORES)
def test_falling_scores_are_distinct_in_single_precision_and_keep_the_order(
    scores: list[float | None],
) -> None:
    found = np.array(strictly_descending(scores), dtype=np.float32)
    assert len(found) == len(scores)
    assert (np.diff(found) < 0).all()


def test_scores_that_fall_are_left_as_they_are() -> None:
    assert strictly_descending([3.5, 2.0, -1.25]) == [3.5, 2.0, -1.25]


def test_a_query_without_a_ranking_counts_as_0() -> None:
    scores = mteb_scores([["a"], []], [{"a": 2}, {"a": 1}])
    assert scores["ndcg_at_10"] == scores["mrr_at_1000"] == 0.5
