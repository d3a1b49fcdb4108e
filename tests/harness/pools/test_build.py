from __future__ import annotations

import dataclasses

import pytest

from rerank_bench import BadOption, UnknownName
from rerank_bench.pools import EncoderPrompt, PoolOptions, PoolRow, build, build_pool
from rerank_bench.pools.pool import fingerprint

PROMPTS = (EncoderPrompt("query: ", "the card"), EncoderPrompt("passage: ", "the card"))


@pytest.fixture
def dense(monkeypatch):
    """Dense retrieval that ranks documents by id, backwards, and notes with which model."""
    models: list[str] = []

    def rank(queries, corpus, *, encoder, depth):
        models.append(encoder.name)
        backwards = sorted(corpus, reverse=True)[:depth]
        return {q: [(d, 1.0 - i / 1000) for i, d in enumerate(backwards)] for q in queries}, {}

    monkeypatch.setattr(build, "rank_by_vectors", rank)
    monkeypatch.setattr(build, "default_model", lambda: "small")
    monkeypatch.setattr(build.Encoder, "prompts", PROMPTS)
    return models


def resolved(task, profile):
    pool = build_pool(task, profile)
    return pool.resolved, pool.origin


LIST = {"q": ("d001",)}


def test_a_configs_own_name_means_the_shipped_list(make_task):
    task = make_task(lists={"bm25": LIST, "splade_pp_ed": {"q": ("d002",)}})
    assert resolved(task, "splade_pp_ed") == ("splade_pp_ed", "shipped")
    assert build_pool(task, "splade_pp_ed").rows[0].natural == ("d002",)
    assert build_pool(task, "splade_pp_ed").rows[0].scores is None


def test_bm25_is_shipped_if_it_can_be_and_with_brackets_always_computed(make_task):
    task = make_task(lists={"bm25": LIST})
    assert resolved(task, "bm25") == ("bm25", "shipped")
    assert resolved(task, "bm25()") == ("bm25()", "computed")
    assert resolved(make_task(), "bm25") == ("bm25()", "computed")


def test_dense_is_the_catalogues_or_the_only_dense_list_else_computed(make_task, dense):
    others = {"bm25": LIST, "bm25_anserini": LIST, "splade_pp_ed": LIST, "reranking_hybrid": LIST}
    one, two = {**others, "minilm": LIST}, {**others, "minilm": LIST, "harrier": LIST}
    assert resolved(make_task(lists=one), "dense") == ("minilm", "shipped")
    assert resolved(make_task(lists=two, dense="harrier"), "dense") == ("harrier", "shipped")
    assert resolved(make_task(lists=two), "dense") == ("dense(small)", "computed")
    assert resolved(make_task(lists=others, dense="harrier"), "dense")[1] == "computed"
    assert resolved(make_task(lists=one), "dense(org/model)") == ("dense(org/model)", "computed")
    assert dense == ["small", "small", "org/model"]


def test_hybrid_is_shipped_if_it_can_be_else_the_fusion_of_bm25_and_dense(make_task, dense):
    assert resolved(make_task(lists={"reranking_hybrid": LIST}), "hybrid")[1] == "shipped"
    fused = resolved(make_task(lists={"bm25": LIST}), "hybrid")
    assert fused == ("rrf(bm25,dense(small))", "computed")
    assert resolved(make_task(), "rrf(bm25,rrf(bm25(),dense))")[0] == (
        "rrf(bm25(),rrf(bm25(),dense(small)))"
    )


def test_a_pool_says_what_its_dense_models_were_given(make_task, dense):
    pool = build_pool(make_task(), "rrf(bm25(),rrf(dense,dense(org/model)))")
    assert pool.prompts == {"dense(small)": PROMPTS, "dense(org/model)": PROMPTS}
    assert not pool.notes
    assert build_pool(make_task(), "bm25()").prompts == {}


def test_a_pool_notes_that_a_models_prompts_are_not_known(make_task, dense, monkeypatch):
    monkeypatch.setattr(build.Encoder, "prompts", (EncoderPrompt("", ""), EncoderPrompt("", "")))
    note = build_pool(make_task(), "dense(org/model)").notes[
        "dense models without a known prompt, given the bare texts"
    ]
    assert (note.count, note.examples) == (1, ("dense(org/model)",))


