from __future__ import annotations

import math

import pytest

from rerank_bench import (
    BadOption,
    Candidates,
    ContinuationScore,
    Document,
    FakeEngine,
    LabelScores,
    Logits,
    rerank_one,
)
from rerank_bench.registry import Defaults, choose


def built(text: str):
    return choose(text, Defaults(engine="fake")).reranker


def candidates(count: int, **more) -> Candidates:
    documents = tuple(Document(f"d{i}", f"document {i}") for i in range(count))
    return Candidates("task", "q", "the query", documents, **more)


def logs(**shares: float) -> LabelScores:
    return LabelScores({label: math.log(share) for label, share in shares.items()})


def test_the_score_is_the_log_odds_of_the_first_label():
    engine = FakeEngine(lambda request: logs(Yes=0.6, No=0.2))
    (score,) = rerank_one(built("pointwise"), candidates(1), engine).scores
    assert score == pytest.approx(math.log(3))


def test_more_labels_than_two_are_taken_together_against_the_first():
    shares = {"high": 0.5, "mid": 0.2, "low": 0.05}
    engine = FakeEngine(lambda request: logs(**{name: shares[name] for name in request.labels}))
    (score,) = rerank_one(built("pointwise:labels=high,mid,low"), candidates(1), engine).scores
    assert score == pytest.approx(math.log(0.5 / 0.25))


def test_the_graded_score_is_the_expected_grade_under_the_labels_alone():
    shares = {"0": 0.1, "1": 0.1, "2": 0.2, "3": 0.0001, "4": 0.1}
    engine = FakeEngine(lambda request: logs(**{name: shares[name] for name in request.labels}))
    (score,) = rerank_one(
        built("pointwise:prompt=graded,graded=true"), candidates(1), engine
    ).scores
    whole = sum(shares.values())
    expected = sum(int(label) * share for label, share in shares.items()) / whole
    assert score == pytest.approx(expected)


def test_a_label_that_an_engine_did_not_find_is_counted_and_counts_as_least():
    engine = FakeEngine(
        lambda request: logs(Yes=0.1) if "document 0" in str(request) else logs(Yes=0.1, No=0.1)
    )
    result = rerank_one(built("pointwise"), candidates(2), engine)
    assert (result.counts["missing_labels"], result.counts["labels"]) == (1, 4)
    assert result.scores[0] > result.scores[1]


def test_a_prompt_without_two_labels_is_refused():
    with pytest.raises(BadOption, match="labels"):
        built("pointwise:labels=Yes")


def test_the_instruction_is_the_options_else_the_tasks_else_the_models_own():
    seen = []

    def watch(request):
        seen.append(request.prompt.text)
        return logs(yes=0.5, no=0.5)

    engine = FakeEngine(watch)
    rerank_one(built("Qwen3-Reranker-0.6B"), candidates(1), engine)
    rerank_one(built("Qwen3-Reranker-0.6B"), candidates(1, instruction="find it"), engine)
    given_ = built("Qwen3-Reranker-0.6B:instruction=mine")
    rerank_one(given_, candidates(1, instruction="find it"), engine)
    told = [text.partition("<Instruct>: ")[2].partition("\n")[0] for text in seen]
    usual = "Given a web search query, retrieve relevant passages that answer the query"
    assert told == [usual, "find it", "mine"]


def test_the_query_follows_the_document_behind_one_space():
    seen = []

    def watch(request):
        seen.append(request)
        return ContinuationScore(-2.0, 3)

    rerank_one(built("query-likelihood"), candidates(1), FakeEngine(watch))
    assert seen[0].continuation == " the query"
    assert seen[0].prompt.text.startswith("document 0")
    assert not seen[0].prompt.text.endswith(" ")


def test_a_head_of_several_outputs_is_read_at_the_label_that_is_named():
    engine = FakeEngine(lambda request: Logits((0.25, 0.75)))
    assert rerank_one(built("cross-encoder"), candidates(1), engine).scores == (0.75,)
    assert rerank_one(built("cross-encoder:label=0"), candidates(1), engine).scores == (0.25,)
    with pytest.raises(BadOption, match="label 2, but the head has 2"):
        rerank_one(built("cross-encoder:label=2"), candidates(1), engine)
