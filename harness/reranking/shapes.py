"""The sizes of transformers, as far as the operations and bytes of their work follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import EngineFault, unknown

WIDTH = 2
"""Bytes of a number in bfloat16 or float16, which all limits here assume."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a transformer, or of an encoder with a decoder of the same width (T5).

    layers: of the encoder, where there are both. gated: the feed-forward has three matrices, not
    two. causal: a token attends only to those before it. tied: the language head is the embedding.
    window: tokens of the sliding window that `sliding_layers` of the layers have; both are 0
    without one. decoder_layers: of the decoder behind an encoder; 0 without. source: of a named
    shape's sizes.
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
    decoder_layers: int = 0
    source: str = ""

    @classmethod
    def of(cls, config: Mapping[str, Any], *, name: str = "the model") -> Shape:
        """Read the sizes from a model's configuration, as `to_dict()` of transformers gives it.

        Raises EngineFault for a model type that is not known, such as a mixture of experts, whose
        operations are counted differently.
        """
        config = config.get("text_config") or config
        kind = str(config.get("model_type", ""))
        known = _DECODERS | _ENCODERS | _T5
        if kind not in known:
            raise EngineFault(
                f"{name}: no limit is known for a model of type {kind or '(none)'}; "
                f"known: {', '.join(sorted(known))}"
            )
        try:
            return (_read_t5 if kind in _T5 else _read)(config, kind, name)
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
        """Weights without embedding and language head: every token is multiplied by all of them.

        With a decoder these are the encoder's.
        """
        return self.layers * (self._attention + self._forward)

    @property
    def decoder_body(self) -> int:
        """Weights of a decoder behind an encoder: each of its own tokens is multiplied by them.

        Queries and outputs of the attention to the encoder are among them, `cross_body` is not.
        """
        crossing = 2 * self.hidden * self.attention_width
        return self.decoder_layers * (self._attention + self._forward + crossing)

    @property
    def cross_body(self) -> int:
        """Weights of the decoder's keys and values of what the encoder has read."""
        return self.decoder_layers * 2 * self.hidden * self.kv_heads * self.head_dim

    @property
    def writing_body(self) -> int:
        """Weights that a token is multiplied by while an answer is written, without the head."""
        return self.decoder_body or self.body

    @property
    def _attention(self) -> int:
        return 2 * self.hidden * (self.heads + self.kv_heads) * self.head_dim

    @property
    def _forward(self) -> int:
        return (3 if self.gated else 2) * self.hidden * self.intermediate

    @property
    def writes(self) -> bool:
        """Whether it has a language head."""
        return self.causal or self.decoder_layers > 0

    @property
    def parameters(self) -> int:
        """All weights, with the language head of a model that writes unless it is tied."""
        heads = 2 if self.writes and not self.tied else 1
        return self.body + self.decoder_body + self.cross_body + heads * self.embedding

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights that a forward pass reads; of a mere embedding it reads few rows."""
        whole = self.body + self.decoder_body + self.cross_body
        return WIDTH * (whole + (self.embedding if self.writes else 0))

    @property
    def step_bytes(self) -> int:
        """Bytes of the weights that are read to write one more token."""
        return WIDTH * (self.writing_body + self.embedding)

    def attended(self, context: float) -> float:
        """Return how many of `context` tokens the next one attends to, summed over the layers.

        With an encoder these are its tokens and those of the decoder.
        """
        if self.decoder_layers:
            return self.decoder_layers * context
        near = min(context, self.window) if self.window else context
        return (self.layers - self.sliding_layers) * context + self.sliding_layers * near

    def kv_bytes(self, context: float) -> float:
        """Return the bytes of keys and values that the next token reads of `context` tokens."""
        return 2 * WIDTH * self.kv_heads * self.head_dim * self.attended(context)

    def pairs(self, length: float) -> float:
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
_T5 = {"mt5", "t5", "umt5"}
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


def _read_t5(config: Mapping[str, Any], kind: str, name: str) -> Shape:
    """Read the sizes of a T5; a checkpoint of its encoder alone has no decoder."""
    keys = ("num_layers", "d_model", "d_ff", "num_heads", "d_kv", "vocab_size")
    layers, hidden, inner, heads, width, vocabulary = (int(config[key]) for key in keys)
    alone = any(str(a).endswith("EncoderModel") for a in config.get("architectures") or ())
    return Shape(
        *(name, layers, hidden, inner, heads, heads, width, vocabulary),
        tied=bool(config.get("tie_word_embeddings", True)),
        gated=str(config.get("feed_forward_proj", "relu")).startswith("gated"),
        causal=False,
        decoder_layers=0 if alone else int(config.get("num_decoder_layers") or layers),
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


def find_shape(name: str) -> Shape:
    """Return the shape `name`; UnknownName offers the nearest."""
    if name not in SHAPES:
        raise unknown("shape", name, SHAPES)
    return SHAPES[name]
