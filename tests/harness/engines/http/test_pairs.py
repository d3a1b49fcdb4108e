"""Pairs: sent as texts in each dialect, or to vLLM's /classify as token ids."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rerank_bench import PairScore
from rerank_bench.engines import checkpoint, pairing
from rerank_bench.engines.http import HttpEngine
from rerank_bench.engines.http.dialects import require_raw
from rerank_bench.errors import EngineFault
from rerank_bench.types import Failure

scripted: Any = sys.modules["scripted"]
all_of, scoring, classifying = scripted.all_of, scripted.scoring, scripted.classifying
Serve = Callable[..., Any]
Open = Callable[..., HttpEngine]
Served = Callable[..., tuple[Any, HttpEngine]]
PAIR = PairScore("a query", "a document")


@pytest.mark.parametrize("dialect", ["vllm", "tei", "jina", "cohere"])
def test_pairs_are_scored_in_every_dialect_with_one_query_a_call(
    serve: Serve, checked: Open, dialect: str
) -> None:
    server = serve(scoring(dialect))
    pairs = [PairScore(q, "x" * n) for q in ("one", "two") for n in range(1, 151)]
    replies = all_of(checked(server, dialect=dialect), pairs)
    assert [reply.logits[0] for reply in replies] == [len(pair.document) for pair in pairs]
    assert sum(reply.prompt_tokens for reply in replies) == (40 if dialect == "vllm" else 0)
    queries = [body.get("query", body.get("text_1")) for body in server.bodies]
    assert sorted(queries) == ["one", "one", "two", "two"]


def test_a_model_without_a_pair_head_names_what_is_missing(serve: Serve, opened: Open) -> None:
    with pytest.raises(EngineFault, match="cannot answer PairScore: it has no /score"):
        all_of(opened(serve()), [PAIR])


@pytest.mark.parametrize("around", [0, 30])
def test_tokens_of_pairs_are_the_tokenizers_unless_the_server_read_more(
    served: Served, cross_encoder: Path, around: int
) -> None:
    pairs = [PairScore("a query", "a document of words"), PairScore("a query", "one")]
    server, engine = served(scoring("vllm"), tokenizer=str(cross_encoder))
    tokens = engine._service.tokens
    own = [tokens.pair.size + sum(map(len, tokens.encode([p.query, p.document]))) for p in pairs]
    plain, usage = server.routes["/score"], {"prompt_tokens": sum(own) + around}
    server.routes["/score"] = lambda body: {**plain(body), "usage": usage}
    read = [reply.prompt_tokens for reply in all_of(engine, pairs)]
    assert sum(read) == sum(own) + around
    assert (read == own) == (around == 0)


def test_the_files_of_a_checkpoint_are_read_once_however_many_pairs_follow(
    served: Served, cross_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, engine = served(scoring("vllm"), tokenizer=str(cross_encoder))
    all_of(engine, [PAIR])

    def reread(*_: Any) -> Any:
        raise AssertionError("a file of the checkpoint is read again")

    for module in (checkpoint, pairing):
        monkeypatch.setattr(module, "read_json", reread)
    pairs = [PairScore("a query", f"document {n}") for n in range(600)]
    assert len(all_of(engine, pairs)) == 600


def test_a_pair_that_the_server_refuses_fails_alone(serve: Serve, checked: Open) -> None:
    server = serve(scoring("tei"))
    plain = server.routes["/rerank"]

    def strict(body: dict[str, Any]) -> Any:
        if any(len(text) > 50 for text in body["texts"]):
            raise scripted.Refusal(413, {"error": "`inputs` must be shorter"})
        return plain(body)

    server.routes["/rerank"] = strict
    pairs = [PairScore("q", "x" * n) for n in range(1, 52)]
    replies = all_of(checked(server, dialect="tei"), pairs)
    assert [i for i, reply in enumerate(replies) if isinstance(reply, Failure)] == [50]
    assert "`inputs` must be shorter (if it is too long, lower max_doc_tokens" in replies[50].reason


def test_an_encoder_is_not_mistaken_for_a_pair_head(
    serve: Serve, opened: Open, encoder: Path
) -> None:
    server = serve(scoring("vllm"))
    with pytest.raises(EngineFault, match="cosine"):
        all_of(opened(server, tokenizer=str(encoder)), [PAIR])
    assert all_of(opened(server, tokenizer=str(encoder), head="classifier"), [PAIR])


# As token ids

TWO = {"id2label": {"0": "no", "1": "yes"}, "label2id": {"no": 0, "yes": 1}}


def changed(folder: Path, source: Path, template: str | None = None, **changes: Any) -> str:
    """A copy of the config and tokenizer of a model, with another chat template or config."""
    shutil.copytree(source, folder, dirs_exist_ok=True)
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return str(folder)


def test_pairs_of_a_head_with_two_outputs_go_to_classify_as_token_ids_with_their_names(
    served: Served, llama_classifier: Path, tmp_path: Path
) -> None:
    server, engine = served(
        classifying([1.5, -2.5]), tokenizer=changed(tmp_path, llama_classifier, **TWO)
    )
    (reply,) = all_of(engine, [PAIR])
    assert (reply.logits, reply.names) == ((1.5, -2.5), ("no", "yes"))
    tokens = engine._service.tokens
    ids = tokens.pair.around(*tokens.encode([PAIR.query, PAIR.document]))
    assert server.bodies[-1]["input"] == [ids]


REFUSED = {
    "segment ids": ("cross_encoder", TWO, False, [1.5, -2.5]),
    "probabilities instead of raw outputs": ("llama_classifier", TWO, False, [0.25, 0.75]),
    "set pair_template=": ("llama_classifier", TWO, True, [1.5, -2.5]),
}


@pytest.mark.parametrize("error", REFUSED)
def test_classifiers_that_a_server_would_read_wrongly_are_refused(
    serve: Serve,
    opened: Open,
    request: pytest.FixtureRequest,
    checkpoints: Any,
    tmp_path: Path,
    error: str,
) -> None:
    source, changes, chat, outputs = REFUSED[error]
    template = checkpoints.CHATML if chat else None
    folder = changed(tmp_path, request.getfixturevalue(source), template, **changes)
    with pytest.raises(EngineFault, match=error):
        all_of(opened(serve(classifying(outputs)), tokenizer=folder), [PAIR])


@pytest.mark.parametrize("rows", [[(0.25, 0.75)], [(0.2, 0.8008), (0.6016, 0.4)]])
def test_probabilities_in_float32_or_bfloat16_are_not_taken_for_raw_outputs(
    rows: list[tuple[float, ...]],
) -> None:
    with pytest.raises(EngineFault, match="probabilities instead of raw outputs"):
        require_raw(rows)


@pytest.mark.parametrize("rows", [[(0.25, 0.750_002)], [(0.25, 0.75), (0.5, 1.5)]])
def test_raw_outputs_that_sum_to_one_by_chance_are_not_taken_for_probabilities(
    rows: list[tuple[float, ...]],
) -> None:
    require_raw(rows)


def test_a_pair_template_is_rendered_here_and_its_ids_are_posted(
    served: Served, serve: Serve, checked: Open, llama_classifier: Path
) -> None:
    given = {
        "tokenizer": str(llama_classifier),
        "pair_template": "query: {{ query }} document: {{ document }}",
    }
    server, engine = served(classifying([1.5]), **given)
    (reply,) = all_of(engine, [PairScore("who", "me")])
    tokens = engine._service.tokens
    (ids,) = tokens.encode(["query: who document: me"])
    assert server.bodies[-1]["input"] == [tokens.framed(ids, closed=True)]
    assert reply.logits == (1.5,)
    with pytest.raises(EngineFault, match="dialect=vllm"):
        all_of(checked(serve(scoring("tei")), dialect="tei", **given), [PAIR])


@pytest.mark.parametrize("changes", [{}, TWO])
def test_pairs_go_to_classify_in_the_text_that_the_checkpoints_own_template_makes(
    served: Served, checkpoints: Any, qwen_reranker: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    folder = changed(tmp_path, qwen_reranker, checkpoints.ROLES, **changes)
    outputs = [1.5, -2.5] if changes else [1.5]
    server, engine = served({**scoring("vllm"), **classifying(outputs)}, tokenizer=folder)
    (reply,) = all_of(engine, [PAIR])
    tokens = engine._service.tokens
    turns = [("query", PAIR.query), ("document", PAIR.document)]
    pair = [{"role": role, "content": content} for role, content in turns]
    text = tokens.tokenizer.apply_chat_template(pair, tokenize=False)
    ids = tokens.encode([text])
    assert server.bodies[-1]["input"] == ids
    assert (reply.logits, reply.prompt_tokens) == (tuple(outputs), len(ids[0]))


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
    server = serve(scoring("vllm"))
    engine = opened(server, tokenizer=folder, head="classifier")
    tokens, plain = engine._service.tokens, server.routes["/score"]

    def score(body: dict[str, Any]) -> Any:
        texts = [t for d in body["text_2"] for t in (body["text_1"], d)]
        read = tokens.pair.size * len(body["text_2"]) + sum(map(len, tokens.encode(texts)))
        usage = {} if around is None else {"prompt_tokens": read + around}
        return {**plain(body), "usage": usage}

    server.routes["/score"] = score
    if around == 30 or (around is None and source == "llama"):
        assert all_of(engine, [PAIR])
    else:
        with pytest.raises(EngineFault, match="--chat-template FILE, or set pair_template="):
            all_of(engine, [PAIR])
