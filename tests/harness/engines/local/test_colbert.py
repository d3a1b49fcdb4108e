"""Late interaction of checkpoints in the formats of pylate and ColBERT.

Expected vectors are those of sentence-transformers' MultiVectorEncoder, which reads both formats.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import MultiVectorEncoder
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertForSequenceClassification,
    ModernBertConfig,
    ModernBertModel,
    XmodConfig,
    XmodModel,
)

from rerank_bench import Candidates, Document, EngineFault, PairScore, rerank_one
from rerank_bench.engines.local import TransformersEngine
from rerank_bench.errors import BadOption
from rerank_bench.rerankers.late_interaction import LateInteraction

Engines = Callable[..., TransformersEngine]
QUERIES = ["how do I import a module?", "what is a class", "a"]
SETTINGS = {
    "model_type": "ColBERT", "query_prefix": "[Q] ", "document_prefix": "[D] ", "query_length": 16,
    "document_length": 100, "attend_to_expansion_tokens": False, "do_query_expansion": True,
    "skiplist_words": [".", ",", "!", "(", ")"], "similarity_fn_name": "MaxSim", "prompts": {},
    "default_prompt_name": None,
}  # fmt: skip


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def dense(folder: Path, rows: int, columns: int, **config: Any) -> None:
    saved = {"in_features": columns, "out_features": rows, "bias": False, **config}
    kind = "torch.nn.modules.linear.Identity"
    write(folder / "config.json", {"activation_function": kind, **saved})
    weights = {"linear.weight": torch.randn(rows, columns)}
    save_file(weights, folder / "model.safetensors")


def pylate(
    folder: Path, network: Any, tokenizer: Any, *, dims: tuple[int, ...] = (24,), **changed: Any
) -> Path:
    """Write a checkpoint as pylate does."""
    tokenizer.add_tokens(["[Q] ", "[D] "])
    network.resize_token_embeddings(len(tokenizer))
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write(folder / "config_sentence_transformers.json", {**SETTINGS, **changed})
    write(folder / "sentence_bert_config.json", {"max_seq_length": 99, "do_lower_case": False})
    types = ["sentence_transformers.models.Transformer", *["pylate.models.Dense.Dense"] * len(dims)]
    paths = ["", *(f"{n}_Dense" for n in range(1, len(dims) + 1))]
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": kind}
        for n, (path, kind) in enumerate(zip(paths, types, strict=True))
    ]
    write(folder / "modules.json", modules)
    torch.manual_seed(21)
    columns = 64
    for path, rows in zip(paths[1:], dims, strict=True):
        dense(folder / path, rows, columns, use_residual=rows == columns)
        columns = rows
    return folder


def colbert(folder: Path, source: Path, **changed: Any) -> Path:
    """Write a checkpoint in ColBERT's own format: a BERT, and `linear.weight` beside it."""
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.add_tokens(["[unused0]", "[unused1]"])
    network = AutoModel.from_pretrained(source)
    network.resize_token_embeddings(len(tokenizer))
    tokenizer.save_pretrained(folder)
    whole = BertForSequenceClassification(network.config)
    whole.bert.load_state_dict(network.state_dict())
    whole.config.architectures = ["HF_ColBERT"]
    whole.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    write(folder / "config.json", {**config, "architectures": ["HF_ColBERT"]})
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if name.startswith("bert.")}
    torch.manual_seed(22)
    kept["linear.weight"] = torch.randn(24, 64)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    metadata = {"query_token_id": "[unused0]", "doc_token_id": "[unused1]", "query_maxlen": 16}
    write(folder / "artifact.metadata", {**metadata, "doc_maxlen": 100, **changed})
    return folder


def maxsim(folder: Path, documents: list[str]) -> list[float]:
    """Scores of all queries with all documents, from the vectors of another library."""
    model = MultiVectorEncoder(str(folder), device="cpu")
    queries = model.encode_query(QUERIES, show_progress_bar=False)
    vectors = model.encode_document(documents, show_progress_bar=False)
    return [float((q @ d.T).max(1).values.sum()) for q in queries for d in vectors]


