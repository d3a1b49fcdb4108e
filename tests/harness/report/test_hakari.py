"""HAKARI-Bench's result files, and its leaderboard beside the report."""

from __future__ import annotations

import json
import lzma
import math
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rerank_bench.cli import main
from rerank_bench.errors import BadData
from rerank_bench.evaluation import evaluate
from rerank_bench.report import export, to_json
from rerank_bench.runs import QueryResult, Run, run_folder, write_run

SCORES = [
    ("BAAI/bge-reranker", "ShortNano", "org/LongNano", "one", "one", 0.5, 0.75),
    ("BAAI/bge-reranker", "ShortNano", "org/LongNano", "two", "two", 0.25, 0.5),
    ("only/one", "ShortNano", "org/LongNano", "NanoOne", "one", 0.625, None),
    ("only/other", "ShortNano", "org/Elsewhere", "other", "other", 0.875, 0.875),
]
COLUMNS = (
    "model_name VARCHAR, benchmark VARCHAR, dataset_id VARCHAR, task_name VARCHAR, "
    "split_name VARCHAR, score_target VARCHAR, score DOUBLE, aggregate_metric VARCHAR, "
    "embedding_variant_name VARCHAR, candidate_ranking VARCHAR, model_dir VARCHAR, "
    "result_path VARCHAR"
)

INSERT = "INSERT INTO fact_task_score VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def run_of(
    task: str = "LongNano/one", profile: str = "reranking_hybrid", label: str = "mine", **more: Any
) -> Run:
    """Graded pools of 100; a third of the queries has a safeguard, and one failed."""
    rng = random.Random(len(task + profile + label))
    results, qrels = [], {}
    for i in range(12):
        pool = [f"d{j:03}" for j in range(100)]
        guard = "s" if i % 3 == 0 else None
        final = [*pool, *([guard] if guard else [])]
        ranks = {doc_id: rank for rank, doc_id in enumerate(final, 1)}
        rng.shuffle(final)
        if guard:
            final.remove(guard)
            final.insert(i, guard)
        failed = "no answer" if i == 4 else None
        first = tuple(ranks[d] for d in final)
        results.append(
            QueryResult(f"q{i}", tuple(final), (0.0,) * len(final), first, guard, failed)
        )
        qrels[f"q{i}"] = {d: rng.randint(1, 3) for d in ([guard] if guard else rng.sample(pool, 9))}
    settings = {
        "task": task,
        "source": {"kind": "hub", "revision": "abc", "sha256": "def"},
        "profile": {"asked": profile, "resolved": profile, "origin": "shipped"},
        "reranker": {"label": label, "method": "mine", "options": {}},
        "engine": {"name": "none"},
        "depth": None,
        "min_grade": 1,
        "queries": None,
        **more,
    }
    manifest = {"format": 1, "settings": settings, "dataset": "org/LongNano", "split": "one"}
    return Run({**manifest, "is_real": True, "exact_labels": True}, tuple(results), qrels)


def store(root: Path, *runs: Run) -> Path:
    for run in runs:
        own = run.manifest["settings"]
        place = (own["task"], own["profile"]["asked"], own["reranker"]["label"])
        write_run(run_folder(root, *place), run)
    return root


def read(file: Path) -> Any:
    with lzma.open(file) as stream:
        return json.load(stream)


@pytest.fixture
def leaderboard(tmp_path: Path) -> Path:
    duckdb = pytest.importorskip("duckdb")
    file = tmp_path / "leaderboard.duckdb"
    with duckdb.connect(str(file)) as database:
        database.execute(f"CREATE TABLE fact_task_score ({COLUMNS})")
        for *names, natural, safeguarded in SCORES:
            values = {"reranking_without_safeguard": natural, "reranking": safeguarded, "all": 0.99}
            for target, score in values.items():
                hybrid = None if target == "all" else "reranking_hybrid"
                place = [names[0], f"{names[0]}/{names[3]}"]
                row = [*names, target, score, "ndcg@10", None, hybrid, *place]
                if score is not None:
                    cut = [*names, target, 1.0, "ndcg@10", "truncate_dim_64", hybrid, *place]
                    database.executemany(INSERT, [row, cut])
    return file


def bench(*arguments: object, exit_code: int = 0) -> str:
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == exit_code, done.output
    return done.stderr if exit_code else done.stdout


def by_hand(rankings: dict[str, list[str]], relevant: dict[str, set[str]]) -> float:
    """Mean nDCG@10 as HAKARI-Bench computes it from a file: each positive gains 1."""
    values = []
    for query_id, ids in rankings.items():
        own = relevant[query_id]
        gains = [1 / math.log2(rank + 1) for rank, d in enumerate(ids[:10], 1) if d in own]
        best = sum(1 / math.log2(rank + 1) for rank in range(1, min(len(own), 10) + 1))
        values.append(sum(gains) / best)
    return sum(values) / len(values)


