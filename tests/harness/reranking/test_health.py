"""Requests and replies show whether a method worked as it is meant to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import pytest

from rerank_bench import Candidates, Document, Generate, Generation, Message, NextToken, Prompt
from rerank_bench.reranking import checks, invalid, label_probability
from rerank_bench.reranking.health import equal_scores, observed
from rerank_bench.types import LabelScores, Logits, PairScore

PROMPT = Prompt(messages=(Message("user", "?"),))


def labels(
    found: str, *, tokens: int = 1, logprob: float = -1.0, over_labels: bool = False
) -> Counter[str]:
    """What is counted of a call for the labels A and B."""
    reply = LabelScores(
        dict.fromkeys(found, logprob), output_tokens=tokens, over_labels=over_labels
    )
    return Counter(observed(NextToken(PROMPT, ("A", "B")), reply))


def text(said: str, *, thinking: bool = False, finished: bool = True) -> Counter[str]:
    prompt = Prompt(PROMPT.messages, thinking=thinking)
    return Counter(observed(Generate(prompt, 9), Generation(said, finished)))


def asked(*texts: str) -> Candidates:
    documents = tuple(Document(str(place), text) for place, text in enumerate(texts))
    return Candidates("task", "q", "query", documents)


def times(count: int, counts: Mapping[str, int]) -> Counter[str]:
    return Counter({name: count * number for name, number in counts.items()})


ANSWERS = times(10, text("[1] > [2]"))
DIFFERENT = equal_scores(asked("a", "b"), (0.5, 0.4), 2)
EQUAL = equal_scores(asked("a", "b"), (0.5, 0.5), 2)


@pytest.mark.parametrize(
    ("counts", "exact", "fault"),
    [
        (times(2, labels("AB")), True, None),
        (
            labels("AB", tokens=9) + labels("AB"),
            True,
            "tokens written by one-token calls: 10 of 2",
        ),
        (labels("A") + times(9, labels("AB")), True, "labels found: 19 of 20"),
        (times(2, labels("A")) + times(8, labels("AB")), False, None),
        (times(3, labels("A")) + times(7, labels("AB")), False, "labels found: 17 of 20"),
        (labels("AB", logprob=-5.2), True, None),
        (
            labels("AB", logprob=-5.4),
            True,
            "probability of the labels, in thousandths: 9 of 1,000",
        ),
        (labels("AB", logprob=math.log(0.5), over_labels=True), True, None),
        (ANSWERS + Counter(repaired=2), True, None),
        (ANSWERS + Counter(repaired=3), True, "answers repaired or unusable: 3 of 10"),
        (
            ANSWERS + Counter(repaired=2, unparsable=1),
            True,
            "answers repaired or unusable: 3 of 10",
        ),
        (Counter(budgeted_queries=20, unpaid_queries=2), True, None),
        (
            Counter(budgeted_queries=20, unpaid_queries=3),
            True,
            "queries whose budget paid for nothing: 3 of 20",
        ),
        (times(2, EQUAL) + times(18, DIFFERENT), True, None),
        (times(3, EQUAL) + times(17, DIFFERENT), True, "queries with all scores equal: 3 of 20"),
    ],
)
def test_what_makes_a_run_invalid(counts: Counter[str], exact: bool, fault: str | None) -> None:
    assert invalid(checks(counts, exact_labels=exact)) == fault


def test_each_check_says_how_many_of_how_many() -> None:
    assert [str(check) for check in checks(times(2, labels("AB")), exact_labels=True)] == [
        "tokens written by one-token calls: 2 of 2",
        "labels found: 4 of 4",
        "probability of the labels, in thousandths: 736 of 1,000",
    ]


def test_the_label_probability_is_that_of_all_labels_and_is_unknown_for_a_head_over_them() -> None:
    counts = labels("AB", logprob=-5.2)
    assert label_probability(counts) == pytest.approx(2 * math.exp(-5.2), abs=1e-6)
    assert label_probability(labels("AB", over_labels=True)) is None


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
    assert checks({}, exact_labels=True) == []


def test_equal_scores_of_documents_that_were_cut_to_nothing_are_a_fault() -> None:
    assert equal_scores(asked("", ""), (0.5, 0.5), 2) == {"scored_queries": 1, "equal_scores": 1}


def test_equal_scores_of_equal_documents_or_of_a_method_without_calls_are_no_fault() -> None:
    assert equal_scores(asked("a", "a"), (0.5, 0.5), 2) == {}
    assert equal_scores(asked("a"), (0.5,), 1) == {}
    assert equal_scores(asked("a", "b"), (0.5, 0.5), 0) == {}
