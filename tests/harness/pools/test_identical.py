from __future__ import annotations

import dataclasses

from rerank_bench.pools import PoolOptions, build_pool, own_documents, without_own_documents
from rerank_bench.pools.build import draw_safeguard

LISTED = tuple(f"d{i:03}" for i in range(150))


def own_task(make_task, **changes):
    """A task whose query is document d000 of the corpus, in other white space."""
    corpus = {f"d{i:03}": f"pear {i}" for i in range(150)} | {"d000": " apple\n"}
    qrels = {"q": {"d120": 1, "d000": 1}}
    return make_task(corpus=corpus, qrels=qrels, **changes)


def test_a_querys_own_document_is_known_by_its_text(make_task):
    assert own_documents(own_task(make_task)) == {"q": {"d000"}}
    assert own_documents(make_task()) == {}


def test_it_is_known_by_id_where_the_catalogue_says_so(make_task):
    task = make_task(queries={"d007": "apple", "x": "pear 3"}, identical_by="id")
    assert own_documents(task) == {"d007": {"d007"}}


def test_off_it_stays_and_is_counted(make_task):
    pool = build_pool(own_task(make_task, lists={"bm25": {"q": LISTED}}), "bm25")
    assert pool.rows[0].natural == LISTED[:100]
    note = pool.notes["queries with their own document in the pool"]
    assert (note.count, note.examples) == (1, ("q",))


def test_on_it_is_removed_and_its_place_is_filled_from_deeper_ranks(make_task):
    task = own_task(make_task, lists={"bm25": {"q": LISTED}}, exclude_identical=True)
    pool = build_pool(task, "bm25")
    assert pool.rows[0].natural == LISTED[1:101]
    # d000 was the only positive of the pool, so the safeguard is decided anew
    assert pool.rows[0].safeguard == "d120"
    assert "queries with their own document in the pool" not in pool.notes


def test_a_shipped_safeguard_is_cut_before_and_decided_anew_after(make_task):
    lists = {"reranking_hybrid": {"q": (*LISTED[:100], "d120")}}
    qrels = {"q": {"d120": 1}}
    task = dataclasses.replace(
        own_task(make_task, lists=lists, exclude_identical=True), qrels=qrels
    )
    (row,) = build_pool(task, "hybrid").rows
    assert row.doc_ids == (*LISTED[1:100], "d120")  # 99 and the safeguard: no deeper rank to fill
    assert row.safeguard == "d120"


def test_it_is_never_its_own_safeguard(make_task):
    task = own_task(make_task, lists={"bm25": {"q": ("d001",)}}, exclude_identical=True)
    assert build_pool(task, "bm25").rows[0].safeguard == "d120"


def test_its_judgement_is_dropped_and_a_query_that_had_no_other(make_task):
    task = own_task(make_task, exclude_identical=True)
    assert without_own_documents(task).qrels == {"q": {"d120": 1}}
    alone = dataclasses.replace(task, qrels={"q": {"d000": 1}})
    assert without_own_documents(alone).queries == {}
    kept = dataclasses.replace(task, exclude_identical=False)
    assert without_own_documents(kept) is kept


def test_pools_are_the_same_for_the_task_with_and_without_the_judgement(make_task):
    task = own_task(make_task, lists={"bm25": {"q": LISTED}}, exclude_identical=True)
    assert build_pool(without_own_documents(task), "bm25") == build_pool(task, "bm25")


def test_the_safeguard_is_drawn_anew_from_the_positives_that_are_left(make_task):
    left = [f"d{i}" for i in range(110, 150)]
    ours = draw_safeguard(left, split="split", query_id="q")
    theirs = next(doc_id for doc_id in left if doc_id != ours)
    lists = {"reranking_hybrid": {"q": (*LISTED[1:101], theirs)}}
    task = own_task(make_task, lists=lists, exclude_identical=True)
    task = dataclasses.replace(task, qrels={"q": dict.fromkeys([*left, "d000"], 1)})
    assert build_pool(task, "hybrid").rows[0].safeguard == ours


def test_as_a_safeguard_it_is_in_the_pool_and_counted(make_task):
    task = own_task(make_task, lists={"bm25": {"q": ("d001",)}})
    task = dataclasses.replace(task, qrels={"q": {"d000": 1}})
    pool = build_pool(task, "bm25")
    assert pool.rows[0].safeguard == "d000"
    assert pool.notes["queries with their own document in the pool"].count == 1


def test_a_deep_computed_pool_is_filled_too(make_task):
    corpus = {f"d{i:03}": f"apple {i}" for i in range(601)} | {"d000": "apple"}
    task = make_task(corpus=corpus, positive="d001", exclude_identical=True)
    (row,) = build_pool(task, "bm25()", PoolOptions(depth=600)).rows
    assert len(row.natural) == 600
    assert "d000" not in row.natural
