from __future__ import annotations

import pytest

import rerank_bench
from rerank_bench import BadData, FakeEngine, Logits, PairScore, UnknownName, ask


class Longest:
    asks = frozenset({PairScore})

    def rerank(self, candidates):
        replies = yield from ask(
            [PairScore(candidates.query, d.text) for d in candidates.documents]
        )
        return [reply.logits[0] for reply in replies]


def by_length(request):
    return Logits((float(len(request.document)),), prompt_tokens=2)


def test_documents_come_back_best_first_with_scores_and_usage():
    documents = ["a plum", "an apple pie with apple", "apple"]
    best = rerank_bench.rerank("apple pie", documents, reranker="pointwise", engine="fake")
    assert best.documents[0].index == 1
    assert sorted(d.index for d in best) == [0, 1, 2]
    assert [d.rank for d in best] == [1, 2, 3]
    assert best.documents[0].text == documents[1]
    assert best.documents[0].score >= best.documents[1].score
    assert best.usage.calls == 3


def test_an_object_and_an_open_engine_are_taken_as_they_are():
    engine = FakeEngine(by_length)
    best = rerank_bench.rerank("q", ["a", "ccc", "bb"], reranker=Longest(), engine=engine)
    assert [d.text for d in best] == ["ccc", "bb", "a"]
    assert engine.answered == 3
    named = rerank_bench.rerank("q", ["a", "ccc"], reranker="cross-encoder", engine=engine)
    assert named.documents[0].text == "ccc"


def test_options_are_those_of_the_command_line():
    texts = [f"document {i}" for i in range(12)]
    narrow = rerank_bench.rerank(
        "document", texts, reranker="listwise", engine="fake", options={"window": 4}
    )
    assert narrow.usage.calls == 5
    with pytest.raises(UnknownName, match="did you mean window"):
        rerank_bench.rerank("q", texts, reranker="listwise:widow=4", engine="fake")


def test_the_model_of_a_call_takes_the_place_of_that_of_a_named_reranker(cross_encoder):
    best = rerank_bench.rerank(
        "q", ["a plum", "apples"], reranker="ms-marco-MiniLM-L6-v2", model=str(cross_encoder)
    )
    assert best.usage.calls == 2


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_or_one_document_is_no_reason_to_ask_a_listwise_model(count):
    best = rerank_bench.rerank("q", ["only"] * count, reranker="first", engine="fake")
    assert len(best) == count
    assert best.usage.calls == 0


def test_a_task_a_pool_and_rows_are_one_call_each(beir, tmp_path):
    folder = beir({"q": "apple"}, {"d1": "pear", "d2": "apple"}, {"q": {"d2": 1}})
    task = rerank_bench.load_task(str(folder))
    pool = rerank_bench.build_pool(task, "bm25()")
    assert pool.rows[0].doc_ids == ("d2",)
    with pytest.raises(BadData, match="no folder of runs"):
        rerank_bench.load_runs(tmp_path / "nothing")


def test_what_a_query_leaves_of_a_joint_budget_is_the_documents():
    seen = []

    def watch(request):
        seen.append((len(request.query.split()), len(request.document.split())))
        return Logits((0.0,))

    texts, options = ["w " * 90, "w w"], {"max_pair_tokens": 50, "max_query_tokens": 30}
    for query in ("q " * 20, "q " * 40):
        rerank_bench.rerank(
            query, texts, reranker="cross-encoder", engine=FakeEngine(watch), options=options
        )
    assert seen == [(20, 30), (20, 2), (30, 20), (30, 2)]
