"""Encoders that do less for the same results, against the same ones as transformers runs them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from rerank_bench.engines.local import TransformersEngine
from rerank_bench.engines.local.encoders import has_layouts, optimize_encoder
from rerank_bench.types import Logits, PairScore

FAMILIES = ("Bert", "Camembert", "Electra", "Roberta", "XLMRoberta")
SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 60,
    "pad_token_id": 1,
    "num_labels": 3,
}


def network(family: str, kind: str = "ForSequenceClassification", **settings: Any) -> Any:
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**{**SHAPE, "initializer_range": 0.4})
    for name, value in settings.items():
        setattr(config, name, value)
    return getattr(transformers, f"{family}{kind}")(config).eval()


def both(plain: Any) -> tuple[Any, Any]:
    light = copy.deepcopy(plain)
    optimize_encoder(light)
    return plain, light


def read(found: Any, *, padding: bool) -> torch.Tensor:
    ids = torch.arange(2, 26).reshape(3, 8)
    mask = torch.ones_like(ids)
    if padding:
        mask[1, 5:] = 0
        mask[2, 2:] = 0
    with torch.inference_mode():
        values: torch.Tensor = found(ids, attention_mask=mask)[0]
    return values[mask.bool()] if values.dim() == 3 else values


def rows_of_last_layer(found: Any) -> list[int]:
    seen: list[int] = []
    part = found.base_model.encoder.layer[-1].intermediate
    part.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[1]))
    read(found, padding=True)
    return seen


@pytest.mark.parametrize("padding", [True, False])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_the_unchanged_model(
    family: str, attention: str, padding: bool
) -> None:
    plain, light = both(network(family, _attn_implementation=attention))
    expected = read(plain, padding=padding)
    assert expected.std() > 0.1
    torch.testing.assert_close(read(light, padding=padding), expected, atol=1e-5, rtol=0)
    assert rows_of_last_layer(plain) == [8]
    assert rows_of_last_layer(light) == [1]


@pytest.mark.parametrize("family", FAMILIES)
def test_vectors_of_all_tokens_are_those_of_the_unchanged_model(family: str) -> None:
    plain, light = both(network(family, "Model"))
    expected = read(plain, padding=True)
    torch.testing.assert_close(read(light, padding=True), expected, atol=1e-5, rtol=1e-5)
    assert rows_of_last_layer(light) == [8]


@pytest.mark.skipif(not has_layouts(), reason="torch has no oneDNN for this CPU")
def test_weights_are_held_once_in_the_layout_that_is_multiplied() -> None:
    light = both(network("Bert"))[1]
    linear = [m for m in light.modules() if type(m) is torch.nn.Linear]
    assert len(linear) == 2 * 6 + 2
    assert all(layer.weight.is_mkldnn for layer in linear)
    assert linear[0].weight.shape == (32, 32)


@pytest.mark.parametrize("absent", ["_reorder_linear_weight", "_linear_pointwise"])
def test_without_one_of_the_operators_weights_keep_their_layout(
    absent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = torch._C._jit_get_schemas_for_operator
    monkeypatch.setattr(
        torch._C,
        "_jit_get_schemas_for_operator",
        lambda name: [] if name == f"mkldnn::{absent}" else found(name),
    )
    plain, light = both(network("Bert"))
    assert not has_layouts()
    assert not any(weight.is_mkldnn for weight in light.parameters())
    expected = read(plain, padding=True)
    torch.testing.assert_close(read(light, padding=True), expected, atol=1e-5, rtol=0)
    assert rows_of_last_layer(light) == [1]


class OwnHead(transformers.BertForSequenceClassification):
    """Code that came with a model: what its head reads is not known."""


@pytest.mark.parametrize(
    "plain",
    [
        network("Bert").to(torch.bfloat16),
        network("Bert", is_decoder=True),
        network("Bert", "ForTokenClassification"),
        OwnHead(network("Bert").config).eval(),
    ],
    ids=["bfloat16", "decoder", "token labels", "own code"],
)
def test_other_models_are_left_as_they_are(plain: Any) -> None:
    light = both(plain)[1]
    assert rows_of_last_layer(light) == [8]
    assert not any(weight.is_mkldnn for weight in light.parameters())
    assert torch.equal(read(light, padding=True), read(plain, padding=True))


@pytest.mark.parametrize(
    "settings", [{"chunk_size_feed_forward": 4}, {"_attn_implementation": "flex_attention"}]
)
def test_the_last_layer_is_whole_where_lengths_are_fixed_or_masks_are_of_another_kind(
    settings: dict[str, Any],
) -> None:
    light = both(network("Bert", **settings))[1]
    assert "forward" not in vars(light.base_model.encoder.layer[-1].attention)


def test_the_engine_computes_the_last_layer_of_each_pair_once(
    engine: Callable[..., TransformersEngine], cross_encoder: Path
) -> None:
    opened = engine(cross_encoder, max_num_batched_tokens=400)
    rows: list[tuple[int, ...]] = []
    part = opened._load("classifier").network.base_model.encoder.layer[-1].intermediate
    hook = part.register_forward_pre_hook(lambda _, given: rows.append(given[0].shape[:2]))
    found = dict(opened.stream(iter([PairScore("a", "b " * n) for n in (9, 2, 5)])))
    hook.remove()
    assert all(isinstance(reply, Logits) for reply in found.values())
    assert rows == [(3, 1)]
