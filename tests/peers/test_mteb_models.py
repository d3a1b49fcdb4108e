"""mteb: the loaders of its registry for rerankers, on random checkpoints.

Not here: jina-reranker-v3, whose loader calls code that only its checkpoint brings. It is compared
with a plain PyTorch computation in tests/harness/engines/local/test_vectors.py.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoProcessor,
    AutoTokenizer,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
)

from rerank_bench import FakeEngine, rerank
from rerank_bench.engines import open_engine
from rerank_bench.reranking import catalogue
from rerank_bench.types import Generate, Generation, Prompt

pytest.importorskip("mteb")


def predicted(peer: Any, query: str, documents: Sequence[str], **more: str) -> list[float]:
    """Call a loader as mteb does: with one loader of queries and one of documents."""
    from datasets import Dataset
    from torch.utils.data import DataLoader

    count = len(documents)
    asked = {"text": [query] * count, "query": [query] * count}
    asked |= {name: [value] * count for name, value in more.items()}
    sides = [Dataset.from_dict(asked), Dataset.from_dict({"text": list(documents)})]
    first, second = (DataLoader(side, batch_size=4) for side in sides)
    given = {"task_metadata": None, "hf_split": "test", "hf_subset": "default"}
    return [float(score) for score in peer.predict(first, second, show_progress_bar=False, **given)]


FOUR_EMBEDDINGS = {"monoT5-base", "monoT5-3b"}  # are counted by mteb where T5 has one


def test_the_catalogue_has_the_revisions_and_sizes_of_the_registry() -> None:
    from mteb.models.model_implementations import MODEL_REGISTRY

    entries = [entry for entry in catalogue().values() if entry.model in MODEL_REGISTRY]
    assert len(entries) > 50
    theirs = {entry.name: MODEL_REGISTRY[entry.model] for entry in entries}
    assert {e.name: e.revision for e in entries} == {n: m.revision for n, m in theirs.items()}
    sized = {
        name: found.n_parameters / 1e9
        for name, found in theirs.items()
        if found.n_parameters and name not in FOUR_EMBEDDINGS
    }
    ours = {name: catalogue()[name].parameters for name in sized}
    assert ours == pytest.approx(sized, rel=0.02)


def test_qwen3_reranker_scores_by_the_share_of_yes(
    qwen_judge: Path, query: str, documents: list[str], ours: Any, shares: Any
) -> None:
    """Without an instruction the loader has another default than the model card, and ours."""
    from mteb.models.model_implementations.qwen3_reranker import Qwen3RerankerWrapper

    peer = Qwen3RerankerWrapper(str(qwen_judge), device="cpu", dtype=torch.float32)
    told = "Find the part of the manual that answers the question"
    expected = predicted(peer, query, documents, instruction=told)
    assert np.std(expected) > 0.01
    found = ours("Qwen3-Reranker-0.6B", qwen_judge, query, documents, instruction=told)
    assert shares(found) == pytest.approx(expected, abs=1e-5)
    usual = "Given the user query, retrieval the relevant passages"
    found = ours("Qwen3-Reranker-0.6B", qwen_judge, query, documents, instruction=usual)
    assert shares(found) == pytest.approx(predicted(peer, query, documents), abs=1e-5)


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
    from mteb.models.model_implementations.rerankers_monot5_based import MonoT5Reranker

    peer = MonoT5Reranker(str(t5), token_false=labels[0], token_true=labels[1])
    expected = predicted(peer, query, documents)
    assert np.std(expected) > 0.01
    found = ours(name, t5, query, documents)
    assert shares(found) == pytest.approx(expected, abs=1e-5)


ROLES = (
    "{% for m in messages %}{% if m.role == 'query' %}Query: {{ m.content }}\n"
    "{% elif m.role == 'document' %}Document: {{ m.content }}\n{% endif %}{% endfor %}Relevant:"
)


def test_a_pointwise_lighton_reranker_scores_by_its_stored_modules(
    qwen_judge: Path, tmp_path: Path, query: str, documents: list[str], ours: Any, shares: Any
) -> None:
    from mteb.models.sentence_transformer_wrapper import CrossEncoderWrapper
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.cross_encoder.modules import LogitScore

    transformer = Transformer(
        str(qwen_judge),
        transformer_task="text-generation",
        processor_kwargs={"chat_template": ROLES},
    )
    labels = transformer.tokenizer.convert_tokens_to_ids(["Yes", "No"])
    CrossEncoder(modules=[transformer, LogitScore(*labels)]).save_pretrained(str(tmp_path))
    peer = CrossEncoderWrapper(str(tmp_path), device="cpu")
    expected = predicted(peer, query, documents)
    assert np.std(expected) > 0.01
    found = ours("LightOn-rerank-PW-0.8B", tmp_path, query, documents)
    assert shares(found) == pytest.approx(expected, abs=1e-5)


@pytest.fixture(scope="module")
def qwen_of_lighton(tmp_path_factory: pytest.TempPathFactory, checkpoints: Any) -> Path:
    """A random Qwen3.5, the kind of which the listwise checkpoints are: it reads images too."""
    folder = tmp_path_factory.mktemp("lighton")
    shape = checkpoints.decoder_shape(len(checkpoints.byte_pairs(folder, chat=checkpoints.CHATML)))
    linear = {"linear_num_key_heads": 2, "linear_num_value_heads": 2}
    linear |= {"linear_key_head_dim": 16, "linear_value_head_dim": 16}
    more = {"num_hidden_layers": 4, "max_position_embeddings": 2048}
    images = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2}
    config = Qwen3_5Config(
        text_config=shape | more | linear, vision_config=images | {"out_hidden_size": 64}
    )
    assert set(config.text_config.layer_types) == {"linear_attention", "full_attention"}
    torch.manual_seed(14)
    Qwen3_5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


@pytest.fixture
def lighton(qwen_of_lighton: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The loader of the listwise checkpoints; of the processor it needs the tokenizer alone."""
    from mteb.models.model_implementations.lighton_rerank_models import (
        LightOnListwiseRerankerWrapper,
    )

    tokenizer = AutoTokenizer.from_pretrained(qwen_of_lighton, padding_side="left")
    tokenizer.tokenizer = tokenizer
    monkeypatch.setattr(AutoProcessor, "from_pretrained", lambda *_, **__: tokenizer)
    return LightOnListwiseRerankerWrapper(
        str(qwen_of_lighton), device="cpu", dtype=torch.float32, use_think_block=True
    )


