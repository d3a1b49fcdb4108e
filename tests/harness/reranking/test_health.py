"""A method that does not do what it is meant to is found out by its own requests and replies."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from rerank_bench import Candidates, Document, Generate, Generation, Message, NextToken, Prompt
from rerank_bench.reranking import checks, invalid, label_probability
from rerank_bench.reranking.health import equal_scores, observed
from rerank_bench.types import LabelScores, Logits, PairScore

PROMPT = Prompt(messages=(Message("user", "?"),))


def labels(found: str, *, asked: str = "AB", tokens: int = 1) -> Counter[str]:
    request = NextToken(PROMPT, tuple(asked))
    reply = LabelScores(dict.fromkeys(found, -1.0), output_tokens=tokens)
    return Counter(observed(request, reply))


def text(said: str, *, thinking: bool = False, finished: bool = True) -> Counter[str]:
    prompt = Prompt(PROMPT.messages, thinking=thinking)
    return Counter(observed(Generate(prompt, 9), Generation(said, finished)))


def test_a_run_of_one_token_calls_that_found_all_labels_is_valid() -> None:
    found = checks(labels("AB") + labels("AB"), engine="vllm")
    assert [str(check) for check in found] == [
        "tokens written by one-token calls: 2 of 2",
        "labels found: 4 of 4",
        "probability of the labels, in thousandths: 736 of 1,000",
    ]
    assert invalid(found) is None


def test_one_token_calls_that_wrote_more_are_invalid_and_say_so() -> None:
    told = invalid(checks(labels("AB", tokens=9) + labels("AB"), engine="vllm"))
    assert told == "tokens written by one-token calls: 10 of 2"


@pytest.mark.parametrize(
    ("engine", "missing", "valid"),
    [
        ("vllm", 0, True),
        ("vllm", 1, False),
        ("transformers", 1, False),
        ("http", 1, True),
        ("http", 2, True),
        ("http", 3, False),
    ],
)
def test_a_server_may_leave_out_a_tenth_of_the_labels_and_an_engine_none(
    engine: str, missing: int, valid: bool
) -> None:
    replies = [labels("A")] * missing + [labels("AB")] * (10 - missing)
    found = checks(sum(replies, Counter()), engine=engine)
    assert f"labels found: {20 - missing} of 20" in [str(check) for check in found]
    assert (invalid(found) is None) == valid


@pytest.mark.parametrize(("repaired", "valid"), [(0, True), (2, True), (3, False)])
def test_more_than_a_fifth_of_answers_repaired_is_invalid(repaired: int, valid: bool) -> None:
    counts = sum((text("[1] > [2]") for _ in range(10)), Counter())
    found = checks(counts + Counter(repaired=repaired), engine="vllm")
    assert (invalid(found) is None) == valid


def test_answers_that_cannot_be_used_count_like_repaired_ones() -> None:
    counts = sum((text("?") for _ in range(10)), Counter())
    assert invalid(checks(counts + Counter(repaired=2, unparsable=1), engine="vllm"))


@pytest.mark.parametrize(
    ("said", "thinking", "thoughts"),
    [
        ("<think>\n\n</think>\n[1]", False, 0),
        ("<think>well</think>[1]", False, 1),
        ("<think>well", False, 1),
        ("<think>well</think>[1]", True, 0),
        ("[1]", False, 0),
    ],
)
def test_thoughts_are_counted_where_none_were_asked_for(
    said: str, thinking: bool, thoughts: int
) -> None:
    assert text(said, thinking=thinking)["thoughts"] == thoughts


def test_an_answer_that_was_cut_off_is_counted() -> None:
    assert text("[1] >", finished=False)["unfinished"] == 1


def test_other_requests_are_no_matter_of_mechanism() -> None:
    assert not observed(PairScore("q", "d"), Logits((1.0,)))
    assert checks({}, engine="transformers") == []


@pytest.mark.parametrize(("logprob", "valid"), [(-5.2, True), (-5.4, False)])
def test_labels_with_less_than_one_per_cent_of_the_probability_make_a_run_invalid(
    logprob: float, valid: bool
) -> None:
    reply = LabelScores(dict.fromkeys("AB", logprob))
    counts = Counter(observed(NextToken(PROMPT, ("A", "B")), reply))
    assert (invalid(checks(counts, engine="vllm")) is None) == valid
    assert label_probability(counts) == pytest.approx(2 * math.exp(logprob), abs=1e-6)


def test_of_a_head_for_the_labels_alone_no_label_probability_is_known() -> None:
    reply = LabelScores(dict.fromkeys("AB", math.log(0.5)), over_labels=True)
    counts = Counter(observed(NextToken(PROMPT, ("A", "B")), reply))
    assert label_probability(counts) is None
    assert invalid(checks(counts, engine="vllm")) is None


def asked(*texts: str) -> Candidates:
    documents = tuple(Document(str(place), text) for place, text in enumerate(texts))
    return Candidates("task", "q", "query", documents)


@pytest.mark.parametrize(("equal", "valid"), [(0, True), (2, True), (3, False), (20, False)])
def test_equal_scores_of_different_documents_in_a_tenth_of_the_queries_make_a_run_invalid(
    equal: int, valid: bool
) -> None:
    scores = [(0.5, 0.5)] * equal + [(0.5, 0.4)] * (20 - equal)
    counts = sum((Counter(equal_scores(asked("a", "b"), s, 2)) for s in scores), Counter())
    told = invalid(checks(counts, engine="transformers"))
    assert told == (None if valid else f"queries with all scores equal: {equal} of 20")


def test_equal_scores_of_documents_that_were_cut_to_nothing_are_a_fault() -> None:
    assert equal_scores(asked("", ""), (0.5, 0.5), 2) == {"scored_queries": 1, "equal_scores": 1}


def test_equal_scores_of_equal_documents_or_of_a_method_without_calls_are_no_fault() -> None:
    assert equal_scores(asked("a", "a"), (0.5, 0.5), 2) == {}
    assert equal_scores(asked("a"), (0.5,), 1) == {}
    assert equal_scores(asked("a", "b"), (0.5, 0.5), 0) == {}
