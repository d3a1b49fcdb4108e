"""Compute the least operations, bytes and seconds that a GPU needs for a transformer's work.

A matrix of P weights takes 2P operations a token (a multiply and an add). Attention takes 4 for
each pair of positions, layer and unit of attention width: half of that for the scores, half for the
mean of the values (Kaplan et al. 2020, arXiv:2001.08361, table 1). Norms, activations, rotations,
biases and pooling heads are left out: together less than 1 % of any model named here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import EngineFault, unknown

if TYPE_CHECKING:
    from ..types import Engine
    from .flow import Usage

WIDTH = 2
"""Bytes of a number in bfloat16 or float16, which all limits here assume."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a transformer.

    gated: the feed-forward has three matrices, not two. causal: a token attends only to those
    before it. tied: the language head is the embedding. window: tokens of the sliding window that
    `sliding_layers` of the layers have; both are 0 without one. source: of a named shape's sizes.
    """

    name: str
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool = True
    gated: bool = True
    causal: bool = True
    window: int = 0
    sliding_layers: int = 0
    source: str = ""

    @classmethod
    def of(cls, config: Mapping[str, Any], *, name: str = "the model") -> Shape:
        """Read the sizes from a model's configuration, as `to_dict()` of transformers gives it.

        Raises EngineFault for a model type that is not known, such as a mixture of experts or an
        encoder-decoder, whose operations are counted differently.
        """
        config = config.get("text_config") or config
        kind = str(config.get("model_type", ""))
        if kind not in _DECODERS and kind not in _ENCODERS:
            raise EngineFault(
                f"{name}: no limit is known for a model of type {kind or '(none)'}; "
                f"known: {', '.join(sorted(_DECODERS | _ENCODERS))}"
            )
        try:
            return _read(config, kind, name)
        except (KeyError, TypeError, ValueError) as error:
            raise EngineFault(
                f"{name}: config.json ({kind}) has no usable value of {error}"
            ) from error

    @property
    def attention_width(self) -> int:
        """Units of all query heads of one layer."""
        return self.heads * self.head_dim

    @property
    def embedding(self) -> int:
        """Weights of the embedding; a language head has as many."""
        return self.vocabulary * self.hidden

    @property
    def body(self) -> int:
        """Weights without embedding and language head: every token is multiplied by all of them."""
        attention = 2 * self.hidden * (self.heads + self.kv_heads) * self.head_dim
        forward = (3 if self.gated else 2) * self.hidden * self.intermediate
        return self.layers * (attention + forward)

    @property
    def parameters(self) -> int:
        """All weights, with the language head of a causal model unless it is tied."""
        heads = 2 if self.causal and not self.tied else 1
        return self.body + heads * self.embedding

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights that a forward pass reads; of a mere embedding it reads few rows."""
        return WIDTH * (self.body + (self.embedding if self.causal else 0))

    def attended(self, context: float) -> float:
        """Return how many of `context` tokens the next one attends to, summed over the layers."""
        near = min(context, self.window) if self.window else context
        return (self.layers - self.sliding_layers) * context + self.sliding_layers * near

    def kv_bytes(self, context: float) -> float:
        """Return the bytes of keys and values that the next token reads of `context` tokens."""
        return 2 * WIDTH * self.kv_heads * self.head_dim * self.attended(context)

    def pairs(self, length: int) -> float:
        """Return the pairs of positions that attend to each other, summed over the layers."""
        near = min(self.window, length) if self.window else length
        sliding = near * length - (near**2 / 2 if self.causal else 0)
        full = length**2 / 2 if self.causal else length**2
        return (self.layers - self.sliding_layers) * full + self.sliding_layers * sliding


_DECODERS = {
    "gemma", "gemma2", "gemma3_text", "granite", "llama", "mistral", "olmo2", "phi3", "qwen2",
    "qwen3", "smollm3",
}  # fmt: skip
_ENCODERS = {"bert", "camembert", "modernbert", "roberta", "xlm-roberta"}
_SIZES = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads")


