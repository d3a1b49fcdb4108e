"""Heads compute in float32, so that a 16-bit model gives no more equal scores than float32 does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.cross_encoder.modules import LogitScore
from transformers import AutoTokenizer, Gemma2Config, Gemma2ForCausalLM, LlamaConfig

from rerank_bench.engines.local import TransformersEngine
from rerank_bench.engines.local.language import _logprob_of
from rerank_bench.types import Likelihood, Message, NextToken, PairScore, Prompt

Engines = Callable[..., TransformersEngine]
DTYPES = ("bfloat16", "float16")


@pytest.fixture(scope="module")
def documents(checkpoints: Any) -> list[str]:
    return [text for text in checkpoints.TEXTS if len(text) < 200][:100]


def label(text: str) -> NextToken:
    return NextToken(Prompt((Message("user", f"Query: imports\n{text}"),)), ("A", "B"))


def values(engine: TransformersEngine, requests: list[Any]) -> list[float]:
    replies: dict[int, Any] = dict(engine.stream(iter(requests)))
    ordered = [replies[index] for index in range(len(requests))]
    if isinstance(requests[0], NextToken):
        return [reply.logit["A"] for reply in ordered]
    if isinstance(requests[0], Likelihood):
        return [reply.logprob for reply in ordered]
    return [reply.logits[0] for reply in ordered]


def require_distinct(engine: Engines, folder: Path, requests: list[Any], dtype: str) -> None:
    exact = values(engine(folder), requests)
    found = values(engine(folder, dtype=dtype), requests)
    assert len(set(found)) >= 0.95 * len(set(exact))
    assert found == pytest.approx(exact, abs=0.3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("model", ["llama", "qwen"])
def test_logits_of_labels_are_as_distinct_as_in_float32(
    request: pytest.FixtureRequest, engine: Engines, documents: list[str], model: str, dtype: str
) -> None:
    folder = request.getfixturevalue(model)
    require_distinct(engine, folder, [label(text) for text in documents], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("model", ["cross_encoder", "llama_classifier"])
def test_scores_of_pairs_are_as_distinct_as_in_float32(
    request: pytest.FixtureRequest, engine: Engines, documents: list[str], model: str, dtype: str
) -> None:
    folder = request.getfixturevalue(model)
    require_distinct(engine, folder, [PairScore("imports", text) for text in documents], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_scores_of_a_composed_cross_encoder_are_as_distinct_as_in_float32(
    tmp_path: Path, engine: Engines, base_llama: Path, documents: list[str], dtype: str
) -> None:
    transformer = Transformer(str(base_llama), transformer_task="text-generation")
    yes, no = (transformer.tokenizer.encode(t, add_special_tokens=False)[0] for t in ("y", "n"))
    CrossEncoder(modules=[transformer, LogitScore(yes, no)]).save_pretrained(str(tmp_path))
    require_distinct(engine, tmp_path, [PairScore("imports", text) for text in documents], dtype)


def test_soft_capping_is_applied_to_the_float32_logits(
    tmp_path: Path, engine: Engines, llama: Path, documents: list[str], checkpoints: Any
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(llama)
    tokenizer.save_pretrained(tmp_path)
    shape = {**checkpoints.decoder_shape(len(tokenizer)), "final_logit_softcapping": 2.0}
    torch.manual_seed(1)
    Gemma2ForCausalLM(Gemma2Config(**shape)).save_pretrained(tmp_path)
    requests = [label(text) for text in documents]
    require_distinct(engine, tmp_path, requests, "bfloat16")
    assert max(map(abs, values(engine(tmp_path, dtype="bfloat16"), requests))) < 2.0


NORMALIZED = """
import torch
from transformers import LlamaForCausalLM


class NormalizedHead(torch.nn.Linear):
    def forward(self, states):
        return torch.nn.functional.linear(states, torch.nn.functional.normalize(self.weight))


class NormalizedLlama(LlamaForCausalLM):
    _tied_weights_keys = {}

    def __init__(self, config):
        super().__init__(config)
        self.lm_head = NormalizedHead(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()
"""


def test_a_head_of_the_models_own_code_keeps_its_forward(
    tmp_path: Path, engine: Engines, llama: Path, documents: list[str]
) -> None:
    space: dict[str, Any] = {"__name__": "modeling_normalized"}
    exec(NORMALIZED, space)  # noqa: S102 - the code above
    (tmp_path / "modeling_normalized.py").write_text(NORMALIZED)
    AutoTokenizer.from_pretrained(llama).save_pretrained(tmp_path)
    config = LlamaConfig.from_pretrained(llama, tie_word_embeddings=False)
    torch.manual_seed(3)
    model = space["NormalizedLlama"](config)
    torch.nn.init.normal_(model.lm_head.weight, std=3.0)
    model.save_pretrained(tmp_path)
    told = json.loads((tmp_path / "config.json").read_text())
    told["auto_map"] = {"AutoModelForCausalLM": "modeling_normalized.NormalizedLlama"}
    (tmp_path / "config.json").write_text(json.dumps(told))
    requests = [label(text) for text in documents[:20]]
    exact = values(engine(tmp_path, trust_remote_code=True), requests)
    found = values(engine(tmp_path, trust_remote_code=True, dtype="bfloat16"), requests)
    assert found == pytest.approx(exact, abs=0.3)


def test_a_float32_model_keeps_its_own_head(engine: Engines, llama: Path) -> None:
    head = engine(llama)._load("causal").network.get_output_embeddings()
    assert type(head) is torch.nn.Linear


class OnApple(torch.Tensor):
    """A tensor of a device without float64, as Apple's GPUs are; `cpu()` leaves the device."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = super().__torch_function__(func, types, args, kwargs or {})
        if isinstance(found, torch.Tensor):
            if func is torch.Tensor.cpu:
                return found.as_subclass(torch.Tensor)
            if found.dtype == torch.float64:
                raise TypeError("this device has no float64")
        return found


def test_a_likelihood_needs_no_float64_on_the_device() -> None:
    logits = torch.randn(3, 7)
    expected = float(logits.log_softmax(-1)[range(3), [1, 2, 3]].sum())
    found = _logprob_of([1, 2, 3], logits.as_subclass(OnApple))
    assert found == pytest.approx(expected, abs=1e-5)


def test_an_encoder_keeps_the_dtype_it_was_asked_for(engine: Engines, encoder: Path) -> None:
    parameters = engine(encoder, dtype="bfloat16")._load("encoder").network.parameters()
    assert {parameter.dtype for parameter in parameters} == {torch.bfloat16}
