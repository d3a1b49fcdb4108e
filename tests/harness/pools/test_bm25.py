from __future__ import annotations

from unittest import mock

import bm25s
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench.folders import cache_folder
from rerank_bench.pools import bm25
from rerank_bench.pools.bm25 import rank_by_bm25

WORDS = st.lists(st.sampled_from("abcdefg"), max_size=6).map(" ".join)


def rank(queries, corpus, *, language="sw", depth=500):
    return rank_by_bm25(queries, corpus, language=language, depth=depth)


def test_documents_of_more_and_rarer_matches_come_first():
    corpus = {"d1": "apple", "d2": "apple pear", "d3": "fig", "d4": "apple fig"}
    ranked = rank({"q": "apple pear"}, corpus)["q"]
    assert [doc_id for doc_id, _ in ranked] == ["d2", "d1", "d4"]


def test_a_match_in_every_document_still_scores():
    ranked = rank({"q": "apple"}, {"d1": "apple", "d2": "apple", "d3": "apple"})["q"]
    assert [doc_id for doc_id, _ in ranked] == ["d1", "d2", "d3"]
    assert ranked[0][1] > 0


@given(st.lists(WORDS, min_size=1, max_size=12), WORDS)
def test_a_list_holds_exactly_the_documents_that_share_a_word(texts, query):
    corpus = {f"d{i}": text for i, text in enumerate(texts)}
    ranked = rank({"q": query}, corpus)["q"]
    sharing = {i for i, text in corpus.items() if set(text.split()) & set(query.split())}
    assert {doc_id for doc_id, _ in ranked} == sharing
    assert all(score > 0 for _, score in ranked)
    assert ranked == sorted(ranked, key=lambda pair: (-pair[1], pair[0]))


@given(st.permutations(range(9)), st.integers(1, 9))
def test_ties_are_broken_by_document_id_whatever_the_order_of_the_corpus(order, depth):
    corpus = {f"d{i}": "apple" if i % 2 else "pear" for i in order}
    ranked = rank({"q": "apple"}, corpus, depth=depth)["q"]
    assert [doc_id for doc_id, _ in ranked] == ["d1", "d3", "d5", "d7"][:depth]


def test_a_query_of_unknown_words_has_no_candidates():
    assert rank({"q": "zebra", "r": "?!"}, {"d": "apple"}) == {"q": [], "r": []}


def test_a_corpus_without_words_has_no_candidates():
    assert rank({"q": "apple"}, {"d1": "", "d2": "…"}) == {"q": []}


def by_bm25s(corpus, query, depth):
    """Rank by an index that bm25s itself makes of the documents in the order of their ids."""
    ids = sorted(corpus)
    index = bm25s.BM25(k1=1.5, b=0.75, method="lucene", backend="numpy")
    index.index([corpus[doc_id].split() for doc_id in ids], show_progress=False)
    known = [term for term in query.split() if term in index.vocab_dict]
    scores = index.get_scores(known) if known else np.zeros(len(ids))
    best = np.argsort(-scores, kind="stable")[:depth]
    return [(ids[i], float(scores[i])) for i in best if scores[i] > 0]


@given(
    st.lists(WORDS.filter(bool), min_size=1, max_size=12),
    WORDS,
    st.sampled_from([1, 3, 5, 100]),
    st.integers(1, 12),
)
def test_an_index_in_parts_ranks_and_scores_as_bm25s_does_in_one(texts, query, part, depth):
    corpus = {f"d{i * 7 % 12}": text for i, text in enumerate(texts)}
    with mock.patch.object(bm25, "_PART", part):
        ranked = rank({"q": query}, corpus, depth=depth)["q"]
    assert ranked == by_bm25s(corpus, query, depth)


def test_an_index_in_parts_is_read_from_files_that_are_gone_afterwards(monkeypatch):
    monkeypatch.setattr(bm25, "_PART", 2)
    rank({"q": "apple"}, dict.fromkeys("abcdef", "apple pear"))
    assert list((cache_folder() / "scratch").iterdir()) == []
    with pytest.raises(KeyError):
        rank({"q": "apple"}, {"a": "apple"})["r"]
