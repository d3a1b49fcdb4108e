"""Servers of cross-encoders, classifiers and encoders."""

from __future__ import annotations

import base64
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rerank_bench import PairScore, Prompt
from rerank_bench.engines.http import HttpEngine
from rerank_bench.errors import EngineFault
from rerank_bench.types import Embed, Failure, Score

scripted: Any = sys.modules["scripted"]
Refusal = scripted.Refusal
all_of = scripted.all_of
pair_routes = scripted.pair_routes
Serve = Callable[..., Any]
Open = Callable[..., HttpEngine]


@pytest.mark.parametrize("shape", ["vllm", "tei", "jina", "cohere"])
def test_pairs_are_scored_in_every_shape_with_one_query_a_call(
    serve: Serve, opened: Open, shape: str
) -> None:
    server = serve(pair_routes(shape))
    pairs = [PairScore(q, "x" * n) for q in ("one", "two") for n in range(1, 151)]
    replies = all_of(opened(server, model="nobody/nothing-like-this"), pairs)
    assert [reply.logits[0] for reply in replies] == [len(pair.document) for pair in pairs]
    assert sum(reply.prompt_tokens for reply in replies) == (40 if shape == "vllm" else 0)
    queries = [b.get("query", b.get("text_1")) for _, b in server.posts if b][-4:]
    assert sorted(queries) == ["one", "one", "two", "two"]


def test_pair_scores_without_an_endpoint_name_what_there_is(serve: Serve, opened: Open) -> None:
    with pytest.raises(EngineFault, match=r"no /score; it has /v1/completions"):
        all_of(opened(serve()), [PairScore("a", "b")])


@pytest.mark.parametrize("around", [0, 30])
def test_tokens_of_pairs_are_the_tokenizers_unless_the_server_read_more(
    serve: Serve, opened: Open, cross_encoder: Path, around: int
) -> None:
    pairs = [PairScore("a query", "a document of words"), PairScore("a query", "one")]
    routes = pair_routes("vllm")
    server = serve(routes)
    engine = opened(server, tokenizer=str(cross_encoder))
    tokens = engine._site.tokens
    own = [tokens.pair.size + sum(map(len, tokens.encode([p.query, p.document]))) for p in pairs]
    plain = routes["/score"]
    usage = {"prompt_tokens": sum(own) + around}
    server.routes["/score"] = lambda body: {**plain(body), "usage": usage}
    read = [reply.prompt_tokens for reply in all_of(engine, pairs)]
    assert sum(read) == sum(own) + around
    assert (read == own) == (around == 0)


def test_a_pair_that_the_server_finds_too_long_fails_alone(serve: Serve, opened: Open) -> None:
    routes = pair_routes("tei")
    plain = routes["/rerank"]

    def strict(body: dict[str, Any]) -> Any:
        if any(len(text) > 50 for text in body.get("texts", ())):
            raise Refusal(413, {"error": "`inputs` must be within the maximum input length"})
        return plain(body)

    server = serve({**routes, "/rerank": strict})
    pairs = [PairScore("q", "x" * n) for n in range(1, 52)]
    replies = all_of(opened(server, model="n/n"), pairs)
    assert [i for i, reply in enumerate(replies) if isinstance(reply, Failure)] == [50]
    assert "max_doc_tokens" in replies[50].reason


def test_an_encoder_is_not_mistaken_for_a_pair_head(
    serve: Serve, opened: Open, encoder: Path
) -> None:
    server = serve(pair_routes("vllm"))
    with pytest.raises(EngineFault, match="cosine"):
        all_of(opened(server, tokenizer=str(encoder)), [PairScore("a", "b")])
    assert all_of(opened(server, tokenizer=str(encoder), head="classifier"), [PairScore("a", "b")])


def test_vectors_come_as_floats_or_base64_and_are_normalised_as_asked(
    serve: Serve, opened: Open, encoder: Path
) -> None:
    def embeddings(body: dict[str, Any]) -> Any:
        whole = [0.6, 0.8] if body["use_activation"] else [3.0, 4.0]
        shapes = [base64.b64encode(struct.pack("<2f", *whole)).decode(), whole]
        places = range(len(body["input"]))
        return {"data": [{"index": i, "embedding": shapes[i % 2]} for i in places]}

    engine = opened(serve({"/v1/embeddings": embeddings}), tokenizer=str(encoder))
    asked = [Embed(Prompt(text=t), normalise=n) for n in (True, False) for t in ("one", "two")]
    rows = [reply.vectors.tolist() for reply in all_of(engine, asked)]
    assert rows[:2] == [[pytest.approx([0.6, 0.8])]] * 2
    assert rows[2:] == [[[3.0, 4.0]]] * 2
    with pytest.raises(EngineFault, match="transformers or vllm"):
        all_of(engine, [Embed(Prompt(text="one"), pooling="tokens")])


def test_scores_are_raw_logits_of_token_ids(serve: Serve, opened: Open, llama: Path) -> None:
    def classify(body: dict[str, Any]) -> Any:
        assert body["use_activation"] is False
        return {
            "data": [{"index": i, "probs": [len(x), -7.5]} for i, x in enumerate(body["input"])]
        }

    engine = opened(serve({"/classify": classify}), tokenizer=str(llama))
    (reply,) = all_of(engine, [Score(Prompt(text="some text"))])
    assert reply.logits == (reply.prompt_tokens, -7.5)
