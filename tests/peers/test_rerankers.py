"""rerankers: its T5, cross-encoder, UPR, ColBERT and mxbai classes, and its adapter of rank_llm."""

from __future__ import annotations

import json
import random
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, BertConfig, BertModel
from transformers.models.t5 import modeling_t5

from rerank_bench import FakeEngine, rerank
from rerank_bench.engines import open_engine
from rerank_bench.types import Generation

pytest.importorskip("rerankers")

CPU = {"device": "cpu", "dtype": "float32", "verbose": 0}


def scored(peer: Any, query: str, documents: list[str]) -> list[float]:
    """What a ranker gives each document, in the order of the documents."""
    found = peer.rank(query, documents)
    return [found.get_score_by_docid(place) for place in range(len(documents))]


def test_a_cross_encoder_scores_alike(
    cross_encoder: Path, query: str, documents: list[str], ours: Any
) -> None:
    from rerankers.models.transformer_ranker import TransformerRanker

    expected = scored(TransformerRanker(str(cross_encoder), **CPU), query, documents)
    assert np.std(expected) > 0.1
    found = ours("ms-marco-MiniLM-L6-v2", cross_encoder, query, documents)
    assert found == pytest.approx(expected, abs=1e-5)


def test_monobert_scores_by_the_difference_of_its_outputs(
    two_labels: Path, tmp_path: Path, query: str, documents: list[str], ours: Any
) -> None:
    from rerankers.models.transformer_ranker import TransformerRanker

    folder = tmp_path / "monobert"  # the package knows it by its name
    folder.symlink_to(two_labels)
    expected = scored(TransformerRanker(str(folder), **CPU), query, documents)
    found = ours("monoBERT-large", two_labels, query, documents)
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "labels"),
    [("monoT5-base", ("▁false", "▁true")), ("mT5-base-mmarco-v2", ("▁no", "▁yes"))],
)
def test_monot5_scores_by_the_share_of_its_two_labels(
    t5: Path,
    query: str,
    documents: list[str],
    ours: Any,
    shares: Any,
    name: str,
    labels: tuple[str, str],
) -> None:
    from rerankers.models.t5ranker import T5Ranker

    peer = T5Ranker(str(t5), token_false=labels[0], token_true=labels[1], **CPU)
    expected = scored(peer, query, documents)
    assert np.std(expected) > 0.01
    assert shares(ours(name, t5, query, documents)) == pytest.approx(expected, abs=1e-5)


def test_a_long_document_is_cut_before_the_prompts_end_which_the_package_loses(
    t5: Path, query: str, checkpoints: Any, ours: Any, shares: Any
) -> None:
    """The package cuts the whole prompt to 512 tokens, and so its last word, `Relevant:`, too."""
    from rerankers.models.t5ranker import T5Ranker

    peer, text = T5Ranker(str(t5), **CPU), " ".join(checkpoints.TEXTS[:200])
    whole = peer.score(query, text)
    peer.inputs_template = "Query: {query} Document: {text}"
    assert peer.score(query, text) == whole
    peer.inputs_template += " Relevant:"

    budgets = {"max_pair_tokens": 400, "max_query_tokens": 200}
    (score,) = ours("monoT5-base", t5, query, [text], **budgets)
    room = 400 - len(peer.tokenizer(query, add_special_tokens=False).input_ids)
    (kept,) = open_engine("transformers", model=str(t5), device="cpu").fit([text], room)
    assert kept.truncated
    assert text.startswith(kept.text)
    assert peer.score(query, kept.text) == pytest.approx(shares([score])[0], abs=1e-5)


def test_upr_scores_by_the_likelihood_of_the_query_and_its_end(
    t5: Path, query: str, documents: list[str], ours: Any
) -> None:
    from rerankers.models.upr import UPRRanker

    expected = scored(UPRRanker(str(t5), **CPU), query, documents)
    assert np.std(expected) > 0.1
    found = ours("UPR-T0-3B", t5, query, documents)
    assert found == pytest.approx(expected, rel=1e-5)


def test_mxbai_scores_by_the_logits_of_1_and_0(
    qwen_judge: Path, query: str, documents: list[str], ours: Any
) -> None:
    from rerankers.models.mxbai_v2 import MxBaiV2Ranker

    peer = MxBaiV2Ranker(str(qwen_judge), **CPU)
    # transformers 5 has no `prepare_for_model`; where nothing is cut, it joins two lists.
    peer.tokenizer.prepare_for_model = lambda first, second, **_: {"input_ids": first + second}
    expected = scored(peer, query, documents)
    assert np.std(expected) > 0.1
    found = ours("mxbai-rerank-base-v2", qwen_judge, query, documents)
    assert found == pytest.approx(expected, abs=1e-5)
    told = peer.rank(query, documents, instruction="find it")
    expected = [told.get_score_by_docid(place) for place in range(len(documents))]
    found = ours("mxbai-rerank-base-v2", qwen_judge, query, documents, instruction="find it")
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.fixture
def colbert(encoder: Path, tmp_path: Path) -> Path:
    """A random BERT in ColBERT's own format, with the 128 dimensions that the package expects."""
    import torch

    tokenizer = AutoTokenizer.from_pretrained(encoder)
    tokenizer.add_tokens(["[unused0]", "[unused1]"])
    tokenizer.save_pretrained(tmp_path)
    network = BertModel.from_pretrained(encoder)
    network.resize_token_embeddings(len(tokenizer))
    network.save_pretrained(tmp_path)
    config = BertConfig.from_pretrained(tmp_path, architectures=["HF_ColBERT"])
    config.save_pretrained(tmp_path)
    weights = {
        f"bert.{name}": one for name, one in load_file(tmp_path / "model.safetensors").items()
    }
    torch.manual_seed(13)
    weights["linear.weight"] = torch.randn(128, 64)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    return tmp_path


