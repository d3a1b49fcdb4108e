"""LiT5, ListT5 and MVP: what they ask of a fusion-in-decoder model, and what they make of it."""

from __future__ import annotations

import random

import pytest

from rerank_bench import (
    BadOption,
    Candidates,
    Document,
    FakeEngine,
    Generation,
    load_template,
    order,
    rerank_one,
)
from rerank_bench.engines import open_engine
from rerank_bench.rerankers.listt5 import ListT5, read_numbers
from rerank_bench.rerankers.lit5 import LiT5
from rerank_bench.rerankers.mvp import MVP
from rerank_bench.reranking import Defaults, choose


def candidates(texts, query="what is sought"):
    return Candidates("task", "q1", query, tuple(Document(str(i), t) for i, t in enumerate(texts)))


def pool(comparator, count, seed):
    texts = [comparator.text_of(f"{seed}-{i}") for i in range(count)]
    grades = {text: float(count - i) for i, text in enumerate(texts)}
    random.Random(seed).shuffle(texts)
    return texts, grades


@pytest.mark.parametrize("count", [0, 1, 2, 4, 5, 6, 19, 20, 21, 22, 42, 95, 100, 101])
def test_an_exact_judge_finds_the_best_ten_in_order_by_tournaments(comparator, count):
    for seed in range(5):
        texts, grades = pool(comparator, count, seed)
        result = rerank_one(ListT5(), candidates(texts), comparator.oracle(grades))
        ideal = order([grades[text] for text in texts])
        assert order(result.scores)[:10] == ideal[:10]
        others = order(result.scores)[10:]
        assert others == sorted(others) or count <= 5


def test_later_tournaments_play_only_the_groups_of_the_winner_anew(comparator):
    texts, grades = pool(comparator, 100, 3)
    first = rerank_one(ListT5(top=1), candidates(texts), comparator.oracle(grades)).usage
    assert (first.calls, first.rounds) == (20 + 8 + 4 + 2 + 1, 5)
    ten = rerank_one(ListT5(), candidates(texts), comparator.oracle(grades)).usage
    assert ten.calls <= first.calls + 9 * 2 * 5
    assert rerank_one(ListT5(), candidates(texts[:5]), comparator.oracle(grades)).usage.calls == 1


def test_a_group_is_read_in_first_stage_order_and_is_always_full():
    seen = []

    def answer(request):
        seen.append([prompt.text for prompt in request.prompts])
        return Generation(" ".join(map(str, range(1, len(request.prompts) + 1))), finished=True)

    result = rerank_one(ListT5(top=1), candidates("abcdefg"), FakeEngine(answer))
    assert seen[0][0] == "Query: what is sought, Index: 1, Context: a"
    contexts = ["".join(text[-1] for text in group) for group in seen]
    # the last is the best: e and d win, g and f against the fillers a, b and c, and then g
    assert contexts == ["abcde", "abcfg", "adefg"]
    assert order(result.scores) == [6, 0, 1, 2, 3, 4, 5]
    assert all(len(group) == 5 for group in seen)
    assert result.counts["generations"] == 3


def test_a_short_group_is_filled_from_its_own_level_and_the_last_from_the_one_before():
    seen = []

    def answer(request):
        seen.append("".join(prompt.text[-1] for prompt in request.prompts))
        return Generation("1 2 3 4 5", finished=True)

    rerank_one(ListT5(top=1), candidates("abcdefghijk"), FakeEngine(answer))
    # what the official code asks: two of each group advance, the better one behind the other
    assert seen == ["abcde", "fghij", "abcdk", "ddeij", "deijk", "dijjk"]


@pytest.mark.parametrize(
    ("text", "places", "state"),
    [
        ("3 1 2", [1, 0, 2], ""),
        ("2", [1, 0, 2], "repaired"),
        ("1 9 2 3", [2, 1, 0], "repaired"),
        ("3 3 1 2", [1, 0, 2], "repaired"),
        ("none", [0, 1, 2], "unparsable"),
        (f"{'9' * 6000}", [0, 1, 2], "unparsable"),
    ],
)
def test_numbers_are_read_from_the_last_to_the_first(text, places, state):
    assert read_numbers(text, 3) == (places, state)


def test_lit5_asks_for_windows_of_numbered_passages():
    seen = []

    def answer(request):
        seen.append(request)
        return Generation(" > ".join(f"[{n}]" for n in range(20, 0, -1)), finished=True)

    texts = [f"text [{i}]" for i in range(30)]
    result = rerank_one(LiT5(), candidates(texts, "who [7]"), FakeEngine(answer))
    assert [len(request.prompts) for request in seen] == [20, 20]
    assert seen[0].max_tokens == 140
    first = seen[0].prompts[0].text
    assert first == "Search Query: who (7) Passage: [1] text (10) Relevance Ranking:"
    assert result.counts["escaped_ids"] == 31
    assert order(result.scores)[:3] == [20, 21, 22]


