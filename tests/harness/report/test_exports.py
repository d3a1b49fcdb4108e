from __future__ import annotations

import csv
import json
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import ir_measures
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, RR, Success, nDCG

from rerank_bench.cli import main
from rerank_bench.errors import BadData, RerankBenchError, UnknownName
from rerank_bench.evaluation import evaluate, query_values, records
from rerank_bench.report import export, to_csv, to_json, to_latex
from rerank_bench.report.exports import write_trec
from rerank_bench.report.latex import escape_latex
from rerank_bench.report.notes import sentence
from rerank_bench.runs import QueryResult, Run, Variant, run_folder, write_run

NAMES = {nDCG @ 10: "nDCG@10", Success @ 10: "hit@10", RR @ 10: "MRR@10", AP @ 100: "MAP@100"}


def run_of(
    *,
    label: str = "mine",
    task: str = "toy",
    profile: str = "bm25",
    queries: int = 12,
    seed: int = 1,
    variant: Variant | None = None,
    fails: bool = True,
    **more: Any,
) -> Run:
    """Pools of 15 in random orders; some have a safeguard, some failed, one is empty."""
    rng = random.Random(seed)
    results, qrels = [], {}
    for i in range(queries):
        pool = [f"d{j}" for j in range(15)]
        rng.shuffle(pool)
        safeguard = "s" if i % 4 == 1 else None
        final = pool + ([safeguard] if safeguard else [])
        ranks = {doc_id: rank for rank, doc_id in enumerate(final, 1)}
        rng.shuffle(final)
        graded = [*(["s"] if safeguard else rng.sample(pool, 3)), "elsewhere"]
        qrels[f"q{i}"] = {doc_id: rng.randint(1, 3) for doc_id in graded} | {"x": 0}
        failed = "no answer" if fails and i % 5 == 3 else None
        doc_ids = tuple(final) if i != 2 else ()
        results.append(
            QueryResult(
                f"q{i}", doc_ids, tuple(0.5 for _ in doc_ids), tuple(ranks[d] for d in doc_ids),
                safeguard=safeguard if doc_ids else None, failed=failed, language="de",
            )
        )  # fmt: skip
    settings_ = {
        "task": task,
        "profile": {"asked": profile, "resolved": "bm25()", "origin": "computed"},
        "reranker": {"label": label, "method": "mine", "options": {}},
        "engine": {"name": "none"},
        "depth": None,
        "min_grade": 1,
        "queries": None,
        **(variant.settings if variant else {}),
        **more,
    }
    return Run({"format": 1, "settings": settings_}, tuple(results), qrels)


def store(root: Path, run: Run) -> Path:
    own = run.manifest["settings"]
    label = own["reranker"]["label"] + Variant.of(own).suffix
    folder = run_folder(root, own["task"], own["profile"]["asked"], label)
    write_run(folder, run)
    return folder


def by_trec_eval(folder: Path, name: str) -> dict[str, float]:
    """Means over all judged queries, by pytrec_eval through ir_measures, as `trec_eval -c` does."""
    qrels = list(ir_measures.read_trec_qrels(str(folder / "qrels.txt")))
    run = list(ir_measures.read_trec_run(str(folder / name)))
    found = ir_measures.calc_aggregate(list(NAMES), qrels, run)
    return {NAMES[measure]: value for measure, value in found.items()}