def scores(engine: TransformersEngine, documents: list[str]) -> list[float]:
    pairs = [PairScore(query, document) for query in QUERIES for document in documents]
    found = dict(engine.stream(iter(pairs)))
    return [found[i].logits[0] for i in range(len(pairs))]


def encoder_of(folder: Path) -> tuple[Any, Any]:
    return AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def check(engine: TransformersEngine, folder: Path, texts: list[str]) -> None:
    documents = [text for text in texts if text][:25]
    expected = maxsim(folder, documents)
    assert max(expected) - min(expected) > 0.1
    assert scores(engine, documents) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"attend_to_expansion_tokens": True},
        {"do_query_expansion": False},
        {"skiplist_words": []},
        {"query_prefix": "", "document_prefix": ""},
        {"dims": (64, 24)},
    ],
)
def test_a_checkpoint_of_pylate_is_read_as_it_was_saved(
    tmp_path: Path, engine: Engines, encoder: Path, texts: list[str], changed: dict[str, Any]
) -> None:
    folder = pylate(tmp_path, *encoder_of(encoder), **changed)
    check(engine(folder, max_num_batched_tokens=600), folder, texts)


@pytest.mark.parametrize(
    "changed", [{}, {"attend_to_mask_tokens": True, "mask_punctuation": False}]
)
def test_a_checkpoint_of_colbert_is_read_as_it_was_saved(
    tmp_path: Path, engine: Engines, encoder: Path, texts: list[str], changed: dict[str, Any]
) -> None:
    folder = colbert(tmp_path, encoder, **changed)
    check(engine(folder, max_num_batched_tokens=600), folder, texts)


def test_skipped_words_that_are_no_tokens_skip_the_unknown_token_as_pylate_does(
    tmp_path: Path, engine: Engines, encoder: Path
) -> None:
    documents = ["a 🙂 class of 漢 things", "what is 🙂", "a class"]
    folder = pylate(tmp_path, *encoder_of(encoder), skiplist_words=["."])
    kept = maxsim(folder, documents)
    settings = folder / "config_sentence_transformers.json"
    saved = json.loads(settings.read_text())
    write(settings, saved | {"skiplist_words": [".", "[UNK]"]})
    expected = maxsim(folder, documents)
    assert kept != pytest.approx(expected, abs=1e-2)
    write(settings, saved | {"skiplist_words": [".", "not a token"]})
    assert scores(engine(folder), documents) == pytest.approx(expected, abs=1e-4)


MARKERS = ("query_token_id", "doc_token_id")


def test_a_marker_of_colbert_that_is_no_token_is_the_unknown_token(
    tmp_path: Path, engine: Engines, encoder: Path
) -> None:
    documents = ["a class of things", "what is it"]
    folder = colbert(tmp_path, encoder, mask_punctuation=False, **dict.fromkeys(MARKERS, "[UNK]"))
    expected = maxsim(folder, documents)
    saved = json.loads((folder / "artifact.metadata").read_text())
    write(folder / "artifact.metadata", saved | dict.fromkeys(MARKERS, "[no]"))
    assert scores(engine(folder), documents) == pytest.approx(expected, abs=1e-4)


SHAPE = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "max_position_embeddings": 130, "pad_token_id": 0,
}  # fmt: skip


