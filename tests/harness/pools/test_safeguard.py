from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench.pools import PoolOptions, build_pool
from rerank_bench.pools.build import draw_safeguard, shipped_safeguard

HUNDRED = [f"d{i:03}" for i in range(100)]


def test_the_draw_is_the_one_that_the_published_pools_were_made_with():
    drawn = random.Random("20260524\0belebele\0q7\0positive_safeguard").choice(["a", "b", "c"])
    assert draw_safeguard({"c", "a", "b"}, split="belebele", query_id="q7") == drawn


@given(st.sets(st.text(min_size=1), min_size=1), st.text(), st.text())
def test_a_draw_is_one_of_the_positives_and_always_the_same(positives, split, query_id):
    drawn = draw_safeguard(positives, split=split, query_id=query_id)
    assert drawn in positives
    assert draw_safeguard(sorted(positives, reverse=True), split=split, query_id=query_id) == drawn


@pytest.mark.parametrize(
    ("doc_ids", "positives", "corpus_size", "found"),
    [
        ([*HUNDRED, "p"], {"p"}, 500, "p"),
        ([*HUNDRED, "p"], {"p", "d003"}, 500, None),  # a positive is before it
        ([*HUNDRED, "p"], {"x"}, 500, None),  # the last one is no positive
        ([*HUNDRED[:99], "p"], {"p"}, 500, None),  # no longer than the pool
        ([*HUNDRED, "y", "p"], {"p"}, 500, None),  # a deeper list that happens to end in one
        ([*HUNDRED[:30], "p"], {"p"}, 30, "p"),  # a small corpus
        ([*HUNDRED[:30], "p"], {"p"}, 31, None),
        ([], {"p"}, 10, None),
    ],
)
def test_a_shipped_safeguard_is_known_by_its_place(doc_ids, positives, corpus_size, found):
    assert shipped_safeguard(doc_ids, frozenset(positives), corpus_size=corpus_size) == found


def test_only_a_pool_without_a_positive_gets_a_safeguard(make_task):
    ranked = {"q": tuple(f"d{i:03}" for i in range(150))}
    (row,) = build_pool(make_task(lists={"bm25": ranked}), "bm25").rows
    assert row.doc_ids == (*ranked["q"][:100], "d149")
    assert row.safeguard == "d149"
    assert row.natural == ranked["q"][:100]
    (row,) = build_pool(make_task(positive="d099", lists={"bm25": ranked}), "bm25").rows
    assert row.safeguard is None
    assert row.doc_ids == ranked["q"][:100]


def test_no_safeguard_is_drawn_from_outside_the_corpus(make_task):
    ranked = {"q": ("d001", "d002")}
    (row,) = build_pool(make_task(positive="elsewhere", lists={"bm25": ranked}), "bm25").rows
    assert (row.doc_ids, row.safeguard) == (("d001", "d002"), None)


def test_a_query_without_candidates_is_left_with_its_safeguard(make_task):
    pool = build_pool(make_task(lists={"bm25": {}}), "bm25")
    assert pool.rows[0].doc_ids == ("d149",)
    assert pool.notes["queries without a candidate"].count == 1


@pytest.mark.parametrize("depth", [50, 100, 120, 500])
def test_a_shipped_safeguard_stays_one_at_any_depth(make_task, depth):
    lists = {"reranking_hybrid": {"q": (*HUNDRED, "d149")}}
    pool = build_pool(make_task(lists=lists), "hybrid", PoolOptions(depth=depth))
    assert pool.rows[0].safeguard == "d149"
    assert pool.rows[0].natural == tuple(HUNDRED[:depth])


def test_a_shipped_safeguard_counts_only_if_it_is_a_positive_of_this_grade(make_task):
    qrels = {"q": {"d149": 1, "d148": 2, "d147": 2}}
    lists = {"reranking_hybrid": {"q": (*HUNDRED, "d149")}}
    task = make_task(lists=lists, qrels=qrels, min_grade=2)
    (row,) = build_pool(task, "hybrid").rows
    assert row.natural == tuple(HUNDRED)
    assert row.safeguard == draw_safeguard(["d147", "d148"], split="split", query_id="q")


def test_a_shipped_safeguard_does_not_leak_into_a_fusion(make_task):
    lists = {"hybrid_a": {"q": (*HUNDRED, "d149")}, "b": {"q": ("d005",)}}
    (row,) = build_pool(make_task(lists=lists), "rrf(hybrid_a,b)").rows
    assert row.natural[0] == "d005"
    assert "d149" not in row.natural


@pytest.mark.parametrize("depth", [100, 120])
def test_a_shipped_safeguard_of_too_low_a_grade_is_no_candidate_either(make_task, depth):
    qrels = {"q": {"d149": 1, "d148": 2}}
    lists = {"hybrid_a": {"q": (*HUNDRED, "d149")}, "b": {"q": ("d005",)}}
    task = make_task(lists=lists, qrels=qrels, min_grade=2)
    for profile in ("hybrid_a", "rrf(hybrid_a,b)"):
        (row,) = build_pool(task, profile, PoolOptions(depth=depth)).rows
        assert set(row.natural) == set(HUNDRED)
        assert row.safeguard == "d148"


def test_a_shipped_safeguard_drawn_otherwise_is_kept(make_task):
    positives = [f"d{i}" for i in range(140, 150)]
    ours = draw_safeguard(positives, split="split", query_id="q")
    theirs = next(doc_id for doc_id in positives if doc_id != ours)
    lists = {"reranking_hybrid": {"q": (*HUNDRED, theirs)}}
    task = make_task(lists=lists, qrels={"q": dict.fromkeys(positives, 1)})
    assert build_pool(task, "hybrid").rows[0].safeguard == theirs