def _read(config: Mapping[str, Any], kind: str, name: str) -> Shape:
    layers, hidden, inner, heads = (int(config[key]) for key in _SIZES)
    window = int(config.get("local_attention") or config.get("sliding_window") or 0)
    layer_types = config.get("layer_types") or ["sliding_attention"] * layers
    sliding = sum("sliding" in str(layer) for layer in layer_types) if window else 0
    return Shape(
        *(name, layers, hidden, inner, heads),
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_dim=int(config.get("head_dim") or hidden // heads),
        vocabulary=int(config["vocab_size"]),
        tied=bool(config.get("tie_word_embeddings")),
        gated=kind in _DECODERS or kind == "modernbert",
        causal=kind in _DECODERS,
        window=window if sliding else 0,
        sliding_layers=sliding,
    )


_QWEN = "config.json of huggingface.co/Qwen/Qwen3-"
_SHAPES = (
    Shape("Qwen3-0.6B", 28, 1024, 3072, 16, 8, 128, 151_936, source=f"{_QWEN}0.6B"),
    Shape("Qwen3-4B", 36, 2560, 9728, 32, 8, 128, 151_936, source=f"{_QWEN}4B"),
    Shape("Qwen3-8B", 36, 4096, 12_288, 32, 8, 128, 151_936, tied=False, source=f"{_QWEN}8B"),
    Shape(
        "Mistral-7B", 32, 4096, 14_336, 32, 8, 128, 32_768, tied=False,
        source="config.json of huggingface.co/mistralai/Mistral-7B-Instruct-v0.3",
    ),
)  # fmt: skip
SHAPES: Mapping[str, Shape] = {shape.name: shape for shape in _SHAPES}
"""Sizes by name, for a plan without the model."""


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


def find_shape(name: str) -> Shape:
    """Return the shape `name`; UnknownName offers the nearest."""
    if name not in SHAPES:
        raise unknown("shape", name, SHAPES)
    return SHAPES[name]


def sequence_flops(shape: Shape, length: int, *, cached: int = 0, logits: int = 1) -> float:
    """Return the operations to read `length` tokens, of which a cache holds the first `cached`.

    logits: positions at which the language head runs; 0 for a model with a small head.
    """
    body = 2 * shape.body * (length - cached)
    attention = 4 * shape.attention_width * (shape.pairs(length) - shape.pairs(cached))
    return body + attention + 2 * shape.embedding * logits


def prefill_seconds(flops: float, shape: Shape, gpu: Gpu, *, passes: int = 1) -> float:
    """Return the seconds for `flops` of reading, in at least `passes` forward passes."""
    return max(flops / gpu.matmul, passes * shape.weight_bytes / gpu.bandwidth)


def decode_flops(shape: Shape, tokens: float, *, context: float) -> float:
    """Return the operations to write `tokens` tokens, each after `context` others."""
    weights = 2 * (shape.body + shape.embedding)
    return tokens * (weights + 4 * shape.attention_width * shape.attended(context))


def decode_seconds(
    shape: Shape, gpu: Gpu, tokens: float, *, batch: float = 1, context: float = 0
) -> float:
    """Return the seconds to write `tokens` tokens in all, `batch` sequences at a time.

    Each step reads the weights once, and the keys and values of `context` tokens per sequence.
    """
    moved = (shape.weight_bytes + batch * shape.kv_bytes(context)) / gpu.bandwidth
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


def ideal_flops(engine: Engine, spent: Usage) -> float | None:
    """Return the floating-point operations of all calls of a run; None if they are not known.

    Every call is taken to read the mean prompt and to write the mean answer. Attention grows with
    the square of the length, so very unequal prompts need slightly more. Prefix caches are ignored,
    so that methods compare on any engine. Not known: a model whose config gives no sizes, and late
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
    read = spent.calls * sequence_flops(shape, length, logits=1 if shape.causal else 0)
    further = max(spent.output_tokens - spent.calls, 0)  # reading gives the first token
    written = spent.output_tokens / spent.calls
    return read + decode_flops(shape, further, context=length + written / 2)
