"""Rerankers that read text a model wrote: tournaments, groups, ratings, adaptive windows."""

from __future__ import annotations

import json
import math
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench import (
    BadData,
    BadOption,
    Candidates,
    Document,
    FakeEngine,
    Generation,
    order,
    rerank_one,
)
from rerank_bench.rerankers.acurank import top_probabilities
from rerank_bench.rerankers.groupwise import read_scores
from rerank_bench.rerankers.insert_rank import bm25, format_scores
from rerank_bench.rerankers.listwise import mean_order
from rerank_bench.rerankers.rating import read_rating
from rerank_bench.rerankers.tournament import read_picks
from rerank_bench.reranking import Defaults, choose

SIZES = [0, 1, 2, 19, 20, 21, 95, 100, 101]


def built(name: str):
    return choose(name, Defaults(engine="fake")).reranker


def ranked(name: str, answer, count: int, **signals):
    """Rerank documents d0, d1, …, whose texts are their numbers; `answer` reads a prompt."""
    documents = tuple(Document(f"d{i}", f"number {i}") for i in range(count))
    given_ = Candidates("task", "q1", "what is sought", documents, signals=signals)
    return rerank_one(built(name), given_, FakeEngine(answer))


def numbers(request, pattern: str) -> dict[str, int]:
    """Name in the prompt -> number of the document."""
    text = "\n".join(message.text for message in request.prompt.messages)
    return {name: int(number) for name, number in re.findall(pattern, text)}


def best_picks(request) -> Generation:
    """Pick the documents with the largest numbers, as many as the prompt wants."""
    names = numbers(request, r"Document (\d+): number (\d+)")
    wanted = int(re.findall(r"output the top (\d+)", request.prompt.messages[-1].text)[0])
    picks = sorted(names, key=lambda name: -names[name])[:wanted]
    return Generation(", ".join(f"Document {name}" for name in picks), finished=True)


@pytest.mark.parametrize(
    ("count", "calls", "rounds"),
    [
        (0, 0, 0), (1, 0, 0), (2, 1, 1), (19, 4, 4), (20, 4, 4), (21, 4, 4), (95, 13, 5),
        (100, 13, 5), (101, 13, 5),
    ],
)  # fmt: skip
@pytest.mark.parametrize("tournaments", [1, 10])
def test_a_tournament_costs_thirteen_calls_for_a_hundred_documents(
    count, calls, rounds, tournaments
):
    usage = ranked(f"tourrank:tournaments={tournaments}", best_picks, count).usage
    assert (usage.calls, usage.rounds) == (calls * tournaments, rounds)


def test_a_tournament_leaves_brackets_in_texts_since_it_names_documents_without_them():
    shown = []

    def answer(request):
        shown.extend(message.text for message in request.prompt.messages)
        return Generation("Document 1", finished=True)

    documents = (Document("a", "as [3] says"), Document("b", "other"))
    given_ = Candidates("t", "q", "who [2]", documents)
    found = rerank_one(built("tourrank"), given_, FakeEngine(answer))
    assert any(text.endswith(": as [3] says") for text in shown)
    assert "escaped_ids" not in found.counts


@pytest.mark.parametrize("count", [2, 19, 21, 95, 100, 101])
def test_the_best_document_advances_through_every_stage(count):
    result = ranked("tourrank:tournaments=3", best_picks, count)
    assert max(result.scores) == result.scores[-1]
    assert not result.counts.get("repaired")


def test_the_stages_of_a_hundred_documents_give_their_points():
    scores = ranked("tourrank", best_picks, 100).scores
    assert [sum(score >= points for score in scores) for points in range(1, 6)] == [
        50,
        20,
        10,
        5,
        2,
    ]


