"""The engine that asks servers: what it posts, and what it makes of replies."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench import NextToken, Prompt
from rerank_bench.engines import EngineOptions, open_engine
from rerank_bench.engines.http import HttpEngine
from rerank_bench.engines.http.numbers import require_raw, unreported
from rerank_bench.errors import EngineFault
from rerank_bench.types import Failure, Generate, LabelScores, Likelihood

scripted: Any = sys.modules["scripted"]
Refusal = scripted.Refusal
LETTERS = scripted.LETTERS
all_of = scripted.all_of
chat = scripted.chat
label = scripted.label
Serve = Callable[..., Any]
Open = Callable[..., HttpEngine]


# Label scores


def test_labels_are_read_by_token_id_and_prompts_go_out_as_ids(
    serve: Serve, opened: Open, llama: Path
) -> None:
    server = serve()
    requests = [label(f"text {i}") for i in range(40)]
    engine = opened(server)
    replies = all_of(engine, requests)
    reference = open_engine(EngineOptions(model=str(llama), device="cpu"))
    for reply, (_, expected) in zip(
        replies, sorted(reference.answer(requests[:40]), key=lambda pair: pair[0]), strict=True
    ):
        assert reply.prompt_tokens == expected.prompt_tokens  # type: ignore[union-attr]
        ids = [engine._site.tokens.label_id(x, after="[") for x in LETTERS]
        assert list(reply.logprob.values()) == [scripted.logprob(i) for i in ids]
    posted = server.bodies("/v1/completions")[2:]
    assert sorted(len(body["prompt"]) for body in posted) == [8, 16, 16]
    assert engine.identity["labels"] == "exact"


@pytest.mark.parametrize(("most", "level"), [(20, "20"), (6, "5")])
def test_a_label_that_a_server_tells_by_rank_only_is_missing_if_outside(
    serve: Serve, opened: Open, most: int, level: str
) -> None:
    engine = opened(serve(exact=False, most=most))
    (reply,) = all_of(engine, [NextToken(chat("a"), (3, 1, 21))])
    assert reply.logprob == {3: scripted.logprob(3), 1: scripted.logprob(1)}
    assert reply.bound is not None
    assert reply.of(21) == reply.bound < min(reply.logprob.values())
    assert engine.identity["labels"] == level


def test_labels_by_their_text_count_only_where_one_token_has_it(
    serve: Serve, opened: Open, llama: Path
) -> None:
    routes = scripted.vllm(str(llama), exact=False)
    plain = routes["/v1/completions"]

    def by_text(body: dict[str, Any]) -> Any:
        if "return_token_ids" in body:
            raise Refusal(400, {"error": "unknown field"})
        found = plain(body)
        for choice in found["choices"]:
            choice["logprobs"]["top_logprobs"] = [{"A": -1.0, "\ufffd": -2.0}]
        return found

    engine = opened(serve({**routes, "/v1/completions": by_text}))
    tokenizer = engine._site.tokens.tokenizer
    unsure = next(i for i in range(len(tokenizer)) if tokenizer.decode([i]) == "\ufffd")
    (reply,) = all_of(engine, [NextToken(chat("a"), ("A", unsure))])
    assert reply.logprob == {"A": -1.0}


def test_more_labels_than_vllm_reads_at_once_are_refused(serve: Serve, opened: Open) -> None:
    with pytest.raises(EngineFault, match="129 labels"):
        all_of(opened(serve()), [NextToken(chat("a"), tuple(range(129)))])


def test_a_label_that_an_exact_server_leaves_out_is_an_error(
    serve: Serve, opened: Open, llama: Path
) -> None:
    server = serve()
    engine = opened(server)
    assert engine.identity["labels"] == "exact"
    server.routes["/v1/completions"] = scripted.vllm(str(llama), exact=False)["/v1/completions"]
    with pytest.raises(EngineFault, match="left out 5 of 5 labels"):
        all_of(engine, [NextToken(chat("a"), (100, 101, 102, 103, 104))])


def test_a_prompt_that_comes_back_changed_is_an_error(
    serve: Serve, opened: Open, llama: Path
) -> None:
    server = serve()
    engine = opened(server)
    assert engine.identity
    plain = server.routes["/v1/completions"]

    def doubled(body: dict[str, Any]) -> Any:
        found = plain(body)
        for choice in found["choices"]:
            choice["prompt_token_ids"] = [0, *choice["prompt_token_ids"]]
        return found

    server.routes["/v1/completions"] = doubled
    with pytest.raises(EngineFault, match="changed a prompt"):
        all_of(engine, [label("a")])


@pytest.mark.parametrize("value", [None, float("nan"), float("-inf")])
def test_a_number_that_is_none_is_a_failure(serve: Serve, opened: Open, value: Any) -> None:
    server = serve()
    engine = opened(server)
    assert engine.identity
    plain = server.routes["/v1/completions"]

    def broken(body: dict[str, Any]) -> Any:
        found = plain(body)
        for choice in found["choices"]:
            top = choice["logprobs"]["top_logprobs"][0]
            top[next(iter(top))] = value
        return found

    server.routes["/v1/completions"] = broken
    (reply,) = all_of(engine, [label("a")])
    assert isinstance(reply, Failure)
    assert "NaN" in reply.reason


# Texts and likelihoods


def test_generation_names_every_sampling_field(serve: Serve, opened: Open) -> None:
    server = serve()
    engine = opened(server)
    (reply,) = all_of(engine, [Generate(chat("a"), 7, stop=("\n",), pattern="[A-C]+")])
    body = server.bodies("/v1/completions")[-1]
    assert {k: v for k, v in body.items() if k != "prompt"} == {
        "model": "m", "max_tokens": 7, "temperature": 0.0, "top_p": 1.0, "top_k": -1, "min_p": 0.0,
        "presence_penalty": 0.0, "frequency_penalty": 0.0, "repetition_penalty": 1.0, "n": 1,
        "min_tokens": 0, "ignore_eos": False, "stop": ["\n"], "stop_token_ids": [2],
        "skip_special_tokens": True, "return_token_ids": True, "logprobs": 0,
        "structured_outputs": {"regex": "[A-C]+"},
    }  # fmt: skip
    assert reply.text == engine._site.tokens.text([69, 70])
    assert (reply.tokens, reply.logprobs, reply.finished) == ((69, 70), (-0.25, -0.5), True)
    assert (reply.output_tokens, reply.cached_tokens) == (2, 2)


def test_samples_have_seeds_of_their_own_and_greedy_texts_have_none(
    serve: Serve, opened: Open
) -> None:
    server = serve()
    asked = [Generate(chat("a"), 3, temperature=t, sample=s) for t, s in ((0, 0), (1, 0), (1, 1))]
    all_of(opened(server), [*asked, asked[1]])
    seeds = [body.get("seed") for body in server.bodies("/v1/completions")[2:]]
    assert seeds.count(None) == 1
    assert len(set(seeds)) == 3


def test_a_server_without_token_ids_gives_its_own_text_and_forces_no_pattern(
    serve: Serve, opened: Open
) -> None:
    engine = opened(serve(exact=False))
    (reply,) = all_of(engine, [Generate(chat("a"), 7)])
    assert (reply.text, reply.tokens, reply.output_tokens) == ("ab", (), 1)


@pytest.mark.parametrize(("exact", "way"), [(True, "prompt"), (False, "echo")])
def test_a_likelihood_is_the_sum_over_the_continuation_alone(
    serve: Serve, opened: Open, exact: bool, way: str
) -> None:
    engine = opened(serve(exact=exact))
    (reply,) = all_of(engine, [Likelihood(Prompt(text="a question:"), " what is it")])
    ids = engine._site.tokens.encode([" what is it"])[0]
    assert reply.logprob == pytest.approx(sum(map(scripted.logprob, ids)))
    assert reply.tokens == len(ids)
    assert engine.identity["likelihood"] == way


def test_label_requests_and_texts_are_never_under_way_together(serve: Serve, opened: Open) -> None:
    server = serve()
    mixed = [r for i in range(20) for r in (label(f"t {i}"), Generate(chat(f"t {i}"), 3))]
    all_of(opened(server), mixed)
    assert frozenset({"labels"}) in server.overlaps
    assert frozenset({"labels", "others"}) not in server.overlaps


PARTS = st.lists(st.floats(0.01, 1.0), min_size=3, max_size=12)


@given(parts=PARTS, shown=st.integers(1, 11))
def test_no_unreported_token_is_more_probable_than_its_bound(
    parts: list[float], shown: int
) -> None:
    whole = sum(parts)
    logprobs = sorted((math.log(part / whole) for part in parts), reverse=True)
    reported, rest = logprobs[:shown], logprobs[shown:]
    bound = unreported(reported)
    assert bound < min(reported)
    assert all(value <= bound + 1e-6 for value in rest)


@given(parts=PARTS, labels=st.sampled_from([(0, 1), (1, 0), (2, 0), (0, 2), (1, 2)]))
def test_a_token_more_that_a_server_reports_never_turns_the_odds_of_two_labels_round(
    parts: list[float], labels: tuple[int, int]
) -> None:
    whole = sum(parts)
    ranked = sorted(((math.log(part / whole), i) for i, part in enumerate(parts)), reverse=True)
    odds = []
    for shown in range(1, len(ranked) + 1):
        logprob = {i: value for value, i in ranked[:shown] if i in labels}
        bound = unreported([value for value, _ in ranked[:shown]])
        reply = LabelScores(logprob, bound=bound)
        odds.append(reply.of(labels[0]) - reply.of(labels[1]))
    assert all(value * odds[-1] >= 0 for value in odds)
    assert sorted(odds, key=abs) == pytest.approx(odds, abs=1e-6)


def test_a_bound_is_known_where_the_server_reports_no_number_for_a_token() -> None:
    assert unreported([-0.5, math.nan, -3.0]) == pytest.approx(-3.0)


def test_a_bound_allows_for_the_rounding_of_probabilities() -> None:
    assert unreported([0.0]) == pytest.approx(math.log(1e-7))


def test_raw_outputs_that_sum_to_one_by_chance_are_not_taken_for_probabilities() -> None:
    require_raw([(0.25, 0.750_002)])
    require_raw([(0.25, 0.75), (0.5, 1.5)])


@pytest.mark.parametrize("rows", [[(0.25, 0.75)], [(0.2, 0.8008), (0.6016, 0.4)]])
def test_probabilities_in_float32_or_bfloat16_are_not_taken_for_raw_outputs(
    rows: list[tuple[float, ...]],
) -> None:
    with pytest.raises(EngineFault, match="probabilities instead of raw outputs"):
        require_raw(rows)
