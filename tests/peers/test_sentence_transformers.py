"""sentence-transformers: cross-encoders, composed rerankers and embedding models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

peers = pytest.importorskip("sentence_transformers")

INSTRUCTION = "Find the part of the manual that answers the question"
HEAD = "source = 'ours'\nlicence = 'CC0-1.0'\nchanges = 'none'\n"
# How Qwen3-Reranker reads a pair, as a chat template; the instruction is the system prompt.
QWEN3_RERANKER = (
    "{% macro said(role) %}{{ messages | selectattr('role', 'eq', role) | map(attribute='content')"
    " | first }}{% endmacro %}"
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and "
    'the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n"
    "<Instruct>: {{ said('system') }}\n"
    "<Query>: {{ said('query') }}\n"
    "<Document>: {{ said('document') }}"
    "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n{{ '' }}"  # or a newline is lost
)


def logits(folder: Path, pairs: list[tuple[str, str]], **more: Any) -> list[Any]:
    """What `CrossEncoder` finds before any activation."""
    load = {name: more.pop(name) for name in list(more) if name == "max_length"}
    peer = peers.CrossEncoder(str(folder), device="cpu", **load)
    identity = torch.nn.Identity()
    found = peer.predict(pairs, activation_fn=identity, show_progress_bar=False, **more)
    return list(found.tolist())


def paired(query: str, documents: list[str]) -> list[tuple[str, str]]:
    return [(query, text) for text in documents]


def test_a_head_with_one_output_scores_alike(
    cross_encoder: Path, query: str, documents: list[str], ours: Any
) -> None:
    expected = logits(cross_encoder, paired(query, documents))
    assert np.std(expected) > 0.1
    found = ours("ms-marco-MiniLM-L6-v2", cross_encoder, query, documents)
    assert found == pytest.approx(expected, abs=1e-5)


def test_of_two_outputs_the_difference_is_the_score(
    two_labels: Path, query: str, documents: list[str], ours: Any
) -> None:
    expected = [no_yes[1] - no_yes[0] for no_yes in logits(two_labels, paired(query, documents))]
    found = ours("monoBERT-large", two_labels, query, documents)
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_document_beside_a_short_query_is_cut_at_the_same_token(
    cross_encoder: Path, query: str, documents: list[str], ours: Any
) -> None:
    texts = [" ".join(documents[start:]) for start in range(6)]
    expected = logits(cross_encoder, paired(query, texts), max_length=63)
    budgets = {"max_pair_tokens": 60, "max_query_tokens": 30}
    found = ours("cross-encoder", cross_encoder, query, texts, **budgets)
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_long_query_is_cut_to_half_of_the_pair_beside_a_long_document(
    cross_encoder: Path, documents: list[str], ours: Any
) -> None:
    texts = [" ".join(documents[start:]) for start in range(6)]
    expected = logits(cross_encoder, paired(texts[3], texts), max_length=63)
    budgets = {"max_pair_tokens": 60, "max_query_tokens": 30}
    found = ours("cross-encoder", cross_encoder, texts[3], texts, **budgets)
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_long_query_is_cut_alike_for_all_documents_and_not_less_for_short_ones(
    cross_encoder: Path, documents: list[str], ours: Any
) -> None:
    """The library cuts the longer text, so what it reads of a query depends on the document.

    Here a query is one text for all its candidates; its scores are those of the library.
    """
    long, short = " ".join(documents[:6]), [text for text in documents if len(text) < 40]
    budgets = {"max_pair_tokens": 60, "max_query_tokens": 30}
    found = ours("cross-encoder", cross_encoder, long, short, **budgets)
    tokenizer = peers.CrossEncoder(str(cross_encoder), device="cpu").tokenizer
    ends = tokenizer(long, add_special_tokens=False, return_offsets_mapping=True).offset_mapping
    half = long[: ends[29][1]]
    cut = logits(cross_encoder, paired(half, short), max_length=63)
    assert found == pytest.approx(cut, abs=1e-5)
    theirs = logits(cross_encoder, paired(long, short), max_length=63)
    assert all(abs(a - b) > 1e-3 for a, b in zip(found, theirs, strict=True))


@pytest.fixture(scope="module")
def reranker_of_qwen(qwen_judge: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint as sentence-transformers saves a Qwen3-Reranker: two modules, a template."""
    folder = tmp_path_factory.mktemp("qwen3-reranker")
    peer = peers.CrossEncoder(str(qwen_judge), device="cpu")
    peer.tokenizer.chat_template = QWEN3_RERANKER
    peer.prompts, peer.default_prompt_name = {"manual": INSTRUCTION}, "manual"
    peer.save_pretrained(str(folder))
    return folder