@pytest.mark.parametrize(
    ("text", "picked", "sound"),
    [
        ("Document 3, Document 1", [2, 0], True),
        ("document [3], document [1]", [2, 0], True),
        ("<think>Document 2?</think>Document 3, Document 1", [2, 0], True),
        ("Document 3, Document 3", [2], False),
        ("Document 3, Document 99", [2], False),
        ("Document 3, Document 1, Document 2", [2, 0], False),
        ("the best of 2 is 3", [], False),
        ("Perhaps Document 3 or Document 1. Wait", [2, 0], False),
        ("<think>Document 3, Document 1", [], False),
        (f"Document {'9' * 5000}", [], False),
    ],
)
def test_picks_are_read_by_their_names(text, picked, sound):
    assert read_picks(text, 4, 2) == (picked, sound)


def scores_of_numbers(request) -> Generation:
    names = numbers(request, r"\[(\d+)\]\. number (\d+)")
    scores = json.dumps({f"[{name}]": number / 100 for name, number in names.items()})
    text = f"<reason>fine</reason><answer>\n```json\n{scores}\n```</answer>"
    return Generation(text, finished=True)


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize(("group", "interval", "repeats"), [(20, 20, 2), (20, 10, 2), (10, 10, 3)])
def test_groups_cost_their_formula_and_give_the_order_of_their_scores(
    count, group, interval, repeats
):
    name = f"groupwise:group={group},interval={interval},repeats={repeats}"
    result = ranked(name, scores_of_numbers, count)
    assert result.usage.calls == math.ceil(count / interval) * repeats
    assert order(result.scores) == list(range(count))[::-1]


@pytest.mark.parametrize(
    ("text", "scores", "sound"),
    [
        ('{"[1]": 5, "[2]": 3}', {0: 5.0, 1: 3.0}, True),
        (
            '<reason>{"[1]": 1}</reason><answer>{"[1]": 5, "[2]": 3}</answer>',
            {0: 5.0, 1: 3.0},
            True,
        ),
        ('<answer>```json\n{"1": 5, "2": 3}\n```</answer>', {0: 5.0, 1: 3.0}, True),
        ('{"[1]": 5, "[2]": 3', {0: 5.0, 1: 3.0}, False),
        ('{"[1]]": 5, "[2]": 3}', {0: 5.0, 1: 3.0}, False),
        ('{"[1]": 50, "[2]": -3}', {0: 10.0, 1: 0.0}, False),
        ('{"[1]": 5}', {0: 5.0}, False),
        ('{"[1]": 5, "[9]": 3}', {0: 5.0}, False),
        ('<think>{"[1]": 5, "[2]": 3}', {}, False),
        ("passage 1 is the best of 2", {}, False),
        ("", {}, False),
    ],
)
def test_scores_of_a_group_are_read_from_its_json(text, scores, sound):
    assert read_scores(text, 2) == (scores, sound)


def test_scores_within_reasoning_that_was_cut_off_are_not_read():
    text = 'I think {"[1]": 5, "[2]": 3} maybe, but'
    result = ranked("groupwise", lambda request: Generation(text, finished=False), 2)
    assert result.counts["unparsable"] == 2
    assert set(result.scores) == {0.0}


def test_a_group_that_cannot_be_read_scores_nought_and_is_counted():
    result = ranked("groupwise:repeats=1", lambda request: Generation("no", finished=True), 40)
    assert set(result.scores) == {0.0}
    assert result.counts["unparsable"] == 2


def rated(text: str, pieces: list[tuple[str, float]]):
    return lambda request: Generation(
        text,
        finished=True,
        pieces=tuple(piece for piece, _ in pieces),
        logprobs=tuple(value for _, value in pieces),
    )


def test_a_rating_is_weighted_by_the_probability_of_its_tokens():
    pieces = [
        ("<think>", 0.0),
        ("5 é", -9.0),
        ("</think><answer>", -0.1),
        ("1", -0.5),
        ("0", -0.25),
    ]
    answer = rated("<think>5 é</think><answer>10</answer>", [*pieces, ("</answer>", -3.0)])
    assert ranked("rating", answer, 1).scores[0] == pytest.approx(10 * math.exp(-0.75))
    assert ranked("rating:weight=none", answer, 1).scores == (10.0,)


def test_bytes_of_the_reasoning_that_are_no_characters_do_not_move_the_rating():
    pieces = [("<think>", 0.0), ("\ufffd", -9.0), ("\ufffd", -9.0), ("</think>", 0.0)]
    answer = rated("<think>é</think>7", [*pieces, ("7", -0.5)])
    assert ranked("rating", answer, 1).scores[0] == pytest.approx(7 * math.exp(-0.5))


