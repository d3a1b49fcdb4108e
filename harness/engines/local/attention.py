"""The attention of a decoder's last tokens to documents before them, for in-context re-ranking.

The documents are read once, without attention weights, and their keys and values are kept. Each
prompt's end is then read after them with eager attention, and the weights of a layer are summed
as soon as they are known. So memory grows with (tokens of the end) x (tokens of the documents) x
heads of one layer, and not with the square of the prompt or with the layers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from ...errors import EngineFault
from ...types import Attention
from ..prepare import Answer, Prepared, sound
from .loading import LoadedModel
from .prefixes import compute_prefix


def attend(model: LoadedModel, batch: Sequence[Prepared]) -> list[Answer]:
    """Answer `Attend`, one request after another."""
    return [_attend(model, one) for one in batch]


def _attend(model: LoadedModel, one: Prepared) -> Answer:
    parts = one.parts
    assert parts is not None  # noqa: S101
    prefix = [i for part in parts.before for i in part]
    weights = attention_weights(model.network, prefix, parts.ends, one.request.heads)
    starts = list(itertools.accumulate(map(len, parts.before), initial=0))
    spans = [(starts[place], starts[place + 1]) for place in parts.passages]
    cut = tuple(tuple(tuple(row[start:end]) for start, end in spans) for row in weights)
    tokens = len(prefix) + sum(map(len, parts.ends))
    return sound((value for row in weights for value in row), Attention(cut, prompt_tokens=tokens))


def attention_weights(
    network: Any,
    prefix: Sequence[int],
    ends: Sequence[Sequence[int]],
    heads: Sequence[tuple[int, int]] = (),
) -> list[list[float]]:
    """Return for each end the weight of each token of `prefix`.

    A weight is the attention from the tokens of the end, their mean, summed over heads and layers.

    network: a causal language model of transformers.
    prefix, ends: token ids.
    heads: (layer, head) pairs from 0; none means all.

    Raises EngineFault for a head that the model does not have.
    """
    base, device = network.base_model, next(network.parameters()).device
    usual = network.config._attn_implementation
    found: list[list[float]] = []
    with torch.inference_mode():
        cache = compute_prefix(network, prefix)
        try:
            network.set_attn_implementation("eager")
            for end in ends:
                with _summed(base, len(prefix), heads) as total:
                    ids = torch.tensor([list(end)], device=device)
                    base(ids, past_key_values=cache, use_cache=True)
                found.append(torch.stack(total).sum(0).tolist())
                cache.crop(-len(end))
        finally:
            network.set_attn_implementation(usual)
    return found


@contextmanager
def _summed(
    base: Any, tokens: int, heads: Sequence[tuple[int, int]]
) -> Iterator[list[torch.Tensor]]:
    """Collect, layer by layer, the weights of the first `tokens` positions, shape (tokens,)."""
    layers = [module for name, module in base.named_modules() if name.endswith("self_attn")]
    if len(layers) != base.config.num_hidden_layers:
        raise EngineFault("attention weights need a model whose layers all have self-attention")
    chosen = _by_layer(heads, layers, base.config.num_attention_heads)
    total: list[torch.Tensor] = []

    def collect(layer: int) -> Any:
        def hook(_: Any, __: Any, output: Any) -> Any:
            mean = output[1][0, :, :, :tokens].float().mean(1)
            total.append(mean[chosen[layer]].sum(0) if heads else mean.sum(0))
            return (output[0], None, *output[2:])

        return hook

    wanted = [layer for layer in range(len(layers)) if not heads or layer in chosen]
    handles = [layers[layer].register_forward_hook(collect(layer)) for layer in wanted]
    try:
        yield total
    finally:
        for handle in handles:
            handle.remove()


def _by_layer(
    heads: Sequence[tuple[int, int]], layers: Sequence[Any], width: int
) -> dict[int, list[int]]:
    chosen: dict[int, list[int]] = {}
    for layer, head in heads:
        if layer >= len(layers) or head >= width:
            raise EngineFault(
                f"there is no attention head {layer}-{head}: the model has {len(layers)} layers of "
                f"{width} heads, numbered from 0"
            )
        chosen.setdefault(layer, []).append(head)
    return chosen
