from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rerank_bench.pools.build import fuse

IDS = [f"d{i}" for i in range(12)]
LISTS = st.lists(st.lists(st.sampled_from(IDS), unique=True), min_size=1, max_size=4)


def test_each_source_gives_one_over_a_hundred_and_the_rank():
    fused = fuse([["a", "b"], ["b", "c"]], {"a", "b", "c"})
    assert fused == [("b", 1 / 102 + 1 / 101), ("a", 1 / 101), ("c", 1 / 102)]


def test_a_document_that_the_corpus_lacks_keeps_its_rank():
    assert fuse([["gone", "a"]], {"a"}) == [("a", 1 / 102)]


def test_only_the_first_five_hundred_of_a_source_count():
    source = [f"d{i}" for i in range(600)]
    assert [doc_id for doc_id, _ in fuse([source], set(source))] == source[:500]


def test_equal_scores_are_ordered_by_best_rank_and_then_by_id():
    assert [d for d, _ in fuse([["b", "x"], ["a", "y"]], set("abxy"))] == ["a", "b", "x", "y"]
    # 1/101 + 1/104 and 1/104 + 1/101: one sum, one best rank
    lists = [["b", "u", "v", "a"], ["a", "u", "v", "b"]]
    assert [d for d, _ in fuse(lists, set("ab"))] == ["a", "b"]


@given(LISTS, st.sets(st.sampled_from(IDS)))
def test_fusion_follows_its_definition(lists, corpus):
    def value(doc_id):
        ranks = [x.index(doc_id) + 1 for x in lists if doc_id in x]
        total = 0.0
        for rank in ranks:
            total += 1 / (100 + rank)
        return (-total, min(ranks), doc_id)

    wanted = sorted(value(d) for d in set().union(*lists) & corpus)
    assert fuse(lists, corpus) == [(doc_id, -score) for score, _, doc_id in wanted]
