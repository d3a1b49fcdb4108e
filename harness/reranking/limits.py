"""Compute the least operations, bytes and seconds that a GPU needs for a transformer's work.

A matrix of P weights takes 2P operations a token (a multiply and an add). Attention takes 4 for
each pair of positions, layer and unit of attention width: half of that for the scores, half for the
mean of the values (Kaplan et al. 2020, arXiv:2001.08361, table 1). Norms, activations, rotations,
biases and pooling heads are left out: together less than 1 % of any model named here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import EngineFault, unknown
from .shapes import WIDTH, Shape

if TYPE_CHECKING:
    from ..types import Engine
    from .flow import Usage


@dataclass(frozen=True)
class Gpu:
    """The peak speeds of a GPU for dense bfloat16 (float16 on a T4), without sparsity.

    matmul: operations a second. bandwidth: bytes a second. memory: bytes. measured: whether
    `matmul` was measured on large matrices; if not, it is the maker's peak.
    """

    name: str
    matmul: float
    bandwidth: float
    memory: float
    measured: bool = False
    source: str = ""


GIB = 2**30  # what makers of GPUs call a GB of memory
_H200 = "measured on large bfloat16 matrices; the peak is 989e12 (NVIDIA H200 datasheet)"
_GPUS = (
    Gpu("h200", 790e12, 4.8e12, 141 * GIB, measured=True, source=_H200),
    Gpu("b200", 2250e12, 8e12, 180 * GIB, source="NVIDIA DGX B200 datasheet, an eighth"),
    Gpu("h100", 989e12, 3.35e12, 80 * GIB, source="NVIDIA H100 datasheet, SXM"),
    Gpu("a100-80", 312e12, 2.039e12, 80 * GIB, source="NVIDIA A100 datasheet, SXM"),
    Gpu("a100-40", 312e12, 1.555e12, 40 * GIB, source="NVIDIA A100 datasheet"),
    Gpu("l40s", 362e12, 864e9, 48 * GIB, source="NVIDIA L40S datasheet"),
    Gpu("l4", 121e12, 300e9, 24 * GIB, source="NVIDIA L4 datasheet"),
    Gpu("t4", 65e12, 320e9, 16 * GIB, source="NVIDIA T4 datasheet"),
    Gpu("rtx4090", 165.2e12, 1008e9, 24 * GIB, source="NVIDIA Ada whitepaper, float32 sums"),
    Gpu("mi300x", 1307.4e12, 5.3e12, 192 * GIB, source="AMD Instinct MI300X datasheet"),
)
GPUS: Mapping[str, Gpu] = {gpu.name: gpu for gpu in _GPUS}


def find_gpu(name: str) -> Gpu:
    """Return the GPU `name`; UnknownName offers the nearest."""
    if name not in GPUS:
        raise unknown("GPU", name, GPUS)
    return GPUS[name]


def sequence_flops(shape: Shape, length: int, *, cached: int = 0, logits: int = 1) -> float:
    """Return the operations to read `length` tokens, of which a cache holds the first `cached`.

    logits: positions at which the language head runs; 0 for a model with a small head. The last
    token is the decoder's, where there is an encoder.
    """
    if shape.decoder_layers:
        return encoded_flops(shape, [length - 1], logits=logits)
    body = 2 * shape.body * (length - cached)
    attention = 4 * shape.attention_width * (shape.pairs(length) - shape.pairs(cached))
    return body + attention + 2 * shape.embedding * logits


def encoded_flops(
    shape: Shape,
    lengths: Sequence[float],
    *,
    begun: int = 1,
    crossed: float | None = None,
    logits: int = 1,
) -> float:
    """Return the operations of an encoder and a decoder that reads what was encoded.

    lengths: tokens of the texts that are encoded, each alone. begun: tokens that the decoder reads.
    crossed: encoded tokens that the decoder attends to; by default all.
    """
    read = sum(lengths)
    crossed = read if crossed is None else crossed
    width, layers = shape.attention_width, shape.decoder_layers
    encoder = 2 * shape.body * read + 4 * width * sum(shape.pairs(n) for n in lengths)
    weights = 2 * (shape.cross_body * crossed + shape.decoder_body * begun)
    attention = 4 * width * layers * (begun**2 / 2 + begun * crossed)
    return encoder + weights + attention + 2 * shape.embedding * logits


def prefill_seconds(flops: float, shape: Shape, gpu: Gpu, *, passes: int = 1) -> float:
    """Return the seconds for `flops` of reading, in at least `passes` forward passes."""
    return max(flops / gpu.matmul, passes * shape.weight_bytes / gpu.bandwidth)


def decode_flops(shape: Shape, tokens: float, *, context: float) -> float:
    """Return the operations to write `tokens` tokens, each after `context` others."""
    weights = 2 * (shape.writing_body + shape.embedding)
    return tokens * (weights + 4 * shape.attention_width * shape.attended(context))


def decode_seconds(
    shape: Shape, gpu: Gpu, tokens: float, *, batch: float = 1, context: float = 0
) -> float:
    """Return the seconds to write `tokens` tokens in all, `batch` sequences at a time.

    Each step reads the weights once, and the keys and values of `context` tokens per sequence.
    """
    moved = (shape.step_bytes + batch * shape.kv_bytes(context)) / gpu.bandwidth
    computed = decode_flops(shape, batch, context=context) / gpu.matmul
    return tokens / batch * max(moved, computed)


def sequences_held(shape: Shape, gpu: Gpu, *, context: float) -> int:
    """Return how many sequences of `context` tokens fit in memory beside the weights, at least 1.

    0.92 of the memory is usable, vLLM's default. Raises EngineFault if the weights do not fit.
    """
    weights = WIDTH * shape.parameters
    if weights > gpu.memory:
        raise EngineFault(
            f"{shape.name} has {weights / GIB:.1f} GiB of weights in 16 bit, and one {gpu.name} "
            f"holds {gpu.memory / GIB:.0f}: choose another --gpu"
        )
    kv = shape.kv_bytes(context)
    return max(int((0.92 * gpu.memory - weights) / kv), 1) if kv else 1


def ideal_flops(engine: Engine, spent: Usage, *, encoded_alone: int = 0) -> float | None:
    """Return the floating-point operations of all calls of a run; None if they are not known.

    Every call is taken to read the mean prompt and to write the mean answer. Attention grows with
    the square of the length, so very unequal prompts need slightly more. Prefix caches are ignored,
    so that methods compare on any engine. encoded_alone: texts that an encoder read one by one for
    calls that fuse them. Not known: a model whose config gives no sizes, and late
    interaction, which encodes a text once for many calls.
    """
    config = engine.statistics.config
    if config is None or not spent.calls:
        return None
    try:
        shape = Shape.of(config)
    except EngineFault:
        return None
    length = round(spent.prompt_tokens / spent.calls)
    logits = 1 if shape.writes else 0
    read = spent.calls * sequence_flops(shape, length, logits=logits)
    if encoded_alone and shape.decoder_layers:
        texts = encoded_alone / spent.calls
        alone = (length - 1) / texts
        saved = shape.pairs(length - 1) - texts * shape.pairs(alone)
        read -= spent.calls * 4 * shape.attention_width * saved
    further = max(spent.output_tokens - spent.calls, 0)  # reading gives the first token
    written = spent.output_tokens / spent.calls
    return read + decode_flops(shape, further, context=length + written / 2)
