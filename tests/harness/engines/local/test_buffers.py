"""Buffers that no checkpoint holds have the values that the model's code computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from rerank_bench.engines.local import TransformersEngine, buffers
from rerank_bench.engines.local.buffers import load_whole
from rerank_bench.errors import EngineFault
from rerank_bench.types import Logits, PairScore

Engines = Callable[..., TransformersEngine]
Toy = Callable[..., Any]
PAIRS = [PairScore("how to import", d) for d in ("a module", "an expression", "the class body")]
# Angles by position and feature, as rotary embeddings have them.
COMPUTED = """angles = torch.arange(config.max_position_embeddings).float()
        angles = angles[:, None] / 10 ** (torch.arange(config.hidden_size) / 10)[None]
        """
PASSED_ON = "states * self.cosines[positions].to(states)"
REGISTERED = 'self.register_buffer("cosines", {}, persistent=False)'


def scores(engine: TransformersEngine) -> list[float]:
    found = dict(engine.stream(iter(PAIRS)))
    assert all(isinstance(reply, Logits) for reply in found.values()), found
    return [found[i].logits[0] for i in range(len(PAIRS))]


def expected(folder: Path, head: Any, tokenizer_folder: Path) -> list[float]:
    """Scores of the class built under plain torch, with the checkpoint's weights."""
    config = head.config_class.from_pretrained(folder)
    model = head(config)
    model.load_state_dict(load_file(folder / "model.safetensors"))
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    with torch.inference_mode():
        return [
            float(model(**tokenizer(p.query, p.document, return_tensors="pt")).logits)
            for p in PAIRS
        ]


@pytest.mark.parametrize(
    ("lines", "forward", "init"),
    [
        (COMPUTED + REGISTERED.format("angles.cos()"), PASSED_ON, "pass"),
        (COMPUTED + "self.cosines = angles.cos()", PASSED_ON, "pass"),
        (
            REGISTERED.format("torch.arange(config.hidden_size)"),
            "states * (self.cosines - 16) / 16",
            "pass",
        ),
        (
            REGISTERED.format("torch.arange(config.hidden_size) >= 0"),
            "torch.where(self.cosines, states, -states)",
            "pass",
        ),
        (
            REGISTERED.format("torch.empty(config.max_position_embeddings, config.hidden_size)"),
            PASSED_ON,
            'if hasattr(module, "cosines"): module.cosines.fill_(0.7)',
        ),
    ],
    ids=["float", "plain attribute", "integer", "truth values", "filled by _init_weights"],
)
def test_a_model_with_its_own_code_scores_as_under_plain_torch(
    tmp_path: Path,
    engine: Engines,
    cross_encoder: Path,
    lines: str,
    forward: str,
    init: str,
    toy: Toy,
) -> None:
    head = toy(tmp_path, cross_encoder, lines, forward=forward, init=init)
    right = expected(tmp_path, head, cross_encoder)
    assert len({round(score, 4) for score in right}) == 3
    found = scores(engine(tmp_path, trust_remote_code=True))
    assert found == pytest.approx(right, abs=1e-5)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (COMPUTED + REGISTERED.format("torch.empty_like(angles)"), "from the config alone"),
        (COMPUTED + REGISTERED.format("torch.randn_like(angles)"), "from the config alone"),
        (COMPUTED + 'self.hidden = torch.nn.Parameter(angles.cos(), requires_grad=False)\n'
         "        " + REGISTERED.format("self.hidden * 2"), "from the config alone"),
        (COMPUTED + 'assert angles.is_meta or config.name_or_path == ""\n        '
         + REGISTERED.format("angles.cos()"), "building the class on the CPU fails .Assertion"),
    ],
    ids=["uninitialised", "random", "made of weights", "does not build"],
)  # fmt: skip
def test_a_tensor_that_nothing_computes_is_refused(
    tmp_path: Path, engine: Engines, cross_encoder: Path, lines: str, why: str, toy: Toy
) -> None:
    toy(tmp_path, cross_encoder, lines)
    with pytest.raises(EngineFault, match=f"no values for toy.rotary.cosines of Toy.*{why}"):
        scores(engine(tmp_path, trust_remote_code=True))


def test_a_build_for_its_buffers_keeps_no_weights(
    tmp_path: Path, cross_encoder: Path, toy: Toy
) -> None:
    head = toy(tmp_path, cross_encoder, COMPUTED + REGISTERED.format("angles.cos()"))
    built = buffers._built(head(head.config_class.from_pretrained(tmp_path)))
    assert all(parameter.is_meta for parameter in built.parameters())
    assert not built.toy.rotary.cosines.is_meta


def test_loading_leaves_torch_as_it_was(tmp_path: Path, cross_encoder: Path, toy: Toy) -> None:
    def state() -> tuple[object, ...]:
        fill = torch.utils.deterministic.fill_uninitialized_memory
        return torch.are_deterministic_algorithms_enabled(), fill, torch.get_default_dtype()

    before, register = state(), torch.nn.Module.register_parameter
    head = toy(tmp_path, cross_encoder, COMPUTED + REGISTERED.format("angles.cos()"))
    buffers._built(head(head.config_class.from_pretrained(tmp_path)))
    with pytest.raises(ZeroDivisionError):
        load_whole(lambda: 1 / 0, "broken")
    assert state() == before
    assert torch.nn.Module.register_parameter is register


def test_a_composed_model_with_its_own_code_is_completed_too(
    tmp_path: Path, engine: Engines, cross_encoder: Path, toy: Toy
) -> None:
    head = toy(tmp_path, cross_encoder, COMPUTED + REGISTERED.format("angles.cos()"))
    saved = '{"model_type": "CrossEncoder", "prompts": {"q": ""}, "default_prompt_name": "q"}'
    (tmp_path / "config_sentence_transformers.json").write_text(saved)
    opened = engine(tmp_path, trust_remote_code=True)
    assert opened.identity["head"] == "composed"
    assert scores(opened) == pytest.approx(expected(tmp_path, head, cross_encoder), abs=1e-5)