def test_qwen3_reranker_scores_as_the_library_reads_its_labels(
    qwen_judge: Path, reranker_of_qwen: Path, query: str, documents: list[str], ours: Any
) -> None:
    expected = logits(reranker_of_qwen, paired(query, documents))
    assert np.std(expected) > 0.1
    named = ours("Qwen3-Reranker-0.6B", qwen_judge, query, documents, instruction=INSTRUCTION)
    assert named == pytest.approx(expected, abs=1e-4), "prefixes are computed apart"
    composed = ours("cross-encoder", reranker_of_qwen, query, documents)
    assert composed == pytest.approx(expected, abs=1e-5)
    other = logits(reranker_of_qwen, paired(query, documents), prompt="Anything")
    assert other != pytest.approx(expected, abs=1e-3)


def test_qwen3_reranker_as_a_classifier_scores_pairs_written_as_its_card_says(
    qwen_classifier: Path, qwen_judge: Path, query: str, documents: list[str], ours: Any
) -> None:
    head, end = QWEN3_RERANKER.partition("{% endmacro %}")[2], "{{ said('document') }}"
    head, tail = head.split("<Instruct>")[0], head.split(end)[1].removesuffix("{{ '' }}")
    usual = "Given a web search query, retrieve relevant passages that answer the query"
    first = f"{head}<Instruct>: {usual}\n<Query>: {query}\n"
    pairs = [(first, f"<Document>: {text}{tail}") for text in documents]
    expected = logits(qwen_classifier, pairs)
    found = ours("Qwen3-Reranker-0.6B-seq-cls", qwen_classifier, query, documents)
    assert found == pytest.approx(expected, abs=1e-4), "prefixes are computed apart"
    language_model = ours("Qwen3-Reranker-0.6B", qwen_judge, query, documents)
    assert found == pytest.approx(language_model, abs=1e-4)


def embedding_model(base: Path, folder: Path, pooling: str, *, normalise: bool) -> Any:
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

    transformer = Transformer(str(base))
    modules = [transformer, Pooling(transformer.get_embedding_dimension(), pooling)]
    peer = peers.SentenceTransformer(
        modules=[*modules, *([Normalize()] if normalise else [])],
        device="cpu",
        prompts={"query": "query: ", "document": "passage: "},
    )
    peer.save_pretrained(str(folder))
    return peer


def cosines(peer: Any, query: str, documents: list[str]) -> list[float]:
    one = peer.encode_query(query, show_progress_bar=False)
    rows = peer.encode_document(documents, show_progress_bar=False)
    return list(peers.util.cos_sim(one, rows)[0].tolist())


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("pooling", ["cls", "mean", "lasttoken"])
def test_an_embedding_model_with_prompts_has_the_same_cosines(
    encoder: Path,
    tmp_path: Path,
    query: str,
    documents: list[str],
    ours: Any,
    pooling: str,
    normalise: bool,
) -> None:
    peer = embedding_model(encoder, tmp_path / "model", pooling, normalise=normalise)
    expected = cosines(peer, query, documents)
    assert np.std(expected) > 0.01
    sides = {"prompt": "query: {{ query }}", "document_prompt": "passage: {{ document }}"}
    for name, text in sides.items():
        (tmp_path / f"{name}.toml").write_text(f"{HEAD}text = '{text}'\n")
    files = {name: str(tmp_path / f"{name}.toml") for name in sides}
    found = ours("bi-encoder", tmp_path / "model", query, documents, **files)
    assert found == pytest.approx(expected, abs=1e-5)


def test_qwen3_embedding_reads_an_instruction_before_a_query_and_its_last_token(
    qwen_judge: Path, tmp_path: Path, query: str, documents: list[str], ours: Any
) -> None:
    """The tokenizer of Qwen3-Embedding closes every text with its end token."""
    from tokenizers import processors
    from transformers import AutoTokenizer

    for file in qwen_judge.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tokenizer = AutoTokenizer.from_pretrained(qwen_judge, padding_side="left")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <|endoftext|>",
        pair="$A $B <|endoftext|>",
        special_tokens=[("<|endoftext|>", 0)],
    )
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "chat_template.jinja").unlink(missing_ok=True)
    peer = embedding_model(tmp_path, tmp_path / "saved", "lasttoken", normalise=True)
    peer.prompts = {"query": f"Instruct: {INSTRUCTION}\nQuery:", "document": ""}
    expected = cosines(peer, query, documents)
    found = ours(
        "Qwen3-Embedding-0.6B", tmp_path / "saved", query, documents, instruction=INSTRUCTION
    )
    assert found == pytest.approx(expected, abs=1e-5)
