"""Tiny random checkpoints with real fast tokenizers, built offline in a second."""

from __future__ import annotations

import collections
import pydoc_data.topics
from pathlib import Path
from typing import Any

import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    BertTokenizerFast,
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3ForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
    T5Tokenizer,
)

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
THINKING = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}"
    "{% endif %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n{% if not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
)
ROLES = (
    "<|im_start|>system\nJudge.<|im_end|>\n<|im_start|>user\n"
    "Query: {{ (messages | selectattr('role', 'eq', 'query') | first).content }}\n"
    "Document: {{ (messages | selectattr('role', 'eq', 'document') | first).content }}<|im_end|>\n"
    "<|im_start|>assistant\n"
)
_LINES = [line.strip() for page in pydoc_data.topics.topics.values() for line in page.splitlines()]
TEXTS = [line for line in _LINES if len(line.split()) > 5]


def word_pieces(folder: Path) -> Any:
    """A lower-casing WordPiece tokenizer with [CLS] and [SEP], as BERT has it."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=1200, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS[:3000], trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    found = BertTokenizerFast(tokenizer_object=tokenizer, model_max_length=128)
    found.save_pretrained(folder)
    return found


def byte_pairs(folder: Path, *, chat: str | None, bos: bool = False, words: str = "") -> Any:
    """A byte-level BPE tokenizer; pad and end token are the same, as in SmolLM2.

    words: become tokens of their own, at the start of a line.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<file_sep>"]
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    answers = [word for word in words.split() for _ in range(3000)]
    tokenizer.train_from_iterator([*TEXTS[:3000], *answers], trainer)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|endoftext|> $A", pair="<|endoftext|> $A $B", special_tokens=[(special[0], 0)]
        )
    ends = {"bos_token": special[0], "eos_token": special[2], "pad_token": special[2]}
    found = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **ends)
    found.chat_template = chat
    found.save_pretrained(folder)
    return found


def fixed_pairs(*, chat: str) -> Any:
    """A byte-level BPE tokenizer of a few merges written here, so its ids never change."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    merges = [("t", "h"), ("th", "e"), ("i", "n"), ("e", "r"), ("a", "n"), ("o", "n"), ("r", "e")]
    merges += [("\u0120", "the"), ("\u0120", "a"), ("in", "g"), ("\u010a", "\u010a")]  # space, line
    pieces = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet()), *(a + b for a, b in merges)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    ends = {"bos_token": special[0], "eos_token": special[2], "pad_token": special[2]}
    found = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **ends)
    found.add_special_tokens({"additional_special_tokens": special[1:2]})
    found.chat_template = chat
    return found


def pieces(folder: Path) -> Any:
    """A Unigram tokenizer as T5 has it: whole words, characters, `</s>` behind, 100 extra ids."""
    counts = collections.Counter(word for text in TEXTS[:3000] for word in text.split())
    words = [f"▁{word}" for word, _ in counts.most_common(400)]
    words += [f"▁{word}" for word in ("true", "false", "yes", "no", "Yes", "No", *"123456789")]
    characters = sorted({character for text in TEXTS[:3000] for character in text} | set("[]>"))
    special = ["<pad>", "</s>", "<unk>", "▁"]
    known = list(dict.fromkeys([*words, *characters]))
    extra = [f"<extra_id_{number}>" for number in reversed(range(100))]
    scores = [(piece, -1.0 if len(piece) > 1 else -9.0) for piece in known]
    vocabulary = [
        *((s, 0.0) for s in special[:3]),
        ("▁", -2.0),
        *scores,
        *((e, 0.0) for e in extra),
    ]
    found = T5Tokenizer(vocab=vocabulary)
    found.save_pretrained(folder)
    return found


def decoder_shape(vocabulary: int) -> dict[str, Any]:
    """A decoder of two layers whose head dimension (32) vLLM's CPU attention knows too."""
    return {
        "vocab_size": vocabulary,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "max_position_embeddings": 512,
        "pad_token_id": 2,
        "eos_token_id": 2,
        "bos_token_id": 0,
        # Random weights this large make scores differ by whole units, so a mistake shows.
        "initializer_range": 0.2,
    }


def encoder_shape(vocabulary: int) -> dict[str, Any]:
    """An encoder of two layers, of the same head dimension."""
    return {
        "vocab_size": vocabulary,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 128,
        "initializer_range": 0.2,
    }


def cross_encoder(folder: Path) -> None:
    """A random BERT with a classification head of one label."""
    shape = encoder_shape(len(word_pieces(folder)))
    torch.manual_seed(1)
    BertForSequenceClassification(BertConfig(**shape, num_labels=1)).save_pretrained(folder)


