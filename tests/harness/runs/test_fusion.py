"""The arithmetic of fusion."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench import BadData, BadOption
from rerank_bench.runs import METHODS, Fusion, QueryResult, fuse, invalid_parts

SCORES = st.one_of(
    st.floats(-1e6, 1e6, allow_subnormal=False), st.sampled_from([0.0, 1.0, -1.0, 0.1])
)


@st.composite
def runs(draw, number=2):
    """The results of one query in several runs: some documents are not reranked, some tie."""
    ids = [f"d{i}" for i in range(draw(st.integers(1, 8)))]
    depth = draw(st.integers(1, len(ids)))
    return [draw(results(ids, depth)) for _ in range(number)]


@st.composite
def results(draw, ids, depth):
    scores = sorted(draw(st.lists(SCORES, min_size=depth, max_size=depth)), reverse=True)
    order = [*draw(st.permutations(ids[:depth])), *ids[depth:]]
    first = tuple(float(-i) for i in range(len(ids)))
    return result(order, scores, first)


def result(order, scores, first=()):
    """A finished ranking; the number in a document's id is its first-stage rank from 0."""
    places = [int(doc_id[1:]) for doc_id in order]
    return QueryResult(
        query_id="q",
        doc_ids=tuple(order),
        scores=(*scores, *[None] * (len(order) - len(scores))),
        first_stage_ranks=tuple(place + 1 for place in places),
        first_stage_scores=tuple(first[place] for place in places) if first else (),
    )


@pytest.mark.parametrize("method", METHODS)
@given(data=st.data())
def test_a_run_fused_with_itself_keeps_its_order(method, data):
    (own,) = data.draw(runs(1))
    found = fuse([own, own], Fusion(method))
    assert found.doc_ids == own.doc_ids
    assert [s is None for s in found.scores] == [s is None for s in own.scores]


@pytest.mark.parametrize("method", METHODS)
@given(data=st.data())
def test_weights_of_one_and_none_give_the_first_run(method, data):
    one, other = data.draw(runs())
    found = fuse([one, other], Fusion(method, weights=(1.0, 0.0)))
    assert found.doc_ids == one.doc_ids
    if method == "weighted":
        assert found.scores == one.scores


@pytest.mark.parametrize("method", METHODS)
@given(data=st.data())
def test_no_document_is_lost_and_those_that_were_not_reranked_stay_behind(method, data):
    pair = data.draw(runs())
    found = fuse(pair, Fusion(method, first_stage=0.4))
    assert sorted(found.doc_ids) == sorted(pair[0].doc_ids)
    places = dict(zip(found.doc_ids, found.first_stage_ranks, strict=True))
    assert places == dict(zip(pair[0].doc_ids, pair[0].first_stage_ranks, strict=True))
    known = [score for score in found.scores if score is not None]
    assert None not in found.scores[: len(known)]
    assert known == sorted(known, reverse=True)


@given(pair=runs())
def test_reciprocal_rank_fusion_equals_that_of_ranx(pair):
    ranx = pytest.importorskip("ranx")
    whole = [ranx.Run({"q": {d: float(-r) for r, d in enumerate(own.doc_ids)}}) for own in pair]
    expected = ranx.fuse(runs=whole, method="rrf", params={"k": 60}).run["q"]
    found = fuse(pair, Fusion("rrf"))
    pairs = zip(found.doc_ids, found.scores, strict=True)
    for doc_id, score in ((d, s) for d, s in pairs if s is not None):
        assert score == pytest.approx(expected[doc_id], abs=1e-12)


def test_minmax_with_the_first_stage_as_groupwise_rerankers_have_it():
    own = result(["d2", "d0", "d1"], [8.0, 6.0, 4.0], (3.0, 1.0, 2.0))
    found = fuse([own], Fusion("minmax", first_stage=0.4))
    scores = dict(zip(found.doc_ids, found.scores, strict=True))
    assert scores == pytest.approx(
        {"d2": 0.6 * 1 + 0.4 * 0.5, "d0": 0.6 * 0.5 + 0.4 * 1, "d1": 0.0}
    )


def test_zscore_is_the_sum_of_standard_scores():
    a, b = result(["d0", "d1", "d2"], [9.0, 5.0, 1.0]), result(["d2", "d0", "d1"], [7.0, 6.0, 2.0])
    found = fuse([a, b], Fusion("zscore"))
    for doc_id, one, other in (("d0", 9, 6), ("d1", 5, 2), ("d2", 1, 7)):
        z = (one - 5) / statistics.pstdev([9, 5, 1]) + (other - 5) / statistics.pstdev([7, 6, 2])
        assert found.scores[found.doc_ids.index(doc_id)] == pytest.approx(z)


def test_a_document_that_one_run_did_not_rerank_counts_as_the_last_that_it_did():
    a, b = result(["d0", "d1", "d2"], [3.0, 2.0, 1.0]), result(["d2", "d0", "d1"], [5.0])
    found = fuse([a, b], Fusion("weighted"))
    assert dict(zip(found.doc_ids, found.scores, strict=True)) == {"d0": 8, "d1": 7, "d2": 6}


def test_ranks_stand_for_scores_of_the_first_stage_where_they_are_not_known():
    own = result(["d2", "d1", "d0"], [1.0, 0.5, 0.0])
    found = fuse([own], Fusion("minmax", first_stage=0.9), by_rank=True)
    assert found.doc_ids == ("d0", "d1", "d2")


def test_a_safeguard_counts_as_the_last_of_the_first_stage():
    own = result(["d2", "d1", "d0"], [0.2, 0.1, 0.0], (3.0, 2.0, None))
    found = fuse([own], Fusion("minmax", first_stage=0.5))
    assert dict(zip(found.doc_ids, found.scores, strict=True)) == pytest.approx(
        {"d2": 0.5, "d1": 0.25, "d0": 0.5}
    )


def test_scores_that_overflow_are_refused():
    own = result(["d0", "d1"], [1.7e308, 0.0])
    with pytest.raises(BadData, match="query q"):
        fuse([own, own], Fusion("weighted"))


@pytest.mark.parametrize(
    ("given_", "runs_", "why"),
    [
        ({"method": "best"}, 2, "--method is rrf, minmax, zscore, weighted"),
        ({"weights": (0.0, 0.0)}, 2, "not all 0"),
        ({"weights": (1.0, -1.0)}, 2, "numbers from 0"),
        ({"weights": (1.0, float("nan"))}, 2, "numbers from 0"),
        ({"weights": (1.0,)}, 2, "1 numbers for 2 runs"),
        ({"first_stage": 1.0}, 1, "between 0 and 1"),
        ({"constant": -1.0}, 2, "--constant"),
        ({}, 1, "one run alone"),
    ],
)
def test_a_fusion_that_cannot_be_is_refused(given_, runs_, why):
    with pytest.raises(BadOption, match=why):
        Fusion(**given_).shares(runs_)


def test_a_stage_that_several_cascades_begin_with_is_named_once():
    def part(label, unparsable):
        counts = {"generations": 10, "unparsable": unparsable}
        return {"label": label, "counts": counts, "exact_labels": True}

    parts = [part("a", 9), part("b", 0), part("a", 9), part("c", 8)]
    reason = "answers repaired or unusable"
    assert invalid_parts(parts) == f"a: {reason}: 9 of 10; c: {reason}: 8 of 10"
    assert invalid_parts([part("b", 0)]) is None
