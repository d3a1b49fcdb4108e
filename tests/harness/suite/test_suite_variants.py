"""Variants of a run: stored as runs of their own, with a cache that is not read."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from rerank_bench import FakeEngine, Logits, RunConflict, load_run
from rerank_bench.engines import EngineChoice
from rerank_bench.evaluation import evaluate
from rerank_bench.reranking import Scope
from rerank_bench.runs import find_runs, variants
from rerank_bench.suite import Suite, run_suite
from rerank_bench.suite.planned import ALONE

QUERIES = {f"q{i}": f"apple pear{i}" for i in range(24)}
CORPUS = {f"d{i:02}": f"apple number {i} pear{i % 24}" for i in range(60)}
QRELS = {f"q{i}": {f"d{i:02}": 1, f"d{i + 24:02}": 1} for i in range(24)}


@pytest.fixture
def suite(suite_of, beir):
    return suite_of(beir(QUERIES, CORPUS, QRELS), "cross-encoder:engine=fake")


@pytest.fixture
def asked(monkeypatch):
    """Every slice that the engine was given, and pairs scored by their length alone."""
    slices = []

    class Watched(FakeEngine):
        def forget(self):
            slices.append("forget")

        def answer(self, requests):
            slices.append(list(requests))
            return super().answer(requests)

    watched = Watched(lambda pair: Logits((float(len(pair.document)),), 3))
    monkeypatch.setattr(EngineChoice, "open", lambda chosen: watched)
    return slices


def named(suite: Suite) -> dict[str, Path]:
    return {folder.name: folder for folder in find_runs(suite.out)}


def test_each_variant_is_a_run_folder_of_its_own_that_knows_what_it_is(suite, asked):
    wanted = variants(["reverse", "random:1"], repeat=2, alone=True)
    run_suite(dataclasses.replace(suite, variants=wanted))
    folders = named(suite)
    assert sorted(folders) == [
        "cross-encoder",
        "cross-encoder~alone",
        "cross-encoder~order-random-0",
        "cross-encoder~order-reverse",
        "cross-encoder~repeat-2",
    ]
    found = {name: load_run(folder) for name, folder in folders.items()}
    settings = {name: run.manifest["settings"] for name, run in found.items()}
    assert "variant" not in settings["cross-encoder"]
    assert settings["cross-encoder~order-reverse"]["variant"] == {"order": "reverse"}
    assert {run["reranker"]["label"] for run in settings.values()} == {"cross-encoder"}
    assert len(found["cross-encoder~alone"].results) == ALONE
    assert len(found["cross-encoder~repeat-2"].results) == len(QUERIES)


def test_ties_keep_the_order_that_was_given_and_ranks_stay_those_of_the_first_stage(suite, asked):
    run_suite(dataclasses.replace(suite, variants=variants(["reverse"])))
    folders = named(suite)
    forward, backward = (
        load_run(folders[name]).results[0]
        for name in ("cross-encoder", "cross-encoder~order-reverse")
    )
    assert dict(zip(forward.doc_ids, forward.first_stage_ranks, strict=True)) == dict(
        zip(backward.doc_ids, backward.first_stage_ranks, strict=True)
    )
    assert dict(zip(forward.doc_ids, forward.scores, strict=True)) == dict(
        zip(backward.doc_ids, backward.scores, strict=True)
    )
    for result, sign in ((forward, 1), (backward, -1)):
        given = sorted(
            zip(result.doc_ids, result.scores, result.first_stage_ranks, strict=True),
            key=lambda one: (-one[1], sign * one[2]),
        )
        assert [doc_id for doc_id, _, _ in given] == list(result.doc_ids)


def test_repeats_and_other_orders_read_no_cache_and_let_the_engine_forget(suite, asked):
    run_suite(suite)
    first = sum(map(len, asked))
    asked.clear()
    run_suite(dataclasses.replace(suite, variants=variants(["reverse"], repeat=3)))
    assert asked[::2] == ["forget"] * 3
    assert sum(map(len, asked[1::2])) == 3 * first
    for name, folder in named(suite).items():
        taken = sum(result.usage.from_cache for result in load_run(folder).results)
        assert taken == 0, name


def test_shuffled_repeats_ask_the_same_in_another_order_and_other_slices(suite, asked):
    run_suite(suite)
    plain = [request for part in asked for request in part]
    assert len(asked) == 1
    asked.clear()
    run_suite(dataclasses.replace(suite, variants=variants(repeat=2, shuffled=True)))
    shuffled = [request for part in asked[1:] for request in part]
    assert len(asked) > 2
    assert shuffled != plain
    assert set(shuffled) == set(plain)
    folders = named(suite)
    first, again = (load_run(folders[f"cross-encoder{s}"]).results for s in ("", "~repeat-2"))
    assert [one.doc_ids for one in first] == [one.doc_ids for one in again]
    with pytest.raises(RunConflict, match=r"variant\.shuffled"):
        run_suite(dataclasses.replace(suite, variants=variants(repeat=2)))


def test_alone_no_query_shares_a_slice_or_finds_what_another_left_in_memory(suite, asked):
    run_suite(suite)
    asked.clear()
    run_suite(dataclasses.replace(suite, variants=variants(alone=True)))
    warming, counted = asked[0], asked[1:]
    assert counted[::2] == ["forget"] * ALONE
    assert all(len({request.query for request in part}) == 1 for part in counted[1::2])
    assert warming == counted[1]


def test_a_report_compares_variants_with_the_run_and_never_lists_them_as_rerankers(suite, asked):
    wanted = variants(["reverse", "random:2"], repeat=2, alone=True)
    run_suite(dataclasses.replace(suite, variants=wanted))
    found = evaluate(find_runs(suite.out))
    (row,) = found.results.rows("nDCG@10").itertuples()
    assert (row.reranker, row.noise, row.repeats) == ("cross-encoder", 0.0, 2)
    (order,) = found.orders
    assert order.orders == ("first-stage", "random-0", "random-1", "reverse")
    (latency,) = found.latencies
    assert latency.queries == ALONE
    assert latency.p95 >= latency.p50 >= 0.0


def test_variants_that_ran_with_other_settings_are_named_and_not_compared(suite, asked):
    """A difference of depth would look like noise and like order sensitivity."""
    wanted = variants(["reverse"], repeat=2)
    run_suite(dataclasses.replace(suite, variants=wanted, scope=Scope(depth=5)))
    folders = named(suite)
    shutil.rmtree(folders["cross-encoder"])
    alone = evaluate(find_runs(suite.out))
    assert (len(alone.runs), alone.orders) == (0, ())
    assert "2 variants without the run itself" in alone.left_out[0]
    run_suite(suite)
    found = evaluate(find_runs(suite.out))
    assert found.orders == ()
    assert found.values["noise"].isna().all()
    assert "2 variants with other settings" in found.left_out[0]