def two_labels(folder: Path) -> None:
    """A random BERT with a classification head of two labels, as monoBERT has it."""
    shape = encoder_shape(len(word_pieces(folder)))
    torch.manual_seed(11)
    BertForSequenceClassification(BertConfig(**shape, num_labels=2)).save_pretrained(folder)


def encoder(folder: Path) -> None:
    """A random BERT without a head."""
    shape = encoder_shape(len(word_pieces(folder)))
    torch.manual_seed(2)
    BertModel(BertConfig(**shape)).save_pretrained(folder)


def llama(folder: Path) -> None:
    """A random Llama with a ChatML template; its tokenizer adds no BOS."""
    shape = decoder_shape(len(byte_pairs(folder, chat=CHATML)))
    torch.manual_seed(3)
    LlamaForCausalLM(LlamaConfig(**shape)).save_pretrained(folder)


def qwen(folder: Path) -> None:
    """A random Qwen3 whose template has a thinking switch and refuses system messages."""
    shape = decoder_shape(len(byte_pairs(folder, chat=THINKING)))
    torch.manual_seed(4)
    Qwen3ForCausalLM(Qwen3Config(**shape)).save_pretrained(folder)


def qwen_judge(folder: Path) -> None:
    """A random Qwen3 with a longer context, to which yes and no are single tokens."""
    shape = decoder_shape(len(byte_pairs(folder, chat=CHATML, words="yes no Yes No")))
    torch.manual_seed(9)
    config = Qwen3Config(**shape | {"max_position_embeddings": 2048})
    Qwen3ForCausalLM(config).save_pretrained(folder)


def qwen_classifier(folder: Path) -> None:
    """The Qwen3 of `qwen_judge`, whose head is the row of yes minus that of no; no template."""
    qwen_judge(folder)
    judge = Qwen3ForCausalLM.from_pretrained(folder)
    (folder / "chat_template.jinja").unlink()
    yes, no = AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids(["yes", "no"])
    found = Qwen3ForSequenceClassification.from_pretrained(folder, num_labels=1)
    with torch.no_grad():
        found.score.weight.copy_(judge.lm_head.weight[[yes]] - judge.lm_head.weight[[no]])
    found.save_pretrained(folder)


def gemma_judge(folder: Path) -> None:
    """A random Gemma, whose tokenizer adds a BOS, to which yes and no are single tokens."""
    shape = decoder_shape(len(byte_pairs(folder, chat=None, bos=True, words="yes no Yes No")))
    torch.manual_seed(10)
    config = GemmaConfig(**shape | {"max_position_embeddings": 2048})
    GemmaForCausalLM(config).save_pretrained(folder)


def base_llama(folder: Path) -> None:
    """A random Llama without a chat template; its tokenizer adds a BOS."""
    shape = decoder_shape(len(byte_pairs(folder, chat=None, bos=True)))
    torch.manual_seed(5)
    LlamaForCausalLM(LlamaConfig(**shape)).save_pretrained(folder)


def llama_classifier(folder: Path) -> None:
    """A random Llama with a classification head of one label."""
    shape = decoder_shape(len(byte_pairs(folder, chat=None)))
    torch.manual_seed(6)
    LlamaForSequenceClassification(LlamaConfig(**shape, num_labels=1)).save_pretrained(folder)


def qwen_reranker(folder: Path) -> None:
    """A random Qwen3 with a classification head and a template of query and document roles."""
    shape = decoder_shape(len(byte_pairs(folder, chat=ROLES)))
    torch.manual_seed(7)
    Qwen3ForSequenceClassification(Qwen3Config(**shape, num_labels=1)).save_pretrained(folder)


def t5(folder: Path) -> None:
    """A random T5 whose head is not its embedding, as in mT5 and flan-t5."""
    size = len(pieces(folder))
    torch.manual_seed(8)
    shape = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
    config = T5Config(
        vocab_size=size,
        **shape,
        num_decoder_layers=2,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        decoder_start_token_id=0,
    )
    network = T5ForConditionalGeneration(config)
    with torch.no_grad():
        # As it is initialised, T5 hardly attends and writes one token over and over.
        network.shared.weight.mul_(0.3)
        for name, weights in network.named_parameters():
            if name.endswith((".v.weight", ".o.weight")):
                weights.mul_(8)
    network.lm_head = torch.nn.Linear(config.d_model, size, bias=False)
    network.save_pretrained(folder)
