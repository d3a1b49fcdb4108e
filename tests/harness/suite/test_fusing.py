"""`rerank-bench fuse`: runs made of finished runs."""

from __future__ import annotations

import json
import shutil

import pytest

from rerank_bench import load_run, load_runs
from rerank_bench.reranking import Scope
from rerank_bench.suite import run_suite

QUERIES = {f"q{i}": f"apple pear{i}" for i in range(6)}
CORPUS = {f"d{i}": f"apple number {i} pear{i % 6}" for i in range(30)}
QRELS = {f"q{i}": {f"d{i}": 2, f"d{i + 6}": 1} for i in range(6)}
PAIRS = "cross-encoder:engine=fake"


@pytest.fixture
def data(beir):
    return beir(QUERIES, CORPUS, QRELS)


@pytest.fixture
def stored(suite_of, data):
    suite = suite_of(data, PAIRS, "reverse", "random:seed=1,as=mixed", profiles=("bm25()",))
    run_suite(suite)
    return suite.out


def place(root, label):
    return root / "data" / "test" / "bm25%28%29" / label


def test_fused_runs_are_runs_like_any_other(call, stored):
    done = call("fuse", "cross-encoder", "mixed", "--runs", stored, "--as", "both", "--json")
    found = load_run(place(stored, "both"))
    one, other = (load_run(place(stored, label)) for label in ("cross-encoder", "mixed"))
    for a, b, c in zip(found.results, one.results, other.results, strict=True):
        ranks = [{d: r for r, d in enumerate(x.doc_ids, 1)} for x in (b, c)]
        sums = {d: sum(1 / (60 + own[d]) for own in ranks) for d in a.doc_ids}
        assert list(a.scores) == pytest.approx([sums[d] for d in a.doc_ids])
        assert list(a.scores) == sorted(a.scores, reverse=True)
        assert a.usage == b.usage + c.usage
    rows = json.loads(done.stdout)
    assert {row["reranker"] for row in rows} - {None} == {"both"}
    row = next(r for r in load_runs(stored).rows.to_dict("records") if r["reranker"] == "both")
    assert row["engine"] == "fake"
    settings = found.manifest["settings"]["reranker"]
    assert [own["label"] for own in settings["stages"].values()] == ["cross-encoder", "mixed"]
    again = call("fuse", "cross-encoder", "mixed", "--runs", stored, "--as", "both")
    assert "already done" in again.stderr
    assert "both" in call("report", stored).stdout
    call("compare", "both", "cross-encoder", "--runs", stored)
    call("export", stored, "--out", stored.parent / "files", "--form", "trec")


def test_a_fusion_under_a_taken_name_is_refused(call, refused, stored):
    call("fuse", "cross-encoder", "mixed", "--runs", stored, "--as", "both")
    error = refused("fuse", "cross-encoder", "reverse", "--runs", stored, "--as", "both")
    assert "other settings" in error


def test_runs_of_one_label_are_not_fused(refused, stored, tmp_path):
    copy = tmp_path / "other" / "data" / "test" / "bm25%28%29" / "mixed"
    shutil.copytree(place(stored, "mixed"), copy)
    error = refused("fuse", place(stored, "mixed"), copy, "--runs", stored)
    assert "have one label, mixed" in error
    assert "--as" in error


def test_the_label_tells_method_and_weights(call, stored):
    flags = ["--method", "minmax", "--weights", "3,1", "--with-first-stage", "0.4"]
    call("fuse", "cross-encoder", "mixed", "--runs", stored, *flags)
    label = "minmax(0.45*cross-encoder,0.15*mixed,0.4*first-stage)"
    labels = {row["reranker"] for row in load_runs(stored).rows.to_dict("records")}
    assert label in labels