def test_a_rating_needs_the_tokens_of_the_answer_or_no_weight():
    def answer(request):
        return Generation("<answer>7</answer>", finished=True)

    with pytest.raises(BadOption, match="weight=none"):
        ranked("rating", answer, 1)
    assert ranked("rating:weight=none", answer, 2).scores == (7.0, 7.0)


@pytest.mark.parametrize(
    ("text", "rating"),
    [
        ("<answer>7</answer>", "7"),
        ("<think>8</think>\n<answer> 10 </answer>", "10"),
        ("</think> 3", "3"),
        ("7", "7"),
        ("<answer>8", "8"),
        ("<answer>2</answer> no, <answer>4</answer>", "4"),
        ("I give it a 7 of 10", None),
        ("<think><answer>7</answer>", None),
        ("<answer>seven</answer>", None),
        ("", None),
    ],
)
def test_a_rating_is_read_where_the_prompt_wants_it(text, rating):
    match = read_rating(text)
    assert (match and match[1]) == rating


def test_a_rating_within_reasoning_that_was_cut_off_is_not_read():
    text = "I might write <answer> 7 </answer> but first"
    answer = Generation(text, finished=False)
    assert ranked("rating:weight=none", lambda request: answer, 1).counts["unparsable"] == 1


def test_a_rating_over_the_highest_is_unparsable():
    result = ranked("rating:weight=none", lambda r: Generation("11", finished=True), 3)
    assert result.counts["unparsable"] == 3
    assert result.scores == (0.0, 0.0, 0.0)


def permutation(request) -> Generation:
    """Order passages by their numbers, the largest first."""
    names = numbers(request, r"\[(\d+)\] number (\d+)")
    return Generation(
        " > ".join(f"[{name}]" for name in sorted(names, key=lambda name: -names[name])),
        finished=True,
    )


def mixed(number: int) -> int:
    """Relevance of a document where the first stage's order says nothing about it."""
    return number * 37 % 101


def by_mixed(request) -> Generation:
    names = numbers(request, r"\[(\d+)\] number (\d+)")
    ordered = sorted(names, key=lambda name: -mixed(names[name]))
    return Generation(" > ".join(f"[{name}]" for name in ordered), finished=True)


@pytest.mark.parametrize("start", ["ranks", "equal"])
@pytest.mark.parametrize("count", SIZES)
def test_adaptive_windows_find_the_top_within_their_budget(start, count):
    result = ranked(f"acurank:start={start}", by_mixed, count)
    best = sorted(range(count), key=lambda number: -mixed(number))[:10]
    assert set(order(result.scores)[:10]) == set(best)
    assert result.usage.calls <= math.ceil(count / 20) + 100
    few = ranked(f"acurank:start={start},max_calls=2", by_mixed, count).usage.calls
    assert few <= math.ceil(count / 20) + 2


def test_adaptive_windows_ask_again_only_while_the_top_is_uncertain():
    eager = ranked("acurank:tolerance=0.0001", permutation, 100).usage.calls
    assert ranked("acurank", permutation, 100).usage.calls < eager


def test_a_document_that_is_left_alone_is_not_ordered_in_that_round():
    """As in the official code, which asks about 20 of 21, and then twice about those in doubt."""
    shown = []

    def answer(request):
        shown.append(len(numbers(request, r"\[(\d+)\] number (\d+)")))
        return by_mixed(request)

    ranked("acurank", answer, 21)
    assert shown == [20, 15, 15]


def test_adaptive_windows_start_from_scores_or_say_why_not():
    scores = tuple(float(100 - i) for i in range(30))
    assert ranked("acurank:start=scores", permutation, 30, first_stage=scores).usage.calls > 1
    for bad in ({}, {"first_stage": tuple(-s for s in scores)}):
        with pytest.raises(BadData, match="start=ranks"):
            ranked("acurank:start=scores", permutation, 30, **bad)