@given(st.integers(0, 10_000), st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_the_files_measure_what_the_report_does(
    tmp_path_factory: pytest.TempPathFactory, seed: int, min_grade: int
) -> None:
    folder = tmp_path_factory.mktemp("trec")
    run = run_of(seed=seed, min_grade=min_grade)
    values = query_values(run)
    write_trec(run, folder, tag="mine")
    stages = {
        "first-stage.run": values.first_stage,
        "natural.run": values.natural,
        "safeguarded.run": values.safeguarded,
    }
    for name, ours in stages.items():
        theirs = by_trec_eval(folder, name)
        for measure in NAMES.values():
            assert theirs[measure] == pytest.approx(float(ours[measure].mean()), abs=1e-9), name


def test_ir_measures_prints_the_values_of_the_report_for_the_exported_files(
    tmp_path: Path,
) -> None:
    root = tmp_path / "runs"
    store(root, run_of())
    flags = ["--form", "trec", "--out", str(tmp_path)]
    assert CliRunner().invoke(main, ["export", str(root), *flags]).exit_code == 0
    folder = tmp_path / "toy" / "bm25" / "mine"
    command = [sys.executable, "-m", "ir_measures", folder / "qrels.txt", folder / "natural.run"]
    done = subprocess.run(
        [*command, "--places", "9", *map(str, NAMES)], capture_output=True, text=True, check=True
    )
    printed = dict(line.split("\t") for line in done.stdout.splitlines())
    rows = evaluate([root]).results.rows().set_index("measure")["natural"]
    assert len(printed) == len(NAMES)
    for measure, name in NAMES.items():
        assert float(printed[str(measure)]) == pytest.approx(rows[name], abs=1e-9)


@pytest.mark.parametrize("min_grade", [1, 2])
def test_ranx_measures_its_files_as_the_report_does(tmp_path: Path, min_grade: int) -> None:
    import ranx

    run = run_of(min_grade=min_grade)
    root = tmp_path / "runs"
    store(root, run)
    files = {file.stem: str(file) for file in export([root], tmp_path / "out", "ranx")}
    assert sorted(files) == ["first-stage", "natural", "qrels", "safeguarded"]
    values = query_values(run)
    stages = {
        "first-stage": values.first_stage,
        "natural": values.natural,
        "safeguarded": values.safeguarded,
    }
    names = {
        "ndcg@10": "nDCG@10",
        "hit_rate@10": "hit@10",
        "mrr@10": "MRR@10",
        "map@100": "MAP@100",
    }
    for name, ours in stages.items():
        qrels, stored = ranx.Qrels.from_file(files["qrels"]), ranx.Run.from_file(files[name])
        theirs = ranx.evaluate(qrels, stored, list(names), make_comparable=True)
        for key, measure in names.items():
            assert theirs[key] == pytest.approx(float(ours[measure].mean()), abs=1e-9), name


def test_a_run_file_is_tie_free_and_in_the_order_of_its_scores(tmp_path: Path) -> None:
    """All scores of the run itself are equal."""
    write_trec(run_of(), tmp_path, tag="mine~1")
    lines = [line.split() for line in (tmp_path / "safeguarded.run").read_text().splitlines()]
    assert {(line[1], line[5]) for line in lines} == {("Q0", "mine~1")}
    first = [line for line in lines if line[0] == "q1"]
    assert [int(line[3]) for line in first] == list(range(1, 17))
    assert [int(line[4]) for line in first] == list(range(15, -1, -1))
    assert not any(line[0] in {"q2", "q3", "q8"} for line in lines)


def test_the_safeguard_is_in_one_file_alone(tmp_path: Path) -> None:
    write_trec(run_of(), tmp_path, tag="t")
    found = {name.name: " s " in name.read_text() for name in tmp_path.glob("*.run")}
    assert found == {"first-stage.run": False, "natural.run": False, "safeguarded.run": True}


@pytest.mark.parametrize(
    ("query_id", "doc_id", "message"),
    [
        ("a b", "d", "query id 'a b'"),
        ("q", "d\t1", r"document id 'd\\t1'"),
        ("q", "d\u3000e", r"document id 'd\\u3000e'"),
        ("q", "", "document id ''"),
    ],
)
def test_an_id_that_would_break_the_columns_is_named(
    tmp_path: Path, query_id: str, doc_id: str, message: str
) -> None:
    run = run_of(queries=0)
    result = QueryResult(query_id, (doc_id,), (1.0,), (1,))
    with pytest.raises(BadData, match=message):
        write_trec(Run(run.manifest, (result,), {query_id: {}}), tmp_path, tag="t")
    judged = Run(run.manifest, (QueryResult(query_id, (), (), ()),), {query_id: {doc_id: 1}})
    with pytest.raises(BadData, match=message):
        write_trec(judged, tmp_path, tag="t")


def test_trec_files_have_the_folders_of_their_runs_variants_too(tmp_path: Path) -> None:
    store(tmp_path / "runs", run_of(task="Set/one", profile="bm25()", label="two words"))
    store(tmp_path / "runs", run_of(task="Set/one", profile="bm25()", variant=Variant(repeat=2)))
    written = export([tmp_path / "runs"], tmp_path / "out", "trec")
    names = {path.relative_to(tmp_path / "out").parent.as_posix() for path in written}
    assert names == {"Set/one/bm25%28%29/two%20words", "Set/one/bm25%28%29/mine~repeat-2"}
    assert len(written) == 8
    assert all(path.is_file() for path in written)
    assert written[1].read_text().splitlines()[0].endswith(" mine~repeat-2")


def test_one_run_is_exported_once_and_two_of_one_name_are_refused(tmp_path: Path) -> None:
    store(tmp_path / "runs", run_of())
    again = [tmp_path / "runs", tmp_path / "runs" / "toy"]
    assert len(export(again, tmp_path / "out", "trec")) == 4
    store(tmp_path / "others", run_of(seed=2))
    with pytest.raises(BadData, match="are the same run"):
        export([tmp_path / "runs", tmp_path / "others"], tmp_path / "out", "trec")


def tables(tmp_path: Path) -> Path:
    root = tmp_path / "runs"
    for task in ("Set/one", "Set/two"):
        store(root, run_of(task=task))
        store(root, run_of(task=task, label="other", seed=2))
    store(root, run_of(task="Set/one", variant=Variant(order="reverse")))
    return root


def test_csv_has_rows_means_strata_and_every_query_of_the_main_runs(tmp_path: Path) -> None:
    root = tables(tmp_path)
    rows, means, queries, strata = export([root], tmp_path / "out", "csv")
    names = [path.stem for path in (rows, means, queries, strata)]
    assert names == ["rows", "means", "queries", "strata"]
    parts = [r for r in csv.DictReader(strata.open(encoding="utf-8")) if r["kind"] != "language"]
    assert sum(int(r["queries"]) for r in parts if r["kind"] == "positive's rank") == 4 * 12
    both = [file.read_text(encoding="utf-8") for file in (rows, means)]
    assert both[0] + both[1].partition("\n")[2] == to_csv(evaluate([root]))
    by_query = list(csv.DictReader(queries.open(encoding="utf-8")))
    assert len(by_query) == 4 * 12
    own = [r for r in by_query if (r["task"], r["reranker"]) == ("Set/one", "mine")]
    values = query_values(run_of(task="Set/one"))
    assert [float(r["natural"]) for r in own] == values.natural["nDCG@10"].tolist()
    assert {r["task"] for r in csv.DictReader(means.open(encoding="utf-8"))} == {"Set"}


def test_parquet_has_the_same_numbers_with_types(tmp_path: Path) -> None:
    root = tables(tmp_path)
    rows, means, queries, _ = export([root], tmp_path / "out", "parquet")
    found = pq.read_table(rows)
    objects = json.loads(to_json(evaluate([root])))
    assert found.column_names == list(objects[0])
    assert found.to_pylist() == objects[: found.num_rows]
    kinds = {field.name: str(field.type) for field in found.schema}
    assert (kinds["noise"], kinds["depth"], kinds["starred"]) == ("double", "int64", "bool")
    assert kinds["invalid"] == "string"
    assert pq.read_table(queries).num_rows == 48
    assert pq.read_table(means).num_rows == 8


def test_latex_has_a_line_per_reranker_and_says_what_stars_mean(tmp_path: Path) -> None:
    for profile in ("bm25", "dense(e5_small)"):
        store(tmp_path, run_of(profile=profile, queries=30, fails=False, label="50%_{best}\\"))
        store(tmp_path, run_of(profile=profile, queries=25, label="few", seed=3))
    store(tmp_path, run_of(label="only", queries=30, seed=4))
    text = to_latex(evaluate([tmp_path]))
    assert text.count("\\begin{tabular}{lll}") == text.count("\\end{tabular}") == 1
    lines = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert lines[0] == "reranker & bm25 & dense(e5\\_small) \\\\"
    assert len(lines) == 3
    assert any(line.startswith("50\\%\\_\\{best\\}\\textbackslash{} & $") for line in lines)
    assert next(line for line in lines if line.startswith("only")).endswith("& -- \\\\")
    assert "Left out, for other queries, pools or judgements: few (25 queries)." in text
    assert "Holm over" in text
    assert all(line.count("$") % 2 == 0 for line in text.splitlines())


def test_gains_in_latex_are_those_of_the_report_and_starred_as_there(tmp_path: Path) -> None:
    results = tuple(
        QueryResult(f"q{i}", ("a", *"xyz"), (None,) * 4, (2 + i % 3, 1, *{2, 3, 4} - {2 + i % 3}))
        for i in range(40)
    )
    run = Run(run_of().manifest, results, {r.query_id: {"a": 1} for r in results})
    store(tmp_path, run)
    found = evaluate([tmp_path])
    (row,) = found.results.rows("nDCG@10").itertuples()
    assert row.starred
    text = to_latex(found)
    assert (
        f"${row.gain:+.4f}^{{*}}$ {{\\footnotesize $[{row.gain_low:+.3f}, {row.gain_high:+.3f}]$}}"
        in text
    )


def test_equal_gains_are_written_without_an_interval_in_every_form(tmp_path: Path) -> None:
    results = tuple(QueryResult(f"q{i}", ("a", "x"), (None,) * 2, (2, 1)) for i in range(30))
    run = Run(run_of().manifest, results, {r.query_id: {"a": 1} for r in results})
    store(tmp_path, run)
    found = evaluate([tmp_path])
    assert "{\\footnotesize --}" in to_latex(found)
    assert "too few queries, equal gains" in to_latex(found)
    (row,) = records(found.results.rows("nDCG@10"))
    words = f"Best is mine with {row['gain']:+.4f}; no gain was tested: too few queries, or all"
    assert sentence([row]) == f"{words} gains are equal."


def test_the_best_reranker_on_average_comes_first(tmp_path: Path) -> None:
    for profile in ("bm25", "dense"):
        for seed, label in enumerate("abcdef"):
            store(tmp_path, run_of(profile=profile, label=label, seed=seed))
    gains = evaluate([tmp_path]).results.rows("nDCG@10").groupby("reranker")["gain"].mean()
    best_first = list(gains.sort_values(ascending=False).index)
    assert best_first != sorted(gains)
    assert re.findall(r"^([a-f]) &", to_latex(evaluate([tmp_path])), re.MULTILINE) == best_first


def test_means_of_a_data_set_come_before_its_tasks(tmp_path: Path) -> None:
    text = to_latex(evaluate([tables(tmp_path)]))
    assert re.findall(r"caption\{([^:]*):", text) == [
        "Set, mean of 2 tasks, 24 queries", "Set/one, 12 queries", "Set/two, 12 queries",
    ]  # fmt: skip
    assert "No gain was tested" in text


def test_no_name_is_read_as_a_command() -> None:
    hostile = "\\input{x} $a_b^c$ 100% #1 & ~ [i] * <b> |\n\x1b"
    assert escape_latex(hostile) == (
        "\\textbackslash{}input\\{x\\} \\$a\\_b\\textasciicircum{}c\\$ 100\\% \\#1 \\& "
        "\\textasciitilde{} {[}i{]} {*} \\textless{}b\\textgreater{} \\textbar{}"
        "\\textbackslash{}x0a\\textbackslash{}x1b"
    )


def test_a_wrong_form_an_empty_folder_and_a_full_disk_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean latex"):
        export([tmp_path], tmp_path / "out", "latx")
    (tmp_path / "runs").mkdir()
    for form in ("trec", "csv", "latex"):
        with pytest.raises(BadData, match="no finished run"):
            export([tmp_path / "runs"], tmp_path / "out", form)
    store(tmp_path / "runs", run_of())
    (tmp_path / "file").write_text("")
    with pytest.raises(RerankBenchError, match="cannot write into"):
        export([tmp_path / "runs"], tmp_path / "file", "trec")