def test_the_scores_of_the_first_stage_are_used_where_known(call, stored):
    flags = ["--method", "zscore", "--with-first-stage", "0.999", "--as", "z"]
    done = call("fuse", "reverse", "--runs", stored, *flags)
    assert "not known" not in done.stderr
    for result in load_run(place(stored, "z")).results:
        known = [score for score in result.first_stage_scores if score is not None]
        assert known == sorted(known, reverse=True)
        assert list(result.first_stage_ranks) != sorted(result.first_stage_ranks)  # of equal scores


def test_ranks_are_used_and_told_where_the_first_stage_has_no_scores(
    call, refused, suite_of, data, tmp_path
):
    order = {q: [f"d{(i + n) % 30}" for n in range(8)] for i, q in enumerate(QUERIES)}
    rows = [{"query-id": q, "corpus-ids": ids} for q, ids in order.items()]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    suite = suite_of(data, "reverse", profiles=(f"run({tmp_path / 'pool.jsonl'})",))
    (folder,) = run_suite(suite)
    flags = [folder, "--runs", suite.out, "--with-first-stage", "0.9", "--as", "f", "--method"]
    done = call("fuse", *flags, "minmax")
    assert "first stage's scores are not known; its ranks are fused" in done.stderr
    for result in load_run(folder.parent / "f").results:
        assert list(result.first_stage_ranks) == sorted(result.first_stage_ranks)
    assert "take --method rrf, minmax or zscore" in refused("fuse", *flags, "weighted")


def test_a_cascade_can_be_fused_and_each_run_costs_once(call, suite_of, data):
    suite = suite_of(data, f"{PAIRS} then {PAIRS},max_doc_tokens=2,as=short at 5")
    _, both = run_suite(suite)
    label = "cross-encoder+short@5"
    call("fuse", label, label, "--runs", suite.out, "--as", "twice", "--method", "zscore")
    one, two = load_run(both), load_run(both.parent / "twice")
    assert [r.doc_ids for r in one.results] == [r.doc_ids for r in two.results]
    assert [r.usage for r in one.results] == [r.usage for r in two.results]
    assert [s["label"] for s in two.manifest["stages"]] == ["cross-encoder", "short"]
    row = next(r for r in load_runs(suite.out).rows.to_dict("records") if r["reranker"] == "twice")
    assert row["budget"] == "all; 2"


def test_runs_that_do_not_belong_together_are_refused(refused, suite_of, data, beir, tmp_path):
    a = suite_of(data, PAIRS, "reverse", out=tmp_path / "a")
    run_suite(a)
    other = suite_of(data, "reverse:as=other", profiles=("bm25()",), out=tmp_path / "a")
    run_suite(other)
    assert "no task and profile in common" in refused("fuse", PAIRS.split(":")[0], "other",
                                                      "--runs", tmp_path / "a")  # fmt: skip
    deep = suite_of(data, "identity", out=tmp_path / "b", scope=Scope(depth=3))
    (folder,) = run_suite(deep)
    own = tmp_path / "a" / "data" / "test" / "bm25" / "reverse"
    error = refused("fuse", own, folder, "--runs", tmp_path / "a")
    assert "differ in depth (None and 3)" in error
    assert "unknown reranker" in refused("fuse", "reverse", "nothing", "--runs", tmp_path / "a")


def test_where_only_some_ran_is_told_and_left_out(call, suite_of, data):
    suite = suite_of(data, PAIRS, "reverse")
    run_suite(suite)
    run_suite(suite_of(data, "reverse", profiles=("bm25()",)))
    done = call("fuse", "cross-encoder", "reverse", "--runs", suite.out, "--as", "f")
    assert "left out, data/test · bm25(): only reverse, not cross-encoder" in done.stderr
    assert [p.parent.parent.name for p in suite.out.rglob("f/manifest.json")] == ["bm25"]


@pytest.mark.parametrize("weights", ["a,b", "1;2"])
def test_weights_that_are_no_numbers_are_wrong_usage(call, weights):
    assert "no list of numbers" in call("fuse", "a", "b", "--weights", weights, code=2).stderr
