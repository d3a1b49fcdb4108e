"""EcoRank asks what its budget of words pays for, and no more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench import Candidates, Document, FakeEngine, LabelScores, Prompt, order, rerank_one
from rerank_bench.engines import overlap
from rerank_bench.rerankers.ecorank import EcoRank, count_words, pairs_per_pass

LIKED = "good"


def asked(options: EcoRank, texts: list[str]):
    """Rerank texts with a model that likes `good` ones: the order, and what it was asked."""
    prompts = []

    def answer(request):
        (message,) = request.prompt.messages
        prompts.append(request.prompt)
        if request.labels == ("Yes", "No"):
            first = LIKED in message.text
        else:
            first = LIKED in message.text.partition("Passage B")[0].partition("Passage A")[2]
        better, worse = request.labels if first else reversed(request.labels)
        return LabelScores({better: -1.0, worse: -2.0})

    documents = tuple(Document(str(i), text) for i, text in enumerate(texts))
    engine = FakeEngine(answer)
    result = rerank_one(options, Candidates("task", "q1", "what is sought", documents), engine)
    return order(result.scores), prompts


def test_relevant_documents_come_first_and_irrelevant_ones_behind_those_that_were_not_judged():
    texts = ["bad one", "good two", "bad three", "good four", *["good text"] * 4]
    ranking, prompts = asked(EcoRank(budget=80, split=1.0), texts)
    assert [count_words(prompt) for prompt in prompts] == [20] * 4
    assert ranking == [1, 3, 4, 5, 6, 7, 0, 2]


def test_one_pass_goes_over_as_many_neighbours_at_the_top_as_the_budget_pays_for():
    texts = ["bad text"] * 5 + ["good text"] + ["bad text"] * 4
    (cost,) = {count_words(prompt) for prompt in asked(EcoRank(split=0.0), texts)[1]}
    ranking, prompts = asked(EcoRank(budget=5 * cost + 1, split=0.0), texts)
    assert ranking == [5, 0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert len(prompts) == 5
    ranking, prompts = asked(EcoRank(budget=4 * cost, split=0.0), texts)
    assert ranking == list(range(10))
    assert len(prompts) == 4


def test_the_shares_of_the_budget_are_spent_apart():
    texts = ["bad text", "bad words", "good text"]
    _, judged = asked(EcoRank(budget=10_000, split=1.0), texts)
    assert len(judged) == 3
    assert not any("Passage A" in str(prompt) for prompt in judged)


def test_passes_end_where_one_swaps_nothing():
    ranking, prompts = asked(EcoRank(budget=10**9, split=0.0), ["bad text"] * 4 + ["good text"])
    assert ranking == [4, 0, 1, 2, 3]
    assert len(prompts) == 8


def test_documents_beyond_the_first_50_are_not_looked_at():
    texts = ["bad text"] * 50 + ["good text"] * 10
    ranking, prompts = asked(EcoRank(budget=10**6), texts)
    assert ranking == list(range(60))
    assert not any(LIKED in str(prompt) for prompt in prompts)


@pytest.mark.parametrize(
    ("options", "texts", "unpaid"),
    [
        (EcoRank(budget=60), ["text"] * 3, 1),
        (EcoRank(budget=1, split=1.0), ["text"], 1),
        (EcoRank(budget=1, split=0.0), ["text"], 0),
        (EcoRank(budget=1, split=0.0), ["text"] * 2, 1),
        (EcoRank(), ["text"] * 3, 0),
    ],
)
def test_a_query_for_which_a_share_of_the_budget_pays_for_nothing_is_counted(
    options, texts, unpaid
):
    documents = tuple(Document(str(i), text) for i, text in enumerate(texts))
    given = Candidates("task", "q1", "what is sought", documents)
    counts = rerank_one(options, given, FakeEngine(overlap)).counts
    assert (counts["budgeted_queries"], counts.get("unpaid_queries", 0)) == (1, unpaid)


@given(st.lists(st.integers(1, 300), max_size=60), st.integers(0, 10**5))
def test_passes_cost_no_more_than_the_budget_and_one_more_pair_would(costs, budget):
    found = pairs_per_pass(costs, budget)
    spent = sum(sum(costs[:count]) for count in found)
    assert spent <= budget
    if costs and len(found) <= len(costs):
        assert spent + costs[found[-1]] > budget


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 1), ("two  words", 3), ("這是什麼", 5), ("用 BM25 排序。", 6), ("ไทย", 4)],
)
def test_words_are_counted_in_scripts_without_spaces_too(text, count):
    assert count_words(Prompt(text=text)) == count