def test_colbert_scores_are_the_mean_over_a_querys_tokens_where_ours_are_the_sum(
    colbert: Path, query: str, documents: list[str], ours: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package fills a query up by its own rule, and scores a document's punctuation too."""
    from rerankers.models.colbert_ranker import ColBERTModel, ColBERTRanker

    # Every model of transformers 5 has this attribute, which `post_init` would set.
    monkeypatch.setattr(ColBERTModel, "all_tied_weights_keys", {}, raising=False)
    peer = ColBERTRanker(str(colbert), **CPU)
    expected = scored(peer, query, documents)
    assert np.std(expected) > 0.01
    encoded = peer._query_encode([query])
    settings = {"query_maxlen": encoded["input_ids"].shape[1], "mask_punctuation": False}
    (colbert / "artifact.metadata").write_text(json.dumps(settings))
    tokens = int(encoded["attention_mask"].sum())
    found = ours("colbertv2.0", colbert, query, documents)
    assert [score / tokens for score in found] == pytest.approx(expected, abs=1e-5)


def ordered_at_random(prompt: str) -> str:
    """A permutation that depends on every passage of a prompt and on where it stands."""
    passages = re.findall(r"^\[(\d+)\] (.*)$", prompt, flags=re.MULTILINE)
    numbers = [number for number, _ in passages]
    random.Random(repr(passages)).shuffle(numbers)
    return " > ".join(f"[{number}]" for number in numbers)


class Server:
    """What rank_llm asks of `vllm.LLM`."""

    def __init__(self, *, model: str, **_: object) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(model)

    def get_tokenizer(self) -> Any:
        return self.tokenizer

    def generate(self, prompts: list[str], _: object) -> list[Any]:
        answers = [SimpleNamespace(text=ordered_at_random(p), token_ids=[0]) for p in prompts]
        return [SimpleNamespace(outputs=[answer]) for answer in answers]


@pytest.fixture(scope="module")
def adapter(llama: Path) -> Iterator[Any]:
    """The package's adapter of RankZephyr: rank_llm's own code, but for vLLM and LiT5-Score."""
    pytest.importorskip("rank_llm")
    vllm, outputs = types.ModuleType("vllm"), types.ModuleType("vllm.outputs")
    vllm.LLM, vllm.SamplingParams, vllm.RequestOutput = Server, SimpleNamespace, object
    vllm.outputs, outputs.RequestOutput = outputs, object
    score = types.ModuleType("rank_llm.rerank.listwise.lit5.modeling_t5")
    score.T5Stack = modeling_t5.T5Stack
    score.T5ForConditionalGeneration = modeling_t5.T5ForConditionalGeneration
    known = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        for module in (vllm, outputs, score):
            patch.setitem(sys.modules, module.__name__, module)
        from rank_llm.rerank import vllm_handler
        from rerankers.models import rankllm_ranker as peer

        patch.setattr(vllm_handler, "vllm", vllm)
        zephyr = peer.ZephyrReranker
        patch.setattr(peer, "ZephyrReranker", lambda: zephyr(str(llama), device="cpu"))
        found = peer.RankLLMRanker("rank_zephyr", verbose=0)
        # Of rank_llm 0.25, ZephyrReranker returns a list; the adapter reads one result, as here.
        found.rankllm_ranker = peer.rankllm_Reranker(found.rankllm_ranker._reranker)
        yield found
    for name in set(sys.modules) - known:
        if name.startswith("rank_llm"):  # others import it with stand-ins of their own
            del sys.modules[name]


@pytest.mark.parametrize("count", [2, 19, 20, 30, 100])
def test_the_adapter_of_rank_llm_orders_as_ours_does_where_the_stride_fits(
    adapter: Any, checkpoints: Any, query: str, count: int
) -> None:
    """Where it does not, rank_llm's last window is short: see the tests against rank_llm itself."""
    words = [re.findall(r"\w+", text)[:6] for text in checkpoints.TEXTS[:count]]
    texts = [" ".join([*some, f"({place})"]) for place, some in enumerate(words)]
    found = adapter.rank(query, texts)
    engine = FakeEngine(lambda r: Generation(ordered_at_random(r.prompt.text), finished=True))
    ranked = rerank(query, texts, reranker="RankZephyr", engine=engine)
    assert [document.index for document in ranked] == [one.document.doc_id for one in found]
    assert [document.index for document in ranked] != list(range(count))