def shuffled_by(prompt: str) -> str:
    """A permutation of four that depends on every character of the prompt."""
    numbers = [number for number in range(1, 5) if f"\n[{number}]: " in prompt]
    random.Random(prompt).shuffle(numbers)
    return " > ".join(f"[{number}]" for number in numbers)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 11])
def test_a_listwise_lighton_reranker_asks_the_same_and_orders_the_same(
    lighton: Any, query: str, documents: list[str], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of passages without runs of white space, which are one space here and are left there."""
    texts = [" ".join(text.split()) for text in documents[:count]]
    monkeypatch.setattr(lighton, "_generate", lambda prompts, _: list(map(shuffled_by, prompts)))
    expected = predicted(lighton, query, texts)
    engine = FakeEngine(lambda r: Generation(shuffled_by(r.prompt.text), finished=True))
    found = rerank(query, texts, reranker="LightOn-rerank-LW-4B", engine=engine)
    order = sorted(range(count), key=lambda place: -expected[place])
    assert [document.index for document in found] == order
    assert lighton.parse_stats["fallbacks"] == 0


def test_an_incomplete_permutation_is_completed_here_and_ignored_there(
    lighton: Any, query: str, documents: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lighton, "_generate", lambda prompts, _: ["[3] > [1]"] * len(prompts))
    assert predicted(lighton, query, documents[:4]) == [4, 3, 2, 1]
    assert lighton.parse_stats["fallbacks"] == 1
    engine = FakeEngine(lambda request: Generation("[3] > [1]", finished=True))
    found = rerank(query, documents[:4], reranker="LightOn-rerank-LW-4B", engine=engine)
    assert [document.index for document in found] == [2, 0, 1, 3]
    assert found.counts["repaired"] == 1


def test_a_qwen3_5_writes_the_same_text_for_a_window(
    lighton: Any, qwen_of_lighton: Path, query: str, documents: list[str]
) -> None:
    """Windows of different lengths in one batch: most of its layers attend linearly."""
    prompts = [lighton._build_text_prompt(query, documents[n : n + 4]) for n in range(9)]
    expected = lighton._generate(prompts, None)
    engine = open_engine("transformers", model=str(qwen_of_lighton), device="cpu")
    requests = [Generate(Prompt(text=prompt), max_tokens=30) for prompt in prompts]
    found = dict(engine.stream(iter(requests)))
    engine.close()
    assert [found[place].text for place in range(len(prompts))] == expected
    assert len(set(expected)) > 3
