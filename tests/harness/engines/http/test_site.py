"""What is known of servers before they are asked anything."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rerank_bench import NextToken, PairScore
from rerank_bench.engines.http import HttpEngine
from rerank_bench.errors import EngineFault
from rerank_bench.types import Failure

scripted: Any = sys.modules["scripted"]
Fault = scripted.Fault
all_of = scripted.all_of
label = scripted.label
pair_routes = scripted.pair_routes
Serve = Callable[..., Any]
Open = Callable[..., HttpEngine]


def test_building_one_contacts_nobody(serve: Serve, opened: Open) -> None:
    server = serve()
    engine = opened(server)
    assert engine.supports(frozenset({NextToken, PairScore}))
    assert not engine.supports(frozenset({str}))
    assert server.keys == []


def test_identity_holds_the_address_only_where_nothing_else_tells_models_apart(
    serve: Serve, opened: Open, llama: Path
) -> None:
    known = opened(serve()).identity
    assert known["root"] == str(llama)
    assert "base_url" not in known
    assert all(isinstance(value, str) for value in known.values())
    nameless = serve(pair_routes("jina"))
    assert opened(nameless, model="n/n").identity["base_url"] == nameless.url
    mute = serve({"/v1/models": scripted.vllm(str(llama))["/v1/models"]})
    assert opened(mute).identity["base_url"] == mute.url


def moved(routes: dict[str, Any], by: float) -> dict[str, Any]:
    """The routes of a server whose label scores are higher by `by`, and less so for later labels.

    As under another dtype.
    """
    plain = routes["/v1/completions"]

    def completions(body: dict[str, Any]) -> Any:
        found = plain(body)
        for choice in found["choices"]:
            (top,) = (choice["logprobs"] or {}).get("top_logprobs", [{}])
            top |= {k: v + by / (place + 1) for place, (k, v) in enumerate(top.items())}
        return found

    return {**routes, "/v1/completions": completions}


@pytest.mark.parametrize("exact", [True, False])
def test_replicas_share_an_identity_and_servers_of_other_numbers_have_their_own(
    serve: Serve, opened: Open, llama: Path, exact: bool
) -> None:
    routes = scripted.vllm(str(llama), exact=exact)
    one, other = serve(routes), serve(moved(routes, 1e-6))
    first = opened(one).identity
    assert opened(other).identity == opened(one, other).identity == first
    coarse = serve(moved(routes, 0.02))
    assert opened(coarse).identity["probe"] != first["probe"]
    both = opened(one, coarse).identity["probe"]
    assert both == opened(coarse, one).identity["probe"] != first["probe"]
    with pytest.raises(EngineFault, match="answer differently"):
        dict(opened(one, serve(moved(routes, 2.0))).identity)


def under_a_template(around: int, shift: float) -> dict[str, Any]:
    """A server of pairs that puts `around` tokens about them."""
    routes = pair_routes("vllm")
    plain = routes["/score"]

    def score(body: dict[str, Any]) -> Any:
        found = plain(body)
        entries = [{**entry, "score": entry["score"] + shift} for entry in found["data"]]
        return {"data": entries, "usage": {"prompt_tokens": 10 + around}}

    return {**routes, "/score": score}


def test_a_template_shows_in_the_identity_and_replicas_must_share_it(
    serve: Serve, opened: Open
) -> None:
    cases = [(0, 0.0), (7, 0.0), (0, 0.3)]
    servers = [serve(under_a_template(*case)) for case in cases]
    probes = [opened(server, model="n/n").identity["probe"] for server in servers]
    assert len(set(probes)) == len(cases)
    with pytest.raises(EngineFault, match="answer differently"):
        dict(opened(*servers[:2], model="n/n").identity)


def test_a_question_counts_as_it_is_answered_the_second_time(serve: Serve, opened: Open) -> None:
    def cold(body: dict[str, Any]) -> Any:
        again = body["text_2"][0] in asked
        asked.add(body["text_2"][0])
        return {"data": [{"index": 0, "score": 1.0 if again else 2.0}]}

    asked: set[str] = set()
    server = serve({"/score": cold})
    first = opened(server, model="n/n").identity
    assert opened(server, model="n/n").identity == first


def test_a_server_that_is_busy_when_it_is_looked_at_has_the_same_identity(
    serve: Serve, opened: Open
) -> None:
    server = serve()
    first = opened(server).identity
    posts = len(server.posts)
    server.faults += [Fault(429), Fault(503)] * 2
    assert opened(server).identity == first
    assert len(server.posts) == 2 * posts + 4


@pytest.mark.parametrize("path", ["/v1/embeddings", "/classify"])
def test_encoders_and_classifiers_are_told_apart_too(
    serve: Serve, opened: Open, encoder: Path, path: str
) -> None:
    def answering(value: float) -> Callable[[Any], Any]:
        entry = {"index": 0, "embedding": [value, 0.1], "probs": [value]}
        return lambda body: {"data": [entry]}

    probes = [
        opened(serve({path: answering(value)}), tokenizer=str(encoder)).identity["probe"]
        for value in (0.301, 0.301, 0.303)
    ]
    assert probes[0] == probes[1] != probes[2]


def test_an_adapter_is_posted_by_its_name_and_read_with_its_base(
    serve: Serve, opened: Open, llama: Path
) -> None:
    routes = scripted.vllm(str(llama))
    entries = [*routes["/v1/models"]({})["data"], {"id": "lora", "root": "/x", "parent": "m"}]
    server = serve({**routes, "/v1/models": lambda body: {"data": entries}})
    engine = opened(server, model=None, adapter="lora")
    all_of(engine, [label("a")])
    assert {body["model"] for body in server.bodies("/v1/completions")} == {"lora"}
    assert engine.identity["adapter_root"] == "/x"
    assert engine.identity["root"] == str(llama)


def test_the_context_is_the_least_that_anyone_tells(serve: Serve, opened: Open) -> None:
    assert opened(serve()).identity["context"] == "400"
    engine = opened(serve(), max_model_len=30)
    (reply,) = all_of(engine, [label("word " * 60)])
    assert isinstance(reply, Failure)
    assert "context of 30" in reply.reason


def test_texts_are_fitted_by_the_server_where_the_tokenizer_is_not_here(
    serve: Serve, opened: Open
) -> None:
    engine = opened(serve(pair_routes("tei")), model="n/n")
    long, short = engine.fit(["one two three four five", "one two"], 3)
    assert (long.text.split(), long.truncated) == (["one", "two", "three"], True)
    assert (short.text, short.truncated) == ("one two", False)
    assert (long.tokens, short.tokens) == (3, 2)
    routes = pair_routes("tei")
    del routes["/tokenize"]
    with pytest.raises(EngineFault, match="-o tokenizer=ID"):
        opened(serve(routes), model="n/n").fit(["one"], 3)


def test_requests_for_a_language_model_need_its_tokenizer(serve: Serve, opened: Open) -> None:
    engine = opened(serve(scripted.vllm("/nowhere/at/all")))
    with pytest.raises(EngineFault, match="tokenizer=ID"):
        all_of(engine, [label("a")])


def test_a_closed_engine_opens_again(serve: Serve, opened: Open) -> None:
    engine = opened(serve())
    first = all_of(engine, [label("a")])
    engine.close()
    assert all_of(engine, [label("a")]) == first