@pytest.mark.parametrize(
    ("text", "best", "count"),
    [
        ("[3] > [1] > [2]", [2, 0, 1], ""),
        ("3 1 2", [2, 0, 1], "repaired"),
        ("[3] > 1 > 2", [2, 0, 1], "repaired"),
        ("3,2", [2, 1, 0], "repaired"),
        ("1 2 3", [0, 1, 2], "repaired"),
        ("7 8", [0, 1, 2], "unparsable"),
        ("the best is 3", [0, 1, 2], "unparsable"),
        ("", [0, 1, 2], "unparsable"),
    ],
)
def test_lit5_reads_bare_numbers_as_a_repair_and_none_among_words(text, best, count):
    engine = FakeEngine(lambda request: Generation(text, finished=True))
    result = rerank_one(LiT5(), candidates("abc"), engine)
    assert order(result.scores) == best
    told = [name for name in ("repaired", "unparsable") if result.counts.get(name)]
    assert told == ([count] if count else [])


def test_other_models_do_not_have_bare_numbers_read():
    engine = FakeEngine(lambda request: Generation("3 1 2", finished=True))
    result = rerank_one(choose("listwise:engine=fake").reranker, candidates("abc"), engine)
    assert order(result.scores) == [0, 1, 2]
    assert result.counts["unparsable"] == 1


def test_mvp_scores_do_not_depend_on_the_order_of_documents(t5, checkpoints):
    engine = open_engine("transformers", model=str(t5))
    texts = checkpoints.TEXTS[:25]
    before = rerank_one(MVP(), candidates(texts), engine)
    places = list(range(25))
    random.Random(0).shuffle(places)
    after = rerank_one(MVP(), candidates([texts[place] for place in places]), engine)
    assert after.scores == pytest.approx([before.scores[place] for place in places], rel=1e-4)
    assert len(set(before.scores)) == 25
    assert before.usage.calls == 1


@pytest.mark.parametrize("method", [LiT5(window=4), ListT5()], ids=["lit5", "listt5"])
def test_a_model_that_writes_noise_loses_no_document(t5, checkpoints, method):
    engine = open_engine("transformers", model=str(t5))
    result = rerank_one(method, candidates(checkpoints.TEXTS[:12]), engine)
    assert sorted(order(result.scores)) == list(range(12))
    assert result.usage.prompt_tokens > 0
    assert result.usage.output_tokens > 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lit5:max_tokens=0", "lit5: max_tokens must be at least 1"),
        ("lit5:window=1", "lit5: window must be at least 2"),
        ("mvp:views=0", "mvp: views must be at least 1"),
        ("listt5:winners=3", "listt5: winners must be from 1 to half the group of 5, not 3"),
        ("listt5:top=0", "listt5: top must be at least 1"),
    ],
)
def test_options_that_cannot_be_are_refused(name, message):
    with pytest.raises(BadOption, match=message):
        choose(name, Defaults(engine="fake"))


@pytest.mark.parametrize(
    ("name", "text", "labels"),
    [
        ("monot5", "Query: QUERY Document: DOCUMENT Relevant:", ("true", "false")),
        ("mt5", "Query: QUERY Document: DOCUMENT Relevant:", ("yes", "no")),
        ("rankt5", "Query: QUERY Document: DOCUMENT", ("<extra_id_10>",)),
        ("upr", "Passage: DOCUMENT. Please write a question based on this passage.", ()),
        (
            "flan-t5-yes-no",
            "Passage: DOCUMENT\nQuery: QUERY\n"
            "Does the passage answer the query? Answer 'Yes' or 'No'",
            ("Yes", "No"),
        ),
        ("flan-t5-question",
         "Passage: DOCUMENT\nPlease write a question based on this passage.", ()),
        ("lit5", "Search Query: QUERY Passage: [3] DOCUMENT Relevance Ranking:", ()),
        ("listt5", "Query: QUERY, Index: 3, Context: DOCUMENT", ()),
        (
            "mvp",
            "<extra_id_0><extra_id_1><extra_id_2><extra_id_3>"
            " | Query: QUERY | Context: DOCUMENT",
            (),
        ),
    ],
)  # fmt: skip
def test_prompts_are_those_of_the_checkpoints(name, text, labels):
    template = load_template(name)
    assert template.fill(query="QUERY", document="DOCUMENT", index=3).text == text
    assert template.labels == labels


@pytest.mark.parametrize("name", ["RankT5-base", "monoT5-base", "flan-t5-large-yesno", "UPR-T0-3B"])
def test_named_encoder_decoders_rank_on_a_random_t5(t5, checkpoints, name):
    engine = open_engine("transformers", model=str(t5))
    reranker = choose(f"{name}:engine=fake").reranker
    result = rerank_one(reranker, candidates(checkpoints.TEXTS[:6], "a list of names"), engine)
    assert len(set(result.scores)) == 6
    assert result.usage.calls == 6
