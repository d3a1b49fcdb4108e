"""Heads in float32: what is read off a model is not rounded to its 16-bit dtype.

A bfloat16 number has eight significant bits, so the logits of a bfloat16 head lie on steps of up to
2^-4 and many documents get equal scores. The hidden states keep the model's dtype; only the last
matrix product, from a few positions, is computed in float32.
"""

from __future__ import annotations

from typing import Any

import torch

from .buffers import transformers_models

_ROWS = 16_384  # of the vocabulary at a time: no whole float32 copy of a large head is held


def float32_heads(model: torch.nn.Module) -> None:
    """Make the heads of every transformers model inside `model` compute in float32.

    model: a loaded model, or modules that hold some. The output embeddings of a language model and
    all parts of a classification model that lie outside its base model are changed in place. What a
    model does with its logits afterwards, such as scaling or soft-capping, is then float32 too.
    A head of another class than `torch.nn.Linear` keeps its forward; a quantized one is left as is.
    """
    for part in transformers_models(model):
        head = part.get_output_embeddings()
        if type(head) is torch.nn.Linear:
            if head.weight.dtype in (torch.bfloat16, torch.float16):
                part.set_output_embeddings(Float32Linear(head))
        elif head is not None:
            float32_module(head)
        else:
            for child in part.children():
                if not any(module is part.base_model for module in child.modules()):
                    float32_module(child)


def float32_module(module: torch.nn.Module) -> None:
    """Convert `module` to float32, and what it is called with; not one with quantized weights."""
    if any(
        p.dtype not in (torch.float32, torch.bfloat16, torch.float16) for p in module.parameters()
    ):
        return
    module.float()
    module.register_forward_pre_hook(_upcast, with_kwargs=True)


def _upcast(module: Any, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
    return tuple(map(_in_float32, given)), {k: _in_float32(v) for k, v in named.items()}


def _in_float32(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _in_float32(part) for key, part in value.items()}
    return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


class Float32Linear(torch.nn.Module):
    """A linear layer with 16-bit weights, multiplied in float32 some rows at a time."""

    def __init__(self, linear: Any) -> None:
        super().__init__()
        self.linear = linear

    @property
    def weight(self) -> Any:
        """The weights, shape (vocabulary, hidden size), in their own dtype."""
        return self.linear.weight

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return float32 logits of shape (…, vocabulary)."""
        states, bias = states.float(), getattr(self.linear, "bias", None)
        parts = []
        for start in range(0, len(self.weight), _ROWS):
            rows = slice(start, start + _ROWS)
            added = None if bias is None else bias[rows].float()
            parts.append(torch.nn.functional.linear(states, self.weight[rows].float(), added))
        return torch.cat(parts, dim=-1)