def test_a_file_holds_what_its_reader_measures_with_and_without_the_safeguard(
    tmp_path: Path,
) -> None:
    root = store(tmp_path / "runs", run_of())
    (file,) = export([root], tmp_path / "out", "hakari")
    assert file.relative_to(tmp_path / "out").as_posix() == (
        "rerank-bench__mine/org__LongNano/one.json.xz"
    )
    content = read(file)
    stored = content["artifacts"]["top_rankings"]
    relevant = {row["query_id"]: set(row["relevant_corpus_ids"]) for row in stored["qrels"]}
    with_guard = {row["query_id"]: row["corpus_ids"] for row in stored["rankings"]}
    guards = {row["query_id"]: row.get("safeguard_corpus_id") for row in stored["rankings"]}
    without = {q: [d for d in ids if d != guards[q]] for q, ids in with_guard.items()}
    (own,) = evaluate([root]).results.rows("nDCG@10").to_dict("records")
    assert own["natural_binary"] != own["safeguarded_binary"] != own["safeguarded"]
    assert by_hand(without, relevant) == pytest.approx(own["natural_binary"], abs=1e-9)
    assert by_hand(with_guard, relevant) == pytest.approx(own["safeguarded_binary"], abs=1e-9)
    assert content["metrics"]["one_reranker_ndcg@10"] == pytest.approx(own["safeguarded_binary"])
    assert (
        content["evaluation"]["aggregate_metric_value"]
        == content["metrics"]["one_reranker_ndcg@10"]
    )
    assert with_guard["q4"] == []
    assert max(map(len, with_guard.values())) == 100


def test_a_file_says_what_its_candidates_cover(tmp_path: Path) -> None:
    (file,) = export([store(tmp_path / "runs", run_of())], tmp_path / "out", "hakari")
    (found,) = read(file)["evaluation"]["reranking_evaluations"]
    assert found["name"] == "reranking_hybrid_top_101"
    assert found["best_score_name"] == "reranker"
    assert found["safeguard"]["safeguard_corpus_ids_by_query"] == dict.fromkeys(
        ("q0", "q3", "q6", "q9"), "s"
    )
    assert (
        found["safeguard"]["candidate_count_100"],
        found["safeguard"]["candidate_count_101"],
    ) == (8, 4)
    assert found["candidate_coverage"]["query_coverage"] == 1.0


def test_the_model_says_what_a_run_is_other_than_all_queries_after_the_hybrid(
    tmp_path: Path,
) -> None:
    runs = [run_of(), run_of(profile="bm25"), run_of(label="few", queries=12, seed=0)]
    files = export([store(tmp_path / "runs", *runs)], tmp_path / "out", "hakari")
    assert sorted(file.parts[-3] for file in files) == [
        "rerank-bench__few_queries_12__seed_0", "rerank-bench__mine",
        "rerank-bench__mine_first_stage_bm25",
    ]  # fmt: skip


def test_the_leaderboard_is_beside_the_runs_and_in_no_number_of_them(
    tmp_path: Path, leaderboard: Path
) -> None:
    tasks = ("LongNano/one", "LongNano/two")
    runs = [run_of(task) for task in tasks] + [run_of(profile="bm25", label="other")]
    root = store(tmp_path / "runs", *runs, run_of(label="few", queries=12))
    before = to_json(evaluate([root]))
    alone = bench("report", root)
    shown = bench("report", root, "--reference", leaderboard)
    assert shown.startswith(alone)
    mean, one, two = shown[len(alone) :].split(" · after reranking_hybrid")[1:]
    natural = {row["task"]: row["natural_binary"] for row in evaluate([root]).results.main
               if (row["reranker"], row["profile"]) == ("mine", "reranking_hybrid")}  # fmt: skip
    assert rows(one) == [
        ["only/one", "HAKARI-Bench", "0.6250", "–"],
        ["BAAI/bge-reranker", "HAKARI-Bench", "0.5000", "0.7500"],
        ["mine", "these", "runs", f"{natural['LongNano/one']:.4f}", "…"],
    ]
    assert [row[0] for row in rows(two)] == ["BAAI/bge-reranker", "mine"]
    average = sum(natural.values()) / 2
    assert rows(mean)[0] == ["BAAI/bge-reranker", "HAKARI-Bench", "0.3750", "0.6250"]
    assert rows(mean)[1][:4] == ["mine", "these", "runs", f"{average:.4f}"]
    assert to_json(evaluate([root])) == before


def test_runs_that_do_not_compare_with_the_leaderboard_are_counted_with_the_reason(
    tmp_path: Path, leaderboard: Path
) -> None:
    others = [run_of(label="few", queries=12), run_of(profile="bm25"), run_of("Other/task")]
    reasons = [
        "Left out, of a sample of the queries (--queries): 1 of the runs.",
        "Left out, not after reranking_hybrid: 1 of the runs.",
        "No figure for Other/task.",
    ]
    report = ("report", store(tmp_path / "runs", run_of(), *others), "--reference", leaderboard)
    for shown in (bench(*report), bench(*report, "--md").replace("\\", "")):
        words = " ".join(shown.split())
        assert "HAKARI-Bench" in words
        assert all(reason in words for reason in reasons), words
    alone = store(tmp_path / "alone", run_of(label="few", queries=12))
    told = bench("report", alone, "--reference", leaderboard, exit_code=1)
    assert f"has no figure to put beside these runs. {reasons[0]}" in told


