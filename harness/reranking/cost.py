"""The operations that a finished run needed of its model, had nothing been wasted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import EngineFault
from .limits import Shape, decode_flops, sequence_flops

if TYPE_CHECKING:
    from ..types import Engine
    from .usage import Usage


def ideal_flops(engine: Engine, spent: Usage) -> float | None:
    """Return the floating-point operations for all calls of a run, or None where not known.

    Each call reads a prompt of the run's mean length and writes on from there: attention grows with
    the square of the length, so that prompts of very unequal lengths need a little more. Nothing
    is taken off for a prefix cache, so that methods compare on any engine. Not known are models
    whose sizes cannot be read off a config here, and late interaction, which encodes a text once
    for many calls.
    """
    shape = _shape(engine)
    if shape is None or not spent.calls:
        return None
    length = round(spent.prompt_tokens / spent.calls)
    read = spent.calls * sequence_flops(shape, length, logits=1 if shape.causal else 0)
    further = max(spent.output_tokens - spent.calls, 0)  # reading a prompt gives the first
    written = spent.output_tokens / spent.calls
    return read + decode_flops(shape, further, context=length + written / 2)


def _shape(engine: Engine) -> Shape | None:
    checkpoint = getattr(engine, "checkpoint", None)
    if checkpoint is None:
        return None
    from ..engines import pair_head

    if pair_head(checkpoint) == "maxsim":
        return None
    try:
        return Shape.of(checkpoint.config.to_dict())
    except EngineFault:
        return None
