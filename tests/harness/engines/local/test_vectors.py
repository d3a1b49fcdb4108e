"""Vectors of texts: against sentence-transformers, and against plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer

from rerank_bench import Candidates, Document, EngineFault, Message, Prompt, rerank_one
from rerank_bench.engines.cache import decode, encode
from rerank_bench.engines.local import TransformersEngine
from rerank_bench.errors import BadOption
from rerank_bench.rerankers.bi_encoder import BiEncoder
from rerank_bench.rerankers.e2rank import E2Rank
from rerank_bench.rerankers.jina_listwise import JinaListwise
from rerank_bench.types import Embed, Failure, NextToken, Vectors

Engines = Callable[..., TransformersEngine]
NAMED = ("<|embed_token|>", "<|rerank_token|>")


def vectors(engine: TransformersEngine, requests: list[Embed]) -> list[Any]:
    found = dict(engine.stream(iter(requests)))
    assert all(isinstance(reply, Vectors) for reply in found.values()), found
    return [found[i].array for i in range(len(requests))]


def embed(texts: list[str], pooling: Any = "saved", **options: Any) -> list[Embed]:
    return [Embed(Prompt(text=text), pooling, **options) for text in texts]


def saved(folder: Path, source: Path, mode: str, dense: str = "") -> SentenceTransformer:
    """Save a sentence-transformers model over a tiny checkpoint."""
    transformer = Transformer(str(source))
    modules: list[Any] = [transformer, Pooling(64, pooling_mode=mode)]
    torch.manual_seed(11)
    if dense:
        modules.append(Dense(64, 24, activation_function=getattr(torch.nn, dense)()))
    model = SentenceTransformer(modules=[*modules, Normalize()], device="cpu")
    model.save_pretrained(str(folder))
    return model


@pytest.mark.parametrize(
    ("source", "mode", "dense"),
    [
        ("encoder", "mean", ""),
        ("encoder", "cls", "Tanh"),
        ("base_llama", "lasttoken", "Identity"),
        ("base_llama", "mean", "ReLU"),
    ],
)
def test_saved_vectors_equal_sentence_transformers_own_whatever_the_batch(
    tmp_path: Path,
    engine: Engines,
    request: pytest.FixtureRequest,
    texts: list[str],
    source: str,
    mode: str,
    dense: str,
) -> None:
    model = saved(tmp_path, request.getfixturevalue(source), mode, dense)
    some = [text for text in texts if text]
    expected = model.encode(some, show_progress_bar=False)
    for batch_tokens in (1, 300, 10_000):
        opened = engine(tmp_path, max_num_batched_tokens=batch_tokens)
        found = np.concatenate(vectors(opened, embed(some)))
        assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("pooling", ["last", "mean", "cls"])
def test_poolings_are_those_of_the_hidden_states(
    engine: Engines, encoder: Path, pooling: str
) -> None:
    tokenizer, model = AutoTokenizer.from_pretrained(encoder), AutoModel.from_pretrained(encoder)
    with torch.inference_mode():
        states = model.eval()(**tokenizer("a list of names", return_tensors="pt"))[0][0]
    rows = {"last": states[-1], "mean": states.mean(0), "cls": states[0]}
    requests = embed(["a list of names"], pooling, normalise=False)
    assert vectors(engine(encoder), requests)[0][0] == pytest.approx(
        rows[pooling].numpy(), abs=1e-5
    )


def test_what_a_checkpoint_does_not_say_is_refused_before_it_is_loaded(
    tmp_path: Path, engine: Engines, encoder: Path, llama: Path
) -> None:
    with pytest.raises(EngineFault, match="does not say how it is pooled; give pooling=last"):
        list(engine(encoder).stream(iter(embed(["a"]))))
    with pytest.raises(BadOption, match="'middle' is none of saved, last, mean, cls"):
        list(engine(encoder).stream(iter(embed(["a"], "middle"))))
    with pytest.raises(EngineFault, match=r"no special token <\|embed_token\|>"):
        list(engine(llama).stream(iter(embed(["a"], NAMED))))
    saved(tmp_path / "a", encoder, "weightedmean")
    with pytest.raises(EngineFault, match=r"weightedmean.*not supported"):
        list(engine(tmp_path / "a").stream(iter(embed(["a"]))))
    saved(tmp_path / "b", llama, "mean")
    with pytest.raises(EngineFault, match="through its chat template: give pooling="):
        list(engine(tmp_path / "b").stream(iter(embed(["a"]))))


def test_each_distinct_text_is_encoded_once_until_it_is_forgotten(
    engine: Engines, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = engine(encoder, max_num_batched_tokens=901)
    encoded: list[int] = []
    run = opened.batcher.run
    monkeypatch.setattr(opened.batcher, "run", lambda t, f: (encoded.append(len(t)), run(t, f))[1])
    whole = vectors(opened, embed(["a", "b", "c"], "mean"))
    again = vectors(opened, embed(["c", "d", "a"], "mean"))
    assert sum(encoded) == 4
    assert (again[0] == whole[2]).all()
    assert (again[2] == whole[0]).all()
    opened.forget()
    vectors(opened, embed(["a"], "mean"))
    assert sum(encoded) == 5


def test_a_prompt_that_does_not_fit_fails_and_names_what_to_lower(
    engine: Engines, encoder: Path
) -> None:
    requests = iter(embed(["short", "word " * 500], "mean"))
    found = dict(engine(encoder).stream(requests))
    assert isinstance(found[0], Vectors)
    assert isinstance(found[1], Failure)
    assert "lower max_doc_tokens" in found[1].reason


def test_a_language_model_that_embeds_still_answers_with_its_head(
    engine: Engines, llama: Path
) -> None:
    opened = engine(llama, max_num_batched_tokens=902)
    before = vectors(opened, embed(["the end"], "last"))
    assert dict(opened.stream(iter([NextToken(Prompt(text="a"), (40, 41))])))
    opened.forget()
    assert (vectors(opened, embed(["the end"], "last"))[0] == before[0]).all()


def test_vectors_keep_every_bit_in_the_reply_cache() -> None:
    rows = np.random.default_rng(3).normal(size=(3, 5)).astype(np.float32)
    reply = Vectors.of(rows, prompt_tokens=7)
    found = decode(encode(reply), Embed(Prompt(text="a"), NAMED))
    assert found == reply
    assert (reply.array == rows).all()
    assert len(encode(reply)) < 5 * rows.size + 40


# Rerankers


def given(texts: list[str]) -> Candidates:
    documents = tuple(Document(str(i), text) for i, text in enumerate(texts))
    return Candidates("task", "q", "names of classes", documents)


def test_a_bi_encoder_scores_by_the_cosine_of_sentence_transformers(
    tmp_path: Path, engine: Engines, encoder: Path, texts: list[str]
) -> None:
    model = saved(tmp_path, encoder, "mean")
    found = rerank_one(BiEncoder(), given(texts[:20]), engine(tmp_path)).scores
    query, *documents = model.encode(["names of classes", *texts[:20]], show_progress_bar=False)
    assert found == pytest.approx([float(query @ row) for row in documents], abs=1e-5)


def last_state(network: Any, ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        states = network(torch.tensor([ids])).last_hidden_state[0]
    return torch.nn.functional.normalize(states[-1], dim=0)


def test_e2rank_reads_documents_with_an_end_token_and_the_query_without(
    engine: Engines, qwen: Path, texts: list[str]
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(qwen)
    network = AutoModelForCausalLM.from_pretrained(qwen).float().eval().model
    documents, instruction = [" ".join(text.split()) for text in texts[:6]], "Find"
    listed = "\n".join(f"[{n}] {text}" for n, text in enumerate(documents[:3], start=1))
    chat = [
        {"role": "user", "content": f"Find:\nDocuments:\n{listed}\nSearch Query: names of classes"}
    ]
    rendered = tokenizer.apply_chat_template(
        chat, tokenize=False, add_generation_prompt=True, enable_thinking=False
    )
    query = last_state(network, tokenizer.encode(rendered, add_special_tokens=False))
    rows = [tokenizer.encode(f"{text}<|endoftext|>") for text in documents]
    expected = [float(query @ last_state(network, row)) for row in rows]
    reranker = E2Rank(feedback=3, instruction=instruction)
    found = rerank_one(reranker, given(documents), engine(qwen)).scores
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.fixture(scope="module")
def jina(tmp_path_factory: pytest.TempPathFactory, qwen: Path) -> Path:
    """A tiny random Qwen3 with a projector and the special tokens of jina-reranker-v3."""
    folder = tmp_path_factory.mktemp("jina")
    tokenizer = AutoTokenizer.from_pretrained(qwen)
    tokenizer.add_special_tokens({"additional_special_tokens": list(NAMED)})
    tokenizer.save_pretrained(folder)
    config = AutoConfig.from_pretrained(qwen, max_position_embeddings=4096)
    torch.manual_seed(12)
    network = AutoModelForCausalLM.from_config(config)
    network.resize_token_embeddings(len(tokenizer))
    network.config.architectures = ["JinaForRanking"]
    network.save_pretrained(folder)
    config = AutoConfig.from_pretrained(folder)
    config.architectures = ["JinaForRanking"]
    config.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    weights["projector.0.weight"] = torch.randn(32, 64)
    weights["projector.2.weight"] = torch.randn(16, 32)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def jina_scores(folder: Path, query: str, blocks: list[list[str]]) -> list[float]:
    """The published computation, in plain PyTorch, on the published prompt."""
    from rerank_bench import load_template

    tokenizer = AutoTokenizer.from_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    projector = torch.nn.Sequential(
        torch.nn.Linear(64, 32, bias=False), torch.nn.ReLU(), torch.nn.Linear(32, 16, bias=False)
    )
    projector.load_state_dict({k[10:]: v for k, v in weights.items() if "projector" in k})
    network = AutoModel.from_pretrained(folder).float().eval()
    document_id, query_id = tokenizer.convert_tokens_to_ids(list(NAMED))
    documents, queries, shares = [], [], []
    for block in blocks:
        passages = [{"id": n, "text": text} for n, text in enumerate(block)]
        text = load_template("jina-reranker-v3").fill(query=query, passages=passages).text
        ids = tokenizer(text, return_tensors="pt").input_ids
        with torch.inference_mode():
            states = projector(network(ids).last_hidden_state)
        rows, one = states[ids == document_id], states[ids == query_id]
        documents.append(rows)
        queries.append(one)
        shares.append(((1 + torch.cosine_similarity(rows, one)) / 2).max())
    weight = torch.stack(shares)[:, None] / sum(shares)
    mean = (torch.cat(queries) * weight).sum(0, keepdim=True)
    return torch.cosine_similarity(torch.cat(documents), mean).tolist()


@pytest.mark.parametrize("block", [3, 4, 64])
def test_jina_reranks_by_the_projected_states_of_its_tokens(
    jina: Path, engine: Engines, texts: list[str], block: int
) -> None:
    some = texts[:10]
    blocks = [some[start : start + block] for start in range(0, len(some), block)]
    expected = jina_scores(jina, "names of classes", blocks)
    assert np.std(expected) > 0.02
    result = rerank_one(JinaListwise(block=block), given(some), engine(jina))
    assert result.scores == pytest.approx(expected, abs=1e-4)
    assert result.usage.calls == len(blocks)


def test_a_jina_checkpoint_without_its_projector_is_refused(
    tmp_path: Path, engine: Engines, jina: Path
) -> None:
    for file in jina.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = {
        k: v for k, v in load_file(jina / "model.safetensors").items() if "projector" not in k
    }
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EngineFault, match=r"lacks projector\.0\.weight"):
        list(engine(tmp_path).stream(iter(embed(["a<|rerank_token|>"], NAMED))))


def test_an_embedded_chat_prompt_ends_as_its_template_does(engine: Engines, qwen: Path) -> None:
    prompt = Prompt((Message("user", "names"),))
    (found,) = vectors(engine(qwen), [Embed(prompt, "last")])
    tokenizer = AutoTokenizer.from_pretrained(qwen)
    network = AutoModelForCausalLM.from_pretrained(qwen).float().eval().model
    ids = tokenizer.encode(
        "<|im_start|>user\nnames<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
    assert found[0] == pytest.approx(last_state(network, ids).numpy(), abs=1e-5)


@pytest.mark.parametrize(("mode", "dense"), [("lasttoken", ""), ("mean", "Tanh")])
def test_a_text_without_tokens_has_the_vector_of_sentence_transformers_and_is_counted(
    tmp_path: Path, engine: Engines, llama_classifier: Path, llama: Path, mode: str, dense: str
) -> None:
    source = tmp_path / "source"
    AutoModel.from_pretrained(llama).save_pretrained(source)
    AutoTokenizer.from_pretrained(llama_classifier).save_pretrained(source)  # without a template
    model = saved(tmp_path / "saved", source, mode, dense)
    expected = model.encode(["", "a list of names"], show_progress_bar=False)
    opened = engine(tmp_path / "saved")
    for texts in (["", "a list of names"], ["a list of names", ""]):
        opened.forget()
        found = np.concatenate(vectors(opened, embed(texts)))
        assert found[:: -1 if texts[1] == "" else 1] == pytest.approx(expected, abs=1e-5)
    (alone,) = vectors(opened, embed([""]))
    assert alone[0] == pytest.approx(expected[0], abs=1e-5)
    documents = (Document("1", "names"), Document("2", ""))
    result = rerank_one(BiEncoder(), Candidates("t", "q", "a list", documents), opened)
    assert result.counts["without_tokens"] == 1
    if not dense:
        assert result.scores[1] == 0.0
