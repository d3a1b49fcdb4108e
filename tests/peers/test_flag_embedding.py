"""FlagEmbedding: rerankers and embedders of the makers of bge, by their own code.

Not here: its layer-wise MiniCPM. Its model cannot be built with transformers 5 (`rope_scaling` and
`_tied_weights_keys` have other types there), and this package has no layer-wise head.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

flag = pytest.importorskip("FlagEmbedding")

CPU = {"use_fp16": False, "devices": "cpu"}
HEAD = "source = 'ours'\nlicence = 'CC0-1.0'\nchanges = 'none'\n"


@pytest.fixture
def long_query(documents: list[str]) -> str:
    return " ".join(documents)


def test_a_cross_encoder_scores_as_flag_reranker_does(
    cross_encoder: Path, query: str, documents: list[str], ours: Any
) -> None:
    peer = flag.FlagReranker(str(cross_encoder), max_length=128, **CPU)
    expected = peer.compute_score([(query, text) for text in documents])
    assert np.std(expected) > 0.1
    found = ours("bge-reranker-base", cross_encoder, query, documents)
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_cross_encoders_document_is_cut_first_and_its_query_to_three_quarters(
    cross_encoder: Path, query: str, long_query: str, documents: list[str], ours: Any
) -> None:
    peer = flag.FlagReranker(str(cross_encoder), max_length=64, **CPU)
    budgets = {"max_pair_tokens": 61, "max_query_tokens": 48}
    texts = [*documents[:3], long_query]
    for asked in (query, long_query):
        expected = peer.compute_score([(asked, text) for text in texts])
        found = ours("bge-reranker-base", cross_encoder, asked, texts, **budgets)
        assert found == pytest.approx(expected, abs=1e-5)


def test_gemma_scores_by_the_logit_of_yes_as_flag_llm_reranker_does(
    gemma_judge: Path, query: str, documents: list[str], ours: Any
) -> None:
    peer = flag.FlagLLMReranker(str(gemma_judge), max_length=1024, **CPU)
    expected = peer.compute_score([(query, text) for text in documents])
    assert np.std(expected) > 0.1
    found = ours("bge-reranker-v2-gemma", gemma_judge, query, documents)
    assert found == pytest.approx(expected, abs=1e-5)


def test_gemma_documents_keep_more_in_the_package_than_its_model_card_says(
    gemma_judge: Path, query: str, documents: list[str], ours: Any
) -> None:
    """The card cuts query and document together; the package allows the prompt's length on top.

    With a query shorter than the prompt, that leaves the document all of max_length.
    """
    text = " ".join(documents)
    peer = flag.FlagLLMReranker(str(gemma_judge), max_length=100, **CPU)
    expected = peer.compute_score([(query, text)])
    ids = peer.tokenizer(f"B: {text}", add_special_tokens=False).input_ids
    kept = peer.tokenizer.decode(ids[:100]).removeprefix("B: ")
    whole = ours("bge-reranker-v2-gemma", gemma_judge, query, [kept])
    assert whole == pytest.approx(expected, abs=1e-5)
    budgets = {"max_query_tokens": 72, "max_pair_tokens": 94}
    cut = ours("bge-reranker-v2-gemma", gemma_judge, query, [kept], **budgets)
    assert cut != pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_vectors_of_an_encoder_have_the_cosines_of_flag_model(
    encoder: Path, tmp_path: Path, query: str, documents: list[str], ours: Any, pooling: str
) -> None:
    said = "Represent this sentence for searching relevant passages: "
    peer = flag.FlagModel(
        str(encoder), pooling_method=pooling, query_instruction_for_retrieval=said, **CPU
    )
    one, rows = peer.encode_queries([query]), peer.encode_corpus(documents)
    prompt = tmp_path / "bge.toml"
    prompt.write_text(f"{HEAD}text = '{said}{{{{ query }}}}'\n")
    found = ours("bi-encoder", encoder, query, documents, prompt=str(prompt), pooling=pooling)
    assert found == pytest.approx((rows @ one[0]).tolist(), abs=1e-5)


def test_vectors_of_a_decoder_have_the_cosines_of_flag_llm_model(
    gemma_judge: Path, tmp_path: Path, query: str, documents: list[str], ours: Any
) -> None:
    peer = flag.FlagLLMModel(
        str(gemma_judge),
        query_instruction_for_retrieval="Find passages.",
        query_instruction_format="<instruct>{}\n<query>{}",
        **CPU,
    )
    one, rows = peer.encode_queries([query]), peer.encode_corpus(documents)
    prompt = tmp_path / "bge-gemma.toml"
    prompt.write_text(
        f"{HEAD}instruction = 'Find.'\ntext = '''<instruct>{{{{ instruction }}}}\n"
        "<query>{{ query }}'''\n"
    )
    found = ours(
        "bi-encoder",
        gemma_judge,
        query,
        documents,
        instruction="Find passages.",
        prompt=str(prompt),
        pooling="last",
    )
    assert found == pytest.approx((rows @ one[0]).tolist(), abs=1e-5)