def test_an_unknown_name_is_an_error_before_anything_is_computed(make_task, dense):
    with pytest.raises(UnknownName, match=r"'splad'; did you mean splade\?"):
        build_pool(make_task(lists={"splade": LIST}), "rrf(dense(org/model),splad)")
    assert not dense


def test_computed_bm25_holds_no_document_that_shares_no_word(make_task):
    task = make_task(corpus={"d1": "apple pie", "d2": "pear", "d149": "plum"})
    (row,) = build_pool(task, "bm25()").rows
    assert row.natural == ("d1",)
    assert row.scores is not None
    assert len(row.scores) == 1
    assert row.safeguard == "d149"


def test_a_pool_is_cut_at_the_smaller_of_depth_and_corpus(make_task, dense):
    assert len(build_pool(make_task(), "dense").rows[0].natural) == 100
    assert len(build_pool(make_task(size=30), "dense").rows[0].natural) == 30
    deep = build_pool(make_task(), "dense", PoolOptions(depth=120))
    assert len(deep.rows[0].natural) == len(deep.rows[0].scores or ()) == 120
    with pytest.raises(BadOption, match="at least 1"):
        PoolOptions(depth=0)


def test_there_is_a_row_for_each_query_in_the_order_of_the_task(make_task):
    queries = {"b": "apple", "a": "pear", "c": "fig"}
    qrels = {q: {"d001": 1} for q in queries}
    lists = {"bm25": {"q": ("d001",), "a": ("d002",)}}
    pool = build_pool(make_task(queries=queries, qrels=qrels, lists=lists), "bm25")
    assert [row.query_id for row in pool.rows] == ["b", "a", "c"]
    assert [len(row.natural) for row in pool.rows] == [0, 1, 0]


def test_a_missing_candidate_leaves_its_place_to_the_next(make_task):
    listed = ("gone", *(f"d{i:03}" for i in range(120)))
    pool = build_pool(make_task(lists={"bm25": {"q": listed}}), "bm25")
    assert pool.rows[0].natural == listed[1:101]
    assert pool.notes["candidates missing from the corpus"].count == 1


def test_what_a_fusion_leaves_out_is_counted(make_task, tmp_path):
    file = tmp_path / "mine.run"
    file.write_text("q Q0 lost 1 2 me\nq Q0 d001 2 1 me\nother Q0 d001 1 1 me\n")
    task = make_task(lists={"bm25": {"q": ("gone", "lost", "d002")}})
    pool = build_pool(task, f"rrf(bm25,rrf(run({file}),bm25))")
    assert set(pool.rows[0].natural) == {"d001", "d002"}
    assert pool.notes["candidates missing from the corpus"].examples == ("gone", "lost")
    assert pool.notes["ranked queries that the task does not have"].examples == ("other",)


def test_the_fingerprint_knows_ids_order_and_safeguards():
    row = PoolRow("q", ("a", "b"))
    changed = [
        dataclasses.replace(row, query_id="r"),
        dataclasses.replace(row, doc_ids=("b", "a")),
        dataclasses.replace(row, doc_ids=("a,b",)),
        dataclasses.replace(row, safeguard="b"),
    ]
    assert len({fingerprint([r]) for r in (row, *changed)}) == 5
    assert fingerprint([row, *changed]) != fingerprint([*changed, row])
    assert fingerprint([row]) == fingerprint([PoolRow("q", ("a", "b"), None, (2.0, 1.0))])


UNORDERED = tuple(f"d{number:03}" for number in range(150))


def test_candidates_are_in_no_order_and_none_is_cut(make_task, dense):
    task = make_task(corpus=dict.fromkeys(UNORDERED, "x"), lists={"candidates": {"q": UNORDERED}})
    pool = build_pool(task, "candidates")
    assert (pool.resolved, pool.origin) == ("candidates", "no order")
    assert pool.rows[0].natural == UNORDERED
    assert resolved(task, "dense") == ("dense(small)", "computed")
    with pytest.raises(BadOption, match=r"candidates of task .* in no order and cannot be fused"):
        build_pool(task, "rrf(bm25,candidates)")
