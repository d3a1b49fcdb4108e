"""Compute the operations that a run's requests needed, without any waste or cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import EngineFault
from .limits import Shape, decode_flops, sequence_flops

if TYPE_CHECKING:
    from ..types import Engine
    from .usage import Usage


def ideal_flops(engine: Engine, spent: Usage) -> float | None:
    """Return the floating-point operations of all calls of a run; None if they are not known.

    Every call is taken to read the mean prompt and to write the mean answer. Attention grows with
    the square of the length, so very unequal prompts need slightly more. Prefix caches are ignored,
    so that methods compare on any engine. Not known: a model whose config gives no sizes, and late
    interaction, which encodes a text once for many calls.
    """
    shape = _shape(engine)
    if shape is None or not spent.calls:
        return None
    length = round(spent.prompt_tokens / spent.calls)
    read = spent.calls * sequence_flops(shape, length, logits=1 if shape.causal else 0)
    further = max(spent.output_tokens - spent.calls, 0)  # reading gives the first token
    written = spent.output_tokens / spent.calls
    return read + decode_flops(shape, further, context=length + written / 2)


def _shape(engine: Engine) -> Shape | None:
    config = engine.statistics.config
    if config is None:
        return None
    try:
        return Shape.of(config)
    except EngineFault:
        return None