def test_one_result_file_gives_both_values_of_a_model_and_each_folder_its_own(
    tmp_path: Path, leaderboard: Path
) -> None:
    """No first stage means the hybrid; of two files of one folder the best counts."""
    duckdb = pytest.importorskip("duckdb")
    task = ("ShortNano", "org/LongNano", "one", "one")
    both = [("dir1", "old", 0.5, 0.5), ("dir1", "new", 0.25, 0.875), ("dir2", "x", 0.375, 0.625)]
    with duckdb.connect(str(leaderboard)) as database:
        for folder, file, *values in both:
            for target, score in zip(
                ("reranking_without_safeguard", "reranking"), values, strict=True
            ):
                row = ["a/b", *task, target, score, "ndcg@10", None, None, folder, file]
                database.execute(INSERT, row)
        dense = ["dense", *task, "all", 0.99, "ndcg@10", None, None, "dense", "dense"]
        database.execute(INSERT, dense)
    root = store(tmp_path / "runs", run_of())
    (one,) = bench("report", root, "--reference", leaderboard).split(" · after reranking_hybrid")[
        1:
    ]
    assert [row for row in rows(one) if row[0] == "a/b"] == [
        ["a/b", "(dir1)", "HAKARI-Bench", "0.5000", "0.5000"],
        ["a/b", "(dir2)", "HAKARI-Bench", "0.3750", "0.6250"],
    ]
    assert "dense" not in one


def test_a_model_with_two_names_for_one_task_stays_in_the_mean(
    tmp_path: Path, leaderboard: Path
) -> None:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(str(leaderboard)) as database:
        row = ["BAAI/bge-reranker", "ShortNano", "org/LongNano", "NanoOne", "one",
               "reranking_without_safeguard", 0.25, "ndcg@10", None,
               "reranking_hybrid", "BAAI/bge-reranker", "again"]  # fmt: skip
        database.execute(INSERT, row)
    root = store(tmp_path / "runs", run_of("LongNano/one"), run_of("LongNano/two"))
    mean, one, _ = bench("report", root, "--reference", leaderboard).split(
        " · after reranking_hybrid"
    )[1:]
    named = "BAAI/bge-reranker"
    assert [row[2:] for row in rows(one) if row[0] == named] == [["0.5000", "0.7500"]]
    assert [row[2:] for row in rows(mean) if row[0] == named] == [["0.3750", "0.6250"]]


def rows(part: str) -> list[list[str]]:
    """The rows of a printed table as words; the safeguarded value of a run is left out."""
    lines = [line.split() for line in part.splitlines()]
    own = [words for words in lines if words[-1:] and words[-1][:2] in ("0.", "–")]
    return [[*words[:-1], "…"] if words[0] == "mine" else words for words in own]


def test_a_run_with_other_settings_is_not_written_over_the_one_that_is_there(
    tmp_path: Path,
) -> None:
    first, out = store(tmp_path / "one", run_of()), tmp_path / "out"
    (file,) = export([first], out, "hakari")
    before = read(file)
    assert export([first], out, "hakari") == [file]
    options = {"label": "mine", "method": "mine", "options": {"window": 5}}
    other = store(tmp_path / "two", run_of(reranker=options))
    with pytest.raises(BadData, match="has a run with other settings; use --as"):
        export([other], out, "hakari")
    assert read(file) == before
    file.write_bytes(b"x")
    with pytest.raises(BadData, match="is no file of an export"):
        export([first], out, "hakari")


@pytest.mark.parametrize("form", ["--json", "--csv", "--latex"])
def test_a_leaderboard_is_for_tables(tmp_path: Path, form: str) -> None:
    assert "--reference is for text tables and --md" in bench(
        "report", tmp_path, "--reference", "x.duckdb", form, exit_code=2
    )


def test_a_leaderboard_that_cannot_be_read_is_named(tmp_path: Path, leaderboard: Path) -> None:
    root = store(tmp_path / "runs", run_of("Other/task"))
    report = ("report", root, "--reference")
    assert "no leaderboard at" in bench(*report, tmp_path / "none", exit_code=1)
    (tmp_path / "text.duckdb").write_text("x" * 5000)
    assert "text.duckdb is no leaderboard" in bench(*report, tmp_path / "text.duckdb", exit_code=1)
    told = bench(*report, leaderboard, exit_code=1)
    assert "has no figure to put beside these runs. No figure for Other/task." in told
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(str(tmp_path / "empty.duckdb")) as database:
        database.execute("CREATE TABLE other (x INTEGER)")
    told = bench(*report, tmp_path / "empty.duckdb", exit_code=1)
    assert "is no leaderboard of HAKARI-Bench" in told


def test_without_duckdb_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    root = store(tmp_path / "runs", run_of())
    told = bench("report", root, "--reference", tmp_path / "x.duckdb", exit_code=1)
    assert "pip install 'rerank-bench[hakari]'" in told
