"""Servers of cross-encoders, classifiers and encoders."""

from __future__ import annotations

import base64
import json
import shutil
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


def classify(outputs: list[float], posts: list[Any]) -> Callable[..., Any]:
    def route(body: dict[str, Any]) -> Any:
        assert body["use_activation"] is False
        posts.extend(body["input"])
        return {"data": [{"index": i, "probs": outputs} for i in range(len(body["input"]))]}

    return route


TWO = {"id2label": {"0": "no", "1": "yes"}, "label2id": {"no": 0, "yes": 1}}


def changed(folder: Path, source: Path, template: str | None = None, **changes: Any) -> Path:
    """A copy of the config and tokenizer of a model, with another chat template or config."""
    shutil.copytree(source, folder, dirs_exist_ok=True)
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return folder


def test_pairs_of_a_head_with_two_outputs_go_to_classify_as_token_ids_with_their_names(
    serve: Serve, opened: Open, llama_classifier: Path, tmp_path: Path
) -> None:
    posts: list[Any] = []
    engine = opened(
        serve({"/classify": classify([1.5, -2.5], posts)}),
        tokenizer=str(changed(tmp_path, llama_classifier, **TWO)),
    )
    (reply,) = all_of(engine, [PairScore("a query", "a document")])
    assert (reply.logits, reply.names) == ((1.5, -2.5), ("no", "yes"))
    tokens = engine._site.tokens
    assert posts[-1] == tokens.pair.around(*tokens.encode(["a query", "a document"]))


def test_two_outputs_with_segment_ids_are_refused_over_http(
    serve: Serve, opened: Open, cross_encoder: Path, tmp_path: Path
) -> None:
    folder = changed(tmp_path, cross_encoder, **TWO)
    engine = opened(serve({"/classify": classify([1.5, -2.5], [])}), tokenizer=str(folder))
    with pytest.raises(EngineFault, match="segment ids"):
        all_of(engine, [PairScore("a", "b")])


def test_probabilities_in_place_of_raw_outputs_are_refused(
    serve: Serve, opened: Open, llama_classifier: Path, tmp_path: Path
) -> None:
    folder = changed(tmp_path, llama_classifier, **TWO)
    engine = opened(serve({"/classify": classify([0.25, 0.75], [])}), tokenizer=str(folder))
    with pytest.raises(EngineFault, match="probabilities instead of raw outputs"):
        all_of(engine, [PairScore("a", "b")])


def test_a_pair_template_is_rendered_here_and_its_ids_are_posted(
    serve: Serve, opened: Open, llama_classifier: Path
) -> None:
    posts: list[Any] = []
    engine = opened(
        serve({"/classify": classify([1.5], posts)}),
        tokenizer=str(llama_classifier),
        pair_template="query: {{ query }} document: {{ document }}",
    )
    (reply,) = all_of(engine, [PairScore("who", "me")])
    tokens = engine._site.tokens
    (ids,) = tokens.encode(["query: who document: me"])
    assert posts[-1] == tokens.framed(ids, closed=True)
    assert reply.logits == (1.5,)


@pytest.mark.parametrize("changes", [{}, TWO])
def test_pairs_go_to_classify_in_the_text_that_the_checkpoints_own_template_makes(
    serve: Serve,
    opened: Open,
    checkpoints: Any,
    qwen_reranker: Path,
    tmp_path: Path,
    changes: dict[str, Any],
) -> None:
    posts: list[Any] = []
    folder = changed(tmp_path, qwen_reranker, checkpoints.ROLES, **changes)
    outputs = [1.5, -2.5] if changes else [1.5]
    routes = {**pair_routes("vllm"), "/classify": classify(outputs, posts)}
    engine = opened(serve(routes), tokenizer=str(folder))
    (reply,) = all_of(engine, [PairScore("a query", "a document")])
    tokens = engine._site.tokens
    pair = [{"role": "query", "content": "a query"}, {"role": "document", "content": "a document"}]
    text = tokens.tokenizer.apply_chat_template(pair, tokenize=False)
    assert posts[-1] == tokens.encode([text])[0]
    assert (reply.logits, reply.prompt_tokens) == (tuple(outputs), len(posts[-1]))


def test_several_outputs_behind_a_generic_chat_template_are_refused_over_http(
    serve: Serve, opened: Open, checkpoints: Any, llama_classifier: Path, tmp_path: Path
) -> None:
    folder = changed(tmp_path, llama_classifier, checkpoints.CHATML, **TWO)
    engine = opened(serve({"/classify": classify([1.5, -2.5], [])}), tokenizer=str(folder))
    with pytest.raises(EngineFault, match="set pair_template="):
        all_of(engine, [PairScore("a", "b")])


@pytest.mark.parametrize("source", ["llama_classifier", "llama"])
@pytest.mark.parametrize("around", [0, 30, None])
def test_a_server_that_joins_bare_texts_of_a_model_with_a_chat_template_is_refused(
    serve: Serve,
    opened: Open,
    request: pytest.FixtureRequest,
    checkpoints: Any,
    tmp_path: Path,
    source: str,
    around: int | None,
) -> None:
    folder = changed(tmp_path, request.getfixturevalue(source), checkpoints.CHATML)
    routes = pair_routes("vllm")
    plain = routes["/score"]
    server = serve(routes)
    engine = opened(server, tokenizer=str(folder), head="classifier")
    tokens = engine._site.tokens

    def score(body: dict[str, Any]) -> Any:
        texts = [t for d in body["text_2"] for t in (body["text_1"], d)]
        read = tokens.pair.size * len(body["text_2"]) + sum(map(len, tokens.encode(texts)))
        usage = {} if around is None else {"prompt_tokens": read + around}
        return {**plain(body), "usage": usage}

    server.routes["/score"] = score
    if around == 30 or (around is None and source == "llama"):
        assert all_of(engine, [PairScore("a", "b")])
    else:
        with pytest.raises(EngineFault, match="--chat-template FILE, or set pair_template="):
            all_of(engine, [PairScore("a", "b")])