def test_a_modern_bert_of_pylate_scores_as_the_library_does(
    tmp_path: Path, engine: Engines, encoder: Path, texts: list[str]
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    torch.manual_seed(23)
    tokens = {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
    config = ModernBertConfig(**SHAPE, **tokens, vocab_size=len(tokenizer), local_attention=40)
    folder = pylate(tmp_path, ModernBertModel(config), tokenizer)
    check(engine(folder, max_num_batched_tokens=600), folder, texts)


def xmod(folder: Path, source: Path, *, default: str | None = "en_XX") -> Path:
    tokenizer = AutoTokenizer.from_pretrained(source)
    torch.manual_seed(24)
    config = XmodConfig(
        **SHAPE, vocab_size=len(tokenizer), languages=["en_XX", "de_DE"],
        default_language=default, type_vocab_size=2, initializer_range=0.2,
    )  # fmt: skip
    return pylate(folder, XmodModel(config), tokenizer)


def test_an_xmod_reads_a_query_and_a_document_each_with_the_adapter_of_its_language(
    tmp_path: Path, engine: Engines, encoder: Path, texts: list[str]
) -> None:
    folder = xmod(tmp_path / "en", encoder)
    english = MultiVectorEncoder(str(folder), device="cpu")
    german = MultiVectorEncoder(str(xmod(tmp_path / "de", encoder, default="de_DE")), device="cpu")
    queries = english.encode_query(QUERIES, show_progress_bar=False)
    documents = german.encode_document(texts[:5], show_progress_bar=False)
    expected = [float((q @ d.T).max(1).values.sum()) for q in queries for d in documents]
    opened = engine(folder)
    pairs = [PairScore(q, d, "en", "deu_Latn") for q in QUERIES for d in texts[:5]]
    found = dict(opened.stream(iter(pairs)))
    assert [found[i].logits[0] for i in range(len(pairs))] == pytest.approx(expected, abs=1e-4)
    assert scores(opened, texts[:5]) == pytest.approx(maxsim(folder, texts[:5]), abs=1e-4)
    assert expected != pytest.approx(maxsim(folder, texts[:5]), abs=1e-2)
    ((_, reply),) = opened.stream(iter([PairScore("le", "der", "fra_Latn", "de")]))
    assert "the text 'le' is in 'fra_Latn'" in reply.reason
    assert "language adapters for en_XX, de_DE: set language=" in reply.reason
    none = xmod(tmp_path / "none", encoder, default=None)
    ((_, reply),) = engine(none).stream(iter([PairScore("the", "der", None, "de")]))
    assert "the text 'the' has no known language" in reply.reason


def test_the_option_language_reads_every_text_of_an_xmod_with_one_adapter(
    tmp_path: Path, engine: Engines, encoder: Path, texts: list[str]
) -> None:
    folder = xmod(tmp_path, encoder)
    check(engine(folder), folder, texts)
    english = scores(engine(folder), texts[:5])
    german = scores(engine(folder, language="de_DE"), texts[:5])
    assert english != pytest.approx(german, abs=1e-2)
    saved = json.loads((folder / "config.json").read_text())
    write(folder / "config.json", {**saved, "default_language": "de_DE"})
    expected = maxsim(folder, texts[:5])
    assert german == pytest.approx(expected, abs=1e-4)
    with pytest.raises(BadOption, match="adapters for en_XX, de_DE"):
        scores(engine(folder, language="fr_XX"), texts[:5])
    with pytest.raises(BadOption, match="has no language adapters"):
        scores(engine(encoder, language="de_DE"), texts[:5])
    with pytest.raises(BadOption, match="has its own adapters: leave out language_adapters"):
        scores(engine(folder, language_adapters=str(tmp_path)), texts[:5])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"default_prompt_name": "query"}, "puts the prompt 'query' before its texts"),
        ({"query_prefix": "[QUERY]"}, r"no token '\[QUERY\]': its marker cannot be placed"),
        ({"model_type": "Other", "query_prefix": None}, ""),
    ],
)
def test_what_is_not_known_of_a_checkpoint_is_refused(
    tmp_path: Path, engine: Engines, encoder: Path, changed: dict[str, Any], message: str
) -> None:
    folder = pylate(tmp_path, *encoder_of(encoder), **changed)
    if not message:
        (folder / "config_sentence_transformers.json").unlink()
        message = "has a module Dense and no settings of pylate"
    with pytest.raises(EngineFault, match=message):
        scores(engine(folder), ["a"])


def test_a_reranker_pays_for_markers_and_filled_queries(
    tmp_path: Path, engine: Engines, encoder: Path
) -> None:
    folder = pylate(tmp_path, *encoder_of(encoder))
    documents = tuple(Document(str(i), text) for i, text in enumerate(["one", "one", "", "two"]))
    given = Candidates("task", "q", "one", documents)
    result = rerank_one(LateInteraction(), given, engine(folder))
    assert result.scores[0] == result.scores[1]
    empty = 16 + 3
    one = len(AutoTokenizer.from_pretrained(encoder).tokenize("one"))
    two = len(AutoTokenizer.from_pretrained(encoder).tokenize("two"))
    assert result.usage.calls == 4
    assert result.usage.prompt_tokens == 4 * empty + 2 * one + two
