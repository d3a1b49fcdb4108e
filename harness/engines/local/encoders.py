"""Encoders of BERT's kind in float32: the same logits and vectors from less work.

Transformers computes the last layer of every token, of which a classification head reads the first,
and multiplies by weights as they are stored, which torch rearranges at each product.
"""

from __future__ import annotations

import functools
import platform
from typing import Any

import torch

_FAMILIES = ("Bert", "Camembert", "Electra", "Roberta", "XLMRoberta")
_ROWS = 1_024  # the layout is chosen for this many; it is right for any number
_OPERATORS = ("_reorder_linear_weight", "_linear_pointwise")


def optimize_encoder(network: Any) -> None:
    """Change a loaded encoder in place so that it does less for the same results.

    Only encoders that transformers itself has code for are changed, in float32: another dtype would
    round otherwise. Results differ from those of the unchanged encoder by float32 rounding. One
    whose weights have oneDNN's layout cannot be copied, pickled, saved, trained, or cast to another
    device or dtype.
    """
    classifies = _is_own(network, "ForSequenceClassification")
    if not classifies and not _is_own(network, "Model"):
        return
    if network.dtype != torch.float32 or network.config.is_decoder:
        return
    usual = network.config._attn_implementation in {"sdpa", "eager"}  # masks of four dimensions
    if classifies and usual and not network.config.chunk_size_feed_forward:
        attention = network.base_model.encoder.layer[-1].attention
        attention.forward = functools.partial(_first_token, attention)
    if network.device.type == "cpu" and has_layouts():
        for layer in network.modules():
            if type(layer) is torch.nn.Linear:
                arrange(layer)


def has_layouts() -> bool:
    """Whether torch has oneDNN for this CPU, and the two operators that are called here.

    On Arm oneDNN's float32 weights have no other layout. The operators are not part of torch's
    public interface, so another version may lack them.
    """
    found: Any = torch.backends.mkldnn
    schemas: Any = torch._C._jit_get_schemas_for_operator
    return (
        platform.machine() in {"x86_64", "AMD64"}
        and bool(found.is_available())
        and all(schemas(f"mkldnn::{name}") for name in _OPERATORS)
    )


def _is_own(network: Any, kind: str) -> bool:
    """Whether transformers' code runs this network, which is of one of the known families."""
    found = type(network)
    own = found.__module__.startswith("transformers.models.")
    return own and found.__name__ in {f"{family}{kind}" for family in _FAMILIES}


def _first_token(
    attention: Any, states: torch.Tensor, mask: torch.Tensor | None = None, **_: Any
) -> tuple[torch.Tensor, None]:
    """Compute a layer's attention for the first token alone, which attends to all tokens.

    states: shape (rows, tokens, hidden size). mask: of attention, shape (rows, 1, tokens or 1,
    tokens). What follows in the layer is then computed for this token only.
    """
    own, first = attention.self, states[:, :1]
    query, key, value = (
        linear(read).unflatten(-1, (-1, own.attention_head_size)).transpose(1, 2)
        for linear, read in ((own.query, first), (own.key, states), (own.value, states))
    )
    seen = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, None if mask is None else mask[:, :, :1], scale=own.scaling
    )
    return attention.output(seen.transpose(1, 2).flatten(2), first), None


def arrange(linear: Any) -> None:
    """Keep the weight in the layout that oneDNN multiplies by, and no copy of it."""
    weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), _ROWS)
    linear.weight = torch.nn.Parameter(weight, requires_grad=False)
    linear.forward = functools.partial(_multiply, linear)


def _multiply(linear: Any, states: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
        states, linear.weight, linear.bias, "none", [], ""
    )
    return found
