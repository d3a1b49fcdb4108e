"""Vectors from /v1/embeddings: what is posted, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling

from rerank_bench import Candidates, Document, Prompt, rerank_one
from rerank_bench.engines.http import HttpEngine
from rerank_bench.errors import BadOption, EngineFault
from rerank_bench.rerankers.bi_encoder import BiEncoder
from rerank_bench.types import Embed, Failure

scripted: Any = sys.modules["scripted"]
all_of = scripted.all_of
Serve = Callable[..., Any]
Open = Callable[..., HttpEngine]
Served = Callable[..., tuple[Any, HttpEngine]]
ASKED = [Embed(Prompt(text=text), "last") for text in ("a list", "a longer list of names")]


def embedding(**usage: int) -> dict[str, Any]:
    """A vLLM whose vector of a prompt is (its tokens, its first id, 0, 0, …)."""

    def embeddings(body: dict[str, Any]) -> Any:
        assert body["encoding_format"] == "float"
        rows = [[float(len(ids)), float(ids[0]), *[0.0] * 62] for ids in body["input"]]
        data = [{"index": i, "embedding": row} for i, row in enumerate(rows)]
        read = {"prompt_tokens": sum(map(len, body["input"]))}
        return {"data": data[::-1], "usage": {**read, **usage}}

    return {**scripted.models(), "/v1/embeddings": embeddings}


def saved(folder: Path, source: Path, mode: str, *, dense: bool = False) -> str:
    modules: list[Any] = [Transformer(str(source)), Pooling(64, pooling_mode=mode)]
    modules += [Dense(64, 8)] if dense else []
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder))
    return str(folder)


def test_prompts_are_posted_as_the_ids_of_transformers_and_vectors_are_scaled(
    served: Served, base_llama: Path
) -> None:
    server, engine = served(embedding(), tokenizer=str(base_llama))
    replies = all_of(engine, ASKED)
    tokens = engine._service.tokens
    ids = [one.ids for one in tokens.prompts([asked.prompt for asked in ASKED], closed=True)]
    assert [body["input"] for body in server.bodies] == [ids]
    for reply, sent in zip(replies, ids, strict=True):
        length = (len(sent) ** 2 + sent[0] ** 2) ** 0.5
        expected = [len(sent) / length, sent[0] / length]
        assert reply.array[0, :2] == pytest.approx(expected, abs=1e-6)
        assert reply.prompt_tokens == len(sent)


def test_a_bi_encoder_runs_behind_a_server_and_an_empty_text_is_zeros(
    served: Served, llama: Path
) -> None:
    server, engine = served(embedding(), tokenizer=str(llama))
    documents = tuple(Document(str(i), text) for i, text in enumerate(["a list", "", "names"]))
    result = rerank_one(BiEncoder(pooling="last"), Candidates("t", "q", "a", documents), engine)
    assert result.scores[1] == 0.0
    assert result.counts["without_tokens"] == 1
    assert sum(len(body["input"]) for body in server.bodies) == 3


def test_pooling_is_what_the_checkpoint_saved_or_what_the_option_says(
    served: Served, serve: Serve, checked: Open, opened: Open, encoder: Path, llama: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    folder = saved(tmp_path / "mean", encoder, "mean")
    _, engine = served(embedding(), tokenizer=folder)
    assert all_of(engine, [Embed(Prompt(text="a"))])
    for pooling, given, message in [
        ("cls", {"tokenizer": folder}, "pooling cls is asked for, and the server pools as mean"),
        ("mean", {"tokenizer": str(llama)}, r'"MEAN"}\' and state it: -o server_pooling=mean'),
        ("cls", {"tokenizer": str(encoder)}, "does not say how it pools"),
        (("<|im_end|>",), {"tokenizer": str(llama)}, "named tokens: use --engine transformers"),
    ]:
        with pytest.raises(EngineFault, match=message):
            all_of(opened(serve(embedding()), **given), [Embed(Prompt(text="a"), pooling)])
    told = checked(serve(embedding()), tokenizer=str(encoder), server_pooling="cls")
    assert all_of(told, [Embed(Prompt(text="a"), "cls")])
    with pytest.raises(BadOption, match="'max' is none of last, mean, cls"):
        opened(serve(embedding()), server_pooling="max")


def test_what_a_server_would_give_otherwise_is_refused(
    serve: Serve, opened: Open, base_llama: Path, encoder: Path, tmp_path: Path
) -> None:
    given = {"tokenizer": str(base_llama)}
    with pytest.raises(EngineFault, match=r"read 4\d\d tokens of \d+ that were sent"):
        all_of(opened(serve(embedding(prompt_tokens=400)), **given), ASKED)
    raw = Embed(Prompt(text="a"), "last", normalise=False)
    with pytest.raises(EngineFault, match="vectors of their own length"):
        all_of(opened(serve(embedding()), **given), [raw])
    folder = saved(tmp_path / "dense", encoder, "mean", dense=True)
    with pytest.raises(EngineFault, match="projects its vectors: use --engine transformers"):
        all_of(opened(serve(embedding()), tokenizer=folder), [Embed(Prompt(text="a"))])
    with pytest.raises(EngineFault, match="cannot answer Embed: it has no /v1/embeddings"):
        all_of(opened(serve(scripted.models()), **given), ASKED)
    broken = embedding()
    plain = broken["/v1/embeddings"]
    broken["/v1/embeddings"] = lambda body: (
        plain(body)
        if len(body["input"]) == 1
        else {"data": [{"index": i, "embedding": [None, 1.0]} for i in range(2)]}
    )
    assert all(isinstance(one, Failure) for one in all_of(opened(serve(broken), **given), ASKED))
