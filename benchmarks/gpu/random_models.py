"""Models of given sizes, made here: what is timed does not depend on what their weights mean."""

from __future__ import annotations

import functools
import gc
import json
import pydoc_data.topics
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from rerank_bench.quiet import quiet
from rerank_bench.reranking import Shape

TINY = Shape("tiny", 2, 128, 256, 4, 2, 32, vocabulary=2048)
TINY_DUMMY = replace(TINY, name="tiny, dummy weights")
_ENCODER: dict[str, Any] = {"gated": False, "causal": False}
TINY_ENCODER = Shape("tiny encoder", 2, 128, 256, 4, 4, 32, vocabulary=2048, **_ENCODER)
ENCODERS = (
    Shape("MiniLM-L6", 6, 384, 1536, 12, 12, 32, vocabulary=30_522, **_ENCODER),
    Shape("XLM-R-large", 24, 1024, 4096, 16, 16, 64, vocabulary=250_002, **_ENCODER),
)
"""Sizes of the cross-encoders ms-marco-MiniLM-L6 and bge-reranker-v2-m3, in BERT's architecture."""

_END = "<end>"


def checkpoint(shape: Shape, folder: Path, *, weights: bool) -> Path:
    """Write a decoder or an encoder with one score, and its tokenizer, to a new `folder`.

    weights: write seeded random ones in bfloat16; without, vLLM's `load_format=dummy` makes some.
    """
    folder.mkdir()
    with quiet():
        _tokenizer(pairs=not shape.causal).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config_of(shape)))
    if weights:
        _write_weights(shape, folder)
        gc.collect()
        torch.cuda.empty_cache()  # vLLM wants most of the memory to be free
    return folder


def _write_weights(shape: Shape, folder: Path) -> None:
    import transformers

    made = transformers.AutoModelForCausalLM
    if not shape.causal:
        made = transformers.AutoModelForSequenceClassification
    torch.manual_seed(0)
    with quiet(), torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        config = transformers.AutoConfig.from_pretrained(folder)
        made.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)


def config_of(shape: Shape) -> dict[str, Any]:
    """A `config.json` with the sizes of `shape`: of a Qwen3 where it is causal, else of a BERT."""
    sizes = {
        "num_hidden_layers": shape.layers,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_attention_heads": shape.heads,
        "vocab_size": shape.vocabulary,
        "initializer_range": shape.hidden**-0.5,  # of which a product's numbers are near 1
        "pad_token_id": 0,
        "torch_dtype": "bfloat16",
    }
    return sizes | (_qwen(shape) if shape.causal else _bert())


def _qwen(shape: Shape) -> dict[str, Any]:
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "tie_word_embeddings": shape.tied,
        "hidden_act": "silu",
        "attention_bias": False,
        "max_position_embeddings": 40_960,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e6,
        "eos_token_id": 0,
    }


def _bert() -> dict[str, Any]:
    return {
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        "max_position_embeddings": 512,
        "id2label": {"0": "score"},
        "label2id": {"score": 0},
    }


@functools.cache
def _tokenizer(*, pairs: bool) -> Any:
    """A byte-level BPE tokenizer made from Python's own docs, whose one special token has id 0."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=2000, special_tokens=[_END], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(pydoc_data.topics.topics.values(), trainer)
    if pairs:
        single, pair = f"{_END} $A {_END}", f"{_END} $A {_END} $B:1 {_END}:1"
        marks = [(_END, 0)]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=single, pair=pair, special_tokens=marks
        )
    found = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=_END, pad_token=_END)
    if not pairs:
        found.chat_template = "{% for m in messages %}{{ m.content }}\n{% endfor %}Answer:"
    return found
