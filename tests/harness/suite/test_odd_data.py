"""Odd data from the command line to the run folder: what is reported, refused and written."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from rerank_bench import rerank
from rerank_bench.inspect.restore import find_task

QUERIES = {"q1": "apple \ud800 pear", "q2": "plum\0 cake"}
CORPUS = {"d1": "an apple\udfff and a pear", "d2": "plum cake \0\0", "d3": "\ud83d rye", "d4": ""}
QRELS = {"q1": {"d1": 1}, "q2": {"d2": 1}}


def add_to_corpus(data: Path, **values: str) -> None:
    rows = [json.loads(line) for line in (data / "corpus.jsonl").read_text().splitlines()]
    lines = (json.dumps({**row, **values}) for row in rows)
    (data / "corpus.jsonl").write_text("\n".join(lines))


def test_texts_that_no_tokenizer_reads_run_to_the_end(call, beir, tmp_path, cross_encoder):
    data, out = beir(QUERIES, CORPUS, QRELS), tmp_path / "runs"
    add_to_corpus(data, title="T\udead")
    flags = ("--reranker", "cross-encoder", "--model", cross_encoder, "--reranker", "identity")
    result = call("run", "--task", data, "--profile", "bm25()", "--out", out, *flags, "--json")
    note = (
        "data/test: 6 texts in which U+FFFD replaces NUL or a lone surrogate (q1, q2, d1, d2, d3)"
    )
    assert note in result.stderr
    rows = [row for row in json.loads(result.stdout) if row["reranker"]]
    assert {row["failed"] for row in rows} == {0}
    call("report", out, "--html", tmp_path / "page.html", "--detail", "data/test/bm25()/identity")
    call("export", out, "--out", tmp_path / "trec", "--form", "trec")
    call("show", "data/test/bm25()/identity", "q1", "--runs", out)


def test_a_text_given_from_python_is_made_readable_too(cross_encoder):
    model = str(cross_encoder)
    found = rerank("a\ud800", ["b\0", "c\udfff"], reranker="cross-encoder", model=model)
    again = rerank("a\ufffd", ["b\ufffd", "c\ufffd"], reranker="cross-encoder", model=model)
    assert [d.score for d in found] == [d.score for d in again]
    assert {d.text for d in found} == {"b\0", "c\udfff"}


def test_columns_that_are_not_read_are_listed_once_whatever_the_profiles(call, beir):
    data = beir({"q1": "apple"}, {"d1": "apple", "d2": "pear"}, {"q1": {"d1": 1}})
    add_to_corpus(data, url="u", source="s")
    two = ("--profile", "bm25()", "--profile", "rrf(bm25(),bm25())")
    lines = call("pool", "--task", data, *two).stderr.splitlines()
    said = "data/test: 2 columns that are not read (corpus: url, corpus: source)"
    assert lines.count(said) == 1
    assert sum("columns that are not read" in line for line in lines) == 1


def test_a_column_is_ignored_by_flag_by_suite_file_and_by_the_search_for_a_runs_task(
    call, beir, tmp_path
):
    data = beir({"q1": "apple"}, {"d1": "apple", "d2": "pear"}, {"q1": {"d1": 1}})
    add_to_corpus(data, abstract="a", title="t")
    error = call("pool", "--task", data, code=1).stderr
    assert error.startswith("error: ")
    assert "column 'abstract' is not read" in error
    flags = ("--ignore-column", "abstract", "--ignore-column", "title", "--reranker", "identity")
    toml = call("run", "--task", data, *flags, "--print-toml").stdout
    assert tomllib.loads(toml)["defaults"]["ignore-column"] == ["abstract", "title"]
    (tmp_path / "suite.toml").write_text(toml)
    call("run", tmp_path / "suite.toml", "--out", tmp_path / "runs")
    (folder,) = (tmp_path / "runs").glob("*/*/*/*")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert find_task(manifest).corpus == {"d1": "apple", "d2": "pear"}


@pytest.mark.parametrize("command", ["pool", "run"])
def test_ids_that_do_not_match_are_refused_and_keep_going_goes_on(call, beir, tmp_path, command):
    texts = {str(i): f"text {i}" for i in range(1, 11)}
    data = beir(texts, texts, {q: {f"{int(q):03}": 1} for q in texts})
    more = ("--out", tmp_path / "runs", "--reranker", "identity") if command == "run" else ()
    error = call(command, "--task", data, *more, code=1).stderr
    assert "no positive is in" in error
    assert "('001' against '1')" in error
    assert len(error.splitlines()) == 1
    notes = call(command, "--task", data, *more, "--keep-going").stderr
    assert "data/test: 10 positives outside the corpus" in notes


def test_ranks_that_contradict_scores_are_reported_before_anything_runs(call, beir, tmp_path):
    data = beir({"q1": "apple"}, {"d1": "apple", "d2": "pear"}, {"q1": {"d1": 1}})
    file = tmp_path / "mine.run"
    file.write_text("q1 Q0 d1 1 1.5 me\nq1 Q0 d2 2 2.5 me\n")
    flags = ("--profile", f"run({file})", "--reranker", "identity", "--out", tmp_path / "runs")
    lines = call("run", "--task", data, *flags).stderr.splitlines()
    said = "1 queries whose ranks contradict their scores (ordered by score) (q1: d1 at rank 1 has"
    noted = [i for i, line in enumerate(lines) if said in line]
    ran = [i for i, line in enumerate(lines) if line.startswith("done")]
    assert noted[0] < ran[0]