@given(st.lists(st.floats(1, 50), min_size=2, max_size=40), st.integers(1, 10))
def test_the_probabilities_of_the_top_sum_to_its_size(means, k):
    import trueskill

    chances = top_probabilities([trueskill.Rating(mean, mean / 3) for mean in means], k)
    assert sum(chances) == pytest.approx(min(k, len(means)), abs=1e-6)


def test_shuffled_orders_are_averaged_by_mean_place():
    assert mean_order([[2, 0, 1], [2, 1, 0], [0, 2, 1]]) == [2, 0, 1]
    assert mean_order([[0, 1], [1, 0]]) == [0, 1]


def test_every_order_of_a_window_shows_the_passages_in_another_order():
    seen = []

    def answer(request):
        seen.append(tuple(numbers(request, r"\[(\d+)\] number (\d+)").values()))
        return permutation(request)

    assert order(ranked("listwise:orders=4", answer, 20).scores) == list(range(20))[::-1]
    assert len(set(seen)) == 4


@pytest.mark.parametrize("scale", ["raw", "minmax", "rank"])
def test_the_prompt_shows_the_scores_of_each_passage(scale):
    shown = {}

    def answer(request):
        text = request.prompt.messages[-1].text
        shown.update(re.findall(r"BM25 score for passage \[(\d+)\]: (\S+)", text))
        return permutation(request)

    values = (3.0, 1.5, 2.0)
    result = ranked(f"insertrank:scores=first_stage,scale={scale}", answer, 3, first_stage=values)
    assert result.usage.calls == 1
    expected = {"raw": ["3.000", "1.500", "2.000"], "minmax": ["100.0", "0.0", "33.3"]}
    assert list(shown.values()) == expected.get(scale, ["1", "3", "2"])


def test_scores_of_the_first_stage_must_be_there_to_be_shown():
    with pytest.raises(BadData, match="scores=bm25"):
        ranked("insertrank:scores=first_stage", permutation, 3)


def test_bm25_over_the_candidates_ranks_the_document_that_holds_the_query():
    texts = ["an apple", "red pears and plums", "", "pears"]
    documents = tuple(Document(str(i), text) for i, text in enumerate(texts))
    scores = bm25(Candidates("task", "q", "red pears", documents))
    assert order(scores)[:2] == [1, 3]
    assert scores[0] == scores[2] == 0.0
    assert format_scores([], "minmax") == []


@pytest.mark.parametrize(
    "name",
    [
        "tourrank:tournaments=0", "groupwise:group=0", "groupwise:interval=30", "rating:highest=0",
        "rating:weight=maybe", "acurank:start=luck", "acurank:tolerance=0.5", "acurank:stride=5",
        "insertrank:scale=log", "insertrank:scores=dense", "listwise:orders=0",
        "acurank:uncertain=1", "groupwise:temperature=-1", "groupwise:top_p=5",
        "tourrank:max_tokens=0", "tourrank:prompt=listwise", "in-context:prompt=yes-no",
        "groupwise:prompt=yes-no", "rating:prompt=listwise",
    ],
)  # fmt: skip
def test_options_that_cannot_be_are_refused(name):
    with pytest.raises(BadOption):
        built(name)


@pytest.mark.parametrize("name", ["acurank:window=1", "insertrank:stride=300", "acurank:orders=0"])
def test_an_error_names_the_reranker_that_was_asked_for(name):
    with pytest.raises(BadOption, match=f"^{name.partition(':')[0]}: "):
        built(name)


@pytest.mark.parametrize("name", ["tourrank", "groupwise", "in-context"])
def test_a_prompt_without_an_instruction_takes_none(name):
    assert built(name).takes_instruction is False


@pytest.mark.parametrize("name", ["tourrank", "groupwise", "listwise:orders=3"])
def test_the_shuffles_of_a_query_are_the_same_in_every_run(name):
    def answer(request):
        seen.append(request)
        return Generation("", finished=True)

    seen: list = []
    ranked(name, answer, 30)
    first, seen[:] = list(seen), []
    random.seed(7)
    ranked(name, answer, 30)
    assert seen == first
