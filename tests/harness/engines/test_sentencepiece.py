"""Checkpoints whose only tokenizer is a sentencepiece file, as those of ListT5 and InRanker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
from transformers import T5Config, T5ForConditionalGeneration

from rerank_bench import NextToken, Prompt
from rerank_bench.engines.local import TransformersEngine

Engines = Callable[..., TransformersEngine]


@pytest.fixture(scope="module")
def spiece_only(tmp_path_factory: pytest.TempPathFactory, checkpoints: Any) -> Path:
    """A random T5 with `spiece.model`, and no tokenizer.json."""
    folder = tmp_path_factory.mktemp("spiece")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(checkpoints.TEXTS[:2000]), model_prefix=str(folder / "spiece"),
        vocab_size=500, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2,
    )  # fmt: skip
    (folder / "spiece.vocab").unlink()
    names = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "extra_ids": 100}
    saved = {"tokenizer_class": "T5Tokenizer", **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(saved))
    shape = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
    torch.manual_seed(51)
    config = T5Config(vocab_size=600, **shape, decoder_start_token_id=0)
    T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def test_a_sentencepiece_file_is_read_as_sentencepiece_reads_it(
    engine: Engines, spiece_only: Path, checkpoints: Any
) -> None:
    own = sentencepiece.SentencePieceProcessor(model_file=str(spiece_only / "spiece.model"))
    tokens = engine(spiece_only).checkpoint.tokens
    texts = [*checkpoints.TEXTS[:200], "naïve 日本語 text", " two  spaces ", ""]
    assert tokens.encode(texts) == own.encode(texts)
    assert tokens.single.after == (1,)
    asked = NextToken(Prompt(text="Query: a Document: b Relevant:"), (5, 6))
    ((_, reply),) = engine(spiece_only).stream(iter([asked]))
    network = T5ForConditionalGeneration.from_pretrained(spiece_only).eval()
    ids = torch.tensor([[*own.encode(asked.prompt.text), 1]])
    with torch.inference_mode():
        logits = network(input_ids=ids, decoder_input_ids=torch.tensor([[0]])).logits[0, 0]
    expected = logits.log_softmax(-1)[[5, 6]].tolist()
    assert [reply.of(5), reply.of(6)] == pytest.approx(expected, abs=1e-4)
