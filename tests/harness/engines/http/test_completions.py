"""Language models: what is posted for labels, texts and likelihoods, and how replies are read."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench import NextToken, Prompt
from rerank_bench.engines import open_engine
from rerank_bench.engines.http import HttpEngine
from rerank_bench.engines.http.completions import unreported
from rerank_bench.errors import EngineFault
from rerank_bench.types import Failure, Generate, LabelScores, Likelihood

scripted: Any = sys.modules["scripted"]
all_of, chat, label = scripted.all_of, scripted.chat, scripted.label
COMPLETIONS = "/v1/completions"
Serve = Callable[..., Any]
Open = Callable[..., HttpEngine]
Served = Callable[..., tuple[Any, HttpEngine]]


def test_labels_are_read_by_token_id_and_prompts_are_posted_as_ids(
    serve: Serve, checked: Open, llama: Path
) -> None:
    server = serve()
    requests = [label(f"text {i}") for i in range(40)]
    engine = checked(server)
    replies = all_of(engine, requests)
    reference = open_engine("transformers", model=str(llama), device="cpu")
    ids = [engine._service.tokens.label_id(x, after="[") for x in scripted.LETTERS]
    for reply, expected in zip(
        replies,
        [r for _, r in sorted(reference.stream(iter(requests)), key=lambda p: p[0])],
        strict=True,
    ):
        assert reply.prompt_tokens == expected.prompt_tokens
        assert list(reply.logprob.values()) == [scripted.logprob(i) for i in ids]
    assert sorted(len(body["prompt"]) for body in server.bodies) == [8, 16, 16]
    assert engine.exact_labels


@pytest.mark.parametrize("top", [20, 5])
def test_a_label_below_the_reported_ranks_is_missing_and_bounded(
    serve: Serve, opened: Open, top: int
) -> None:
    engine = opened(serve(exact=False), dialect="openai", top_logprobs=top)
    (reply,) = all_of(engine, [NextToken(chat("a"), (3, 1, 21))])
    assert reply.logprob == {3: scripted.logprob(3), 1: scripted.logprob(1)}
    assert reply.of(21) == reply.bound < min(reply.logprob.values())
    assert engine.identity["top_logprobs"] == str(top)
    assert not engine.exact_labels


SPELLED = {
    "by text": {"top_logprobs": [{"A": -1.0, "\ufffd": -2.0}]},
    "as a chat": {"content": [{"top_logprobs": [{"token": "A", "logprob": -1.0}]}]},
}


@pytest.mark.parametrize("logprobs", SPELLED.values(), ids=SPELLED)
def test_labels_by_their_text_count_only_where_one_token_has_it(
    serve: Serve, opened: Open, logprobs: dict[str, Any]
) -> None:
    server = serve(exact=False)
    server.change(COMPLETIONS, lambda choice: choice.update(logprobs=logprobs))
    engine = opened(server, dialect="openai")
    tokenizer = engine._service.tokens.tokenizer
    unsure = next(i for i in range(len(tokenizer)) if tokenizer.decode([i]) == "\ufffd")
    (reply,) = all_of(engine, [NextToken(chat("a"), ("A", unsure))])
    assert reply.logprob == {"A": -1.0}


def test_more_labels_than_vllm_reports_at_once_are_refused(serve: Serve, opened: Open) -> None:
    with pytest.raises(EngineFault, match="129 labels"):
        all_of(opened(serve()), [NextToken(chat("a"), tuple(range(129)))])


WRONG = {
    "left out 5 of 5 labels": lambda choice: choice["logprobs"].update(top_logprobs=[{}]),
    "changed a prompt": lambda choice: choice["prompt_token_ids"].insert(0, 0),
}


@pytest.mark.parametrize("error", WRONG)
def test_a_label_left_out_and_a_changed_prompt_are_errors(served: Served, error: str) -> None:
    server, engine = served()
    server.change(COMPLETIONS, WRONG[error])
    with pytest.raises(EngineFault, match=error):
        all_of(engine, [label("a")])


@pytest.mark.parametrize("value", [None, float("nan"), float("-inf")])
def test_a_number_that_is_none_is_a_failure(served: Served, value: Any) -> None:
    server, engine = served()

    def broken(choice: dict[str, Any]) -> None:
        top = choice["logprobs"]["top_logprobs"][0]
        top[next(iter(top))] = value

    server.change(COMPLETIONS, broken)
    (reply,) = all_of(engine, [label("a")])
    assert isinstance(reply, Failure)
    assert "NaN" in reply.reason


# Texts and likelihoods


def test_a_text_is_requested_with_every_sampling_field(served: Served) -> None:
    server, engine = served()
    (reply,) = all_of(engine, [Generate(chat("a"), 7, stop=("\n",), pattern="[A-C]+")])
    (body,) = server.bodies
    assert {k: v for k, v in body.items() if k != "prompt"} == {
        "model": "m", "max_tokens": 7, "temperature": 0.0, "top_p": 1.0, "top_k": -1, "min_p": 0.0,
        "presence_penalty": 0.0, "frequency_penalty": 0.0, "repetition_penalty": 1.0, "n": 1,
        "min_tokens": 0, "ignore_eos": False, "stop": ["\n"], "stop_token_ids": [2],
        "skip_special_tokens": True, "return_token_ids": True, "logprobs": 0,
        "structured_outputs": {"regex": "[A-C]+"},
    }  # fmt: skip
    assert reply.text == engine._service.tokens.text([69, 70])
    assert (reply.tokens, reply.logprobs, reply.finished) == ((69, 70), (-0.25, -0.5), True)
    assert (reply.output_tokens, reply.cached_tokens) == (2, 2)


def test_samples_have_seeds_of_their_own_and_greedy_texts_have_none(
    serve: Serve, checked: Open
) -> None:
    server = serve()
    drawn = [Generate(chat("a"), 3, temperature=t, sample=s) for t, s in ((0, 0), (1, 0), (1, 1))]
    all_of(checked(server), [*drawn, drawn[1]])
    seeds = [body.get("seed") for body in server.bodies]
    assert seeds.count(None) == 1
    assert len(set(seeds)) == 3


def test_a_server_without_token_ids_gives_its_own_text_and_forces_no_pattern(
    serve: Serve, opened: Open
) -> None:
    engine = opened(serve(exact=False), dialect="openai")
    (reply,) = all_of(engine, [Generate(chat("a"), 7)])
    assert (reply.text, reply.tokens, reply.output_tokens) == ("ab", (), 1)
    with pytest.raises(EngineFault, match="only dialect=vllm can force a pattern"):
        all_of(engine, [Generate(chat("a"), 7, pattern="[A-C]")])


@pytest.mark.parametrize("dialect", ["vllm", "openai"])
def test_a_likelihood_is_the_sum_over_the_continuation_alone(
    serve: Serve, opened: Open, dialect: str
) -> None:
    engine = opened(serve(exact=dialect == "vllm"), dialect=dialect)
    (reply,) = all_of(engine, [Likelihood(Prompt(text="a question:"), " what is it")])
    ids = engine._service.tokens.encode([" what is it"])[0]
    assert reply.logprob == pytest.approx(sum(map(scripted.logprob, ids)))
    assert reply.tokens == len(ids)


def test_label_requests_and_texts_are_never_under_way_together(serve: Serve, opened: Open) -> None:
    server = serve()
    mixed = [r for i in range(20) for r in (label(f"t {i}"), Generate(chat(f"t {i}"), 3))]
    all_of(opened(server), mixed)
    assert frozenset({"labels"}) in server.overlaps
    assert frozenset({"labels", "others"}) not in server.overlaps


def test_a_stream_draws_again_after_a_reply(serve: Serve, opened: Open) -> None:
    answered: list[int] = []

    def requests() -> Iterator[Any]:
        for i in range(5):
            while len(answered) < i:
                yield None
            yield label(f"text {i}")

    for index, _ in opened(serve()).stream(requests()):
        answered.append(index)
    assert answered == list(range(5))


# The bound of what is not reported

PARTS = st.lists(st.floats(0.01, 1.0), min_size=3, max_size=12)


@given(parts=PARTS, shown=st.integers(1, 11))
def test_no_unreported_token_is_more_probable_than_its_bound(
    parts: list[float], shown: int
) -> None:
    logprobs = sorted((math.log(part / sum(parts)) for part in parts), reverse=True)
    bound = unreported(logprobs[:shown])
    assert bound < min(logprobs[:shown])
    assert all(value <= bound + 1e-6 for value in logprobs[shown:])


@given(parts=PARTS, labels=st.sampled_from([(0, 1), (1, 0), (2, 0), (0, 2), (1, 2)]))
def test_one_more_reported_token_never_changes_the_sign_of_the_odds_of_two_labels(
    parts: list[float], labels: tuple[int, int]
) -> None:
    whole = sum(parts)
    ranked = sorted(((math.log(part / whole), i) for i, part in enumerate(parts)), reverse=True)
    odds = []
    for shown in range(1, len(ranked) + 1):
        logprob = {i: value for value, i in ranked[:shown] if i in labels}
        reply = LabelScores(logprob, bound=unreported([value for value, _ in ranked[:shown]]))
        odds.append(reply.of(labels[0]) - reply.of(labels[1]))
    assert all(value * odds[-1] >= 0 for value in odds)
    assert sorted(odds, key=abs) == pytest.approx(odds, abs=1e-6)


def test_a_bound_allows_for_unknown_numbers_and_for_rounding() -> None:
    assert unreported([-0.5, math.nan, -3.0]) == pytest.approx(-3.0)
    assert unreported([0.0]) == pytest.approx(math.log(1e-7))
