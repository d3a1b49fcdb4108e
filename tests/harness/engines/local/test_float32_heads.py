"""Heads compute in float32, so that a 16-bit model gives no more equal scores than float32."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, Gemma2Config, Gemma2ForCausalLM, LlamaConfig

from rerank_bench.engines.local import TransformersEngine
from rerank_bench.engines.local.language import sum_logprobs
from rerank_bench.types import Message, NextToken, PairScore, Prompt

Engines = Callable[..., TransformersEngine]


@pytest.fixture(scope="module")
def documents(checkpoints: Any) -> list[str]:
    return [text for text in checkpoints.TEXTS if len(text) < 200][:20]


@pytest.fixture(scope="module")
def capped(llama: Path, tmp_path_factory: pytest.TempPathFactory, checkpoints: Any) -> Path:
    """A random Gemma 2, which caps its logits at 2."""
    folder = tmp_path_factory.mktemp("capped")
    tokenizer = AutoTokenizer.from_pretrained(llama)
    tokenizer.save_pretrained(folder)
    shape = {**checkpoints.decoder_shape(len(tokenizer)), "final_logit_softcapping": 2.0}
    torch.manual_seed(1)
    Gemma2ForCausalLM(Gemma2Config(**shape)).save_pretrained(folder)
    return folder


def values(engine: TransformersEngine, documents: list[str]) -> list[float]:
    """The logit of label A, or the score of a pair, for each document."""
    if engine.identity["head"] == "none":
        prompts = [Prompt((Message("user", f"Query: imports\n{d}"),)) for d in documents]
        replies: Any = dict(engine.stream(NextToken(prompt, ("A", "B")) for prompt in prompts))
        return [replies[i].logit["A"] for i in range(len(documents))]
    replies = dict(engine.stream(PairScore("imports", d) for d in documents))
    return [replies[i].logits[0] for i in range(len(documents))]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    "model", ["llama", "qwen", "capped", "cross_encoder", "llama_classifier", "composed"]
)
def test_scores_are_not_rounded_to_the_dtype_of_the_weights(
    request: pytest.FixtureRequest, engine: Engines, documents: list[str], model: str, dtype: str
) -> None:
    folder = request.getfixturevalue(model)
    exact = values(engine(folder), documents)
    found = values(engine(folder, dtype=dtype), documents)
    assert found == pytest.approx(exact, abs=0.3)
    rounded = torch.tensor(found).to(getattr(torch, dtype)).tolist()
    assert sum(a != b for a, b in zip(found, rounded, strict=True)) >= 18
    if model == "capped":
        assert max(map(abs, found)) < 2.0


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
    config = json.loads((tmp_path / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "modeling_normalized.NormalizedLlama"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    given = {"trust_remote_code": True}
    exact = values(engine(tmp_path, **given), documents)
    found = values(engine(tmp_path, **given, dtype="bfloat16"), documents)
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
    found = sum_logprobs([1, 2, 3], logits.as_subclass(OnApple))
    assert found == pytest.approx(expected, abs=1e-5)


def test_an_encoder_keeps_the_dtype_it_was_asked_for(engine: Engines, encoder: Path) -> None:
    parameters = engine(encoder, dtype="bfloat16")._load("encoder").network.parameters()
    assert {parameter.dtype for parameter in parameters} == {torch.bfloat16}
