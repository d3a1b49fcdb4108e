"""What rerankers make of answers no model should give, and of texts nobody should send."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank_bench import (
    Candidates,
    ContinuationScore,
    Document,
    FakeEngine,
    Generation,
    LabelScores,
    Likelihood,
    Logits,
    NextToken,
    PairScore,
    order,
    rerank_one,
)
from rerank_bench.rerankers.parsing import read_permutation
from rerank_bench.reranking import Defaults, choose
from rerank_bench.types import Attend, Attention, Embed, FuseScore, Vectors

GRADED = "pointwise:prompt=graded,graded=true"
THINKING = "listwise:thinking=true"
RANK_R1 = "setwise:prompt=rank-r1,answer=tagged,children=19,shuffle=true"
SORTING = [
    *("setwise", "setwise:answer=generate,permutations=3,sort=bubble", RANK_R1),
    *("pairwise", "pairwise:sort=heap,answer=generate", "duo", "dual-end", "ecorank"),
]
ASKING = [
    *("cross-encoder", "late-interaction", "pointwise", "query-likelihood", "listwise", "first"),
    *("acurank", "groupwise", "in-context", "insertrank", "rating:weight=none", "tourrank"),
    *("lit5", "listt5", "mvp"),
    *("bi-encoder", "e2rank", "jina-listwise"),
    *SORTING,
]
MOST = {"pairwise": 12, "duo": 12}  # documents, as all pairs of them are asked about
EVERY = [*ASKING, GRADED, "Rank1-7B", THINKING, "identity", "reverse", "random"]


def built(name: str):
    return choose(name, Defaults(engine="fake")).reranker


def candidates(texts: list[str]) -> Candidates:
    documents = tuple(Document(f"id {i}/ü", text) for i, text in enumerate(texts))
    return Candidates("task", "q1", "what is sought", documents)


def alike(request):
    """Sees no difference between documents."""
    if isinstance(request, PairScore):
        return Logits((0.25,))
    if isinstance(request, NextToken):
        return LabelScores(dict.fromkeys(request.labels, -1.0))
    if isinstance(request, Likelihood):
        return ContinuationScore(-3.0, 2)
    if isinstance(request, Attend):
        return Attention(tuple(tuple((0.5,) for _ in request.passages) for _ in request.prompts))
    if isinstance(request, FuseScore):
        return Logits((0.25,) * len(request.prompts))
    if isinstance(request, Embed):
        return Vectors.of(np.ones((rows_of(request), 3)))
    return Generation("", finished=True)


def rows_of(request: Embed) -> int:
    """How many vectors are asked for."""
    if isinstance(request.pooling, str):
        return 1
    return sum(request.prompt.text.count(token) for token in request.pooling)


WORDS = ["", " ", "[1]", "[2] > [2]", "[ 3 ]", "[0]", "[999]", "[", "]", ">", "7", "\n", "[٣]"]
WORDS += ["<think>", "</think>", "[²]", "[A]", "the best of 2019 is [5],", f"[{'9' * 6000}]"]
ANSWERS = st.one_of(st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join), st.text())


@st.composite
def noise(draw):
    """Answers with anything that is of the right type."""

    def answer(request):
        if isinstance(request, PairScore):
            return Logits((draw(st.floats(-1e6, 1e6)),))
        if isinstance(request, Likelihood):
            return ContinuationScore(draw(st.floats(-1e6, 0)), 3)
        if isinstance(request, NextToken):
            found = draw(st.lists(st.sampled_from(request.labels), unique=True))
            shares = st.one_of(st.floats(-50, 0), st.just(-math.inf))
            return LabelScores({label: draw(shares) for label in found})
        if isinstance(request, Attend):
            some = st.lists(st.floats(0, 40), max_size=4).map(tuple)
            weights = [draw(some) for _ in request.passages]
            return Attention(tuple(tuple(weights) for _ in request.prompts))
        if isinstance(request, FuseScore):
            return Logits(tuple(draw(st.floats(-1e6, 1e6)) for _ in request.prompts))
        if isinstance(request, Embed):
            number = st.floats(-1e6, 1e6, width=32)
            row = st.lists(number, min_size=3, max_size=3)
            return Vectors.of(np.array([draw(row) for _ in range(rows_of(request))]))
        return Generation(draw(ANSWERS), finished=draw(st.booleans()))

    return FakeEngine(answer)


@pytest.mark.parametrize("name", [*ASKING, GRADED, THINKING, "listwise:window=4,passes=2"])
@settings(max_examples=20, deadline=None)
@given(engine=noise(), count=st.integers(0, 45))
def test_no_answer_of_the_right_type_raises_or_loses_a_document(name, engine, count):
    count = min(count, MOST.get(name, count))
    result = rerank_one(built(name), candidates([f"text {i}" for i in range(count)]), engine)
    assert sorted(order(result.scores)) == list(range(count))
    assert all(number > 0 for number in result.counts.values())


@pytest.mark.parametrize("name", EVERY)
def test_awkward_texts_are_asked_about_like_any_other(name):
    texts = ["", "[3] > [1]", "<|im_end|>", "{{ query }}", "{% raw %}", "\n\n", "x" * 200_000]
    result = rerank_one(built(name), candidates(texts), FakeEngine(alike))
    assert len(result.scores) == len(texts)


@pytest.mark.parametrize("name", EVERY)
def test_a_reranker_asks_what_it_says_it_asks_and_nothing_else(name):
    asked = set()

    def watch(request):
        asked.add(type(request))
        return alike(request)

    rerank_one(built(name), candidates([f"text {i}" for i in range(21)]), FakeEngine(watch))
    assert asked == set(built(name).asks)


@pytest.mark.parametrize("name", EVERY)
def test_rerankers_of_equal_options_are_equal_values(name):
    assert built(name) == built(name)
    assert hash(built(name)) == hash(built(name))


def test_grades_that_are_all_alike_keep_first_stage_order():
    result = rerank_one(built(GRADED), candidates(["a", "b", "c"]), FakeEngine(alike))
    assert order(result.scores) == [0, 1, 2]


@pytest.mark.parametrize("name", ["first", "pointwise", GRADED])
def test_a_label_of_probability_nought_is_as_missing_as_one_that_is_not_there(name):
    def answer(request):
        first, *rest = request.labels
        return LabelScores({first: -math.inf, **dict.fromkeys(rest, -1.0)})

    result = rerank_one(built(name), candidates(["a", "b"]), FakeEngine(answer))
    assert result.counts["missing_labels"] == (1 if name == "first" else 2)


@pytest.mark.parametrize(
    ("text", "places", "state"),
    [
        ("passage [4]?</think>\n\n[2] > [1] > [3] > [4]", (1, 0, 2, 3), "read"),
        ("<think>[4]</think><think>[3]</think>[2] > [1] > [3] > [4]", (1, 0, 2, 3), "read"),
        ("<think>[4]</think> so, <think> perhaps [3]", (0, 1, 2, 3), "unparsable"),
        ("<think>[4] > [3]</think>", (0, 1, 2, 3), "unparsable"),
        ("[3, 1, 2, 4]", (2, 0, 1, 3), "read"),
        ("[3, 1, 2, 4", (0, 1, 2, 3), "unparsable"),
        ("[1," * 50_000, (0, 1, 2, 3), "unparsable"),
        ("[9] > [0] > [-1]", (0, 1, 2, 3), "unparsable"),
        ("[2] > [1] > [3] > [", (1, 0, 2, 3), "repaired"),
        ("[2] > [two] > [1] > [3] > [4]", (1, 0, 2, 3), "repaired"),
        (f"[{'9' * 6000}] > [2]", (1, 0, 2, 3), "repaired"),
        ("[" * 50_000, (0, 1, 2, 3), "unparsable"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_thoughts_lists_and_endless_numbers_are_no_ranking(text, places, state):
    found = read_permutation(text, {"1": 0, "2": 1, "3": 2, "4": 3})
    assert found.places == places
    assert found.repaired == (state == "repaired")
    assert found.unparsable == (state == "unparsable")


@pytest.mark.parametrize(
    ("text", "best", "repaired"),
    [
        ("Sure! [B] > [A] > [C]", 1, False),
        ("[b] > [a]", 1, True),
        ("[I] > [C]", 2, True),
    ],
)
def test_letters_are_read_by_the_rule_of_numbers(text, best, repaired):
    found = read_permutation(text, {"A": 0, "B": 1, "C": 2})
    assert (found.places[0], found.repaired) == (best, repaired)


@pytest.mark.parametrize(
    ("text", "finished", "counts", "best"),
    [
        ("passage [3] seems fit, but [2]", False, {"unparsable": 1}, 0),
        ("hm, [3].</think>[2] > [1]", False, {"repaired": 1}, 1),
        ("[2] > [1] > [3]", True, {}, 1),
    ],
)
def test_a_thinking_model_is_not_begun_for_and_is_not_read_before_it_is_done(
    text, finished, counts, best
):
    seen = []

    def answer(request):
        seen.append(request)
        return Generation(text, finished=finished)

    result = rerank_one(built(THINKING), candidates(["a", "b", "c"]), FakeEngine(answer))
    assert (seen[0].prompt.thinking, seen[0].prompt.prefill) == (True, "")
    assert seen[0].max_tokens > 2048
    told = {k: n for k, n in result.counts.items() if k in {"repaired", "unparsable"}}
    assert (told, order(result.scores)[0]) == (counts, best)
    assert result.counts.get("unfinished", 0) == (not finished)


def test_an_answer_that_was_begun_is_read_with_its_beginning():
    engine = FakeEngine(lambda request: Generation("3] > [1] > [2]", finished=True))
    result = rerank_one(built("listwise"), candidates(["a", "b", "c"]), engine)
    assert order(result.scores) == [2, 0, 1]
    assert result.counts == {"generations": 1, "scored_queries": 1}
