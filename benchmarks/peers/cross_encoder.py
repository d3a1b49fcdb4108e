"""Pairs per second of the transformers engine beside packages that score the same pairs.

All score the same real pairs with the same weights (all-MiniLM-L6-v2 under a seeded head of one
label) in float32, on the same CPU and threads.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from side_by_side import Found, Match, Way, case, near, rounds, side_by_side

from rerank_bench.engines import find_model
from rerank_bench.engines.local import TransformersEngine, TransformersOptions
from rerank_bench.engines.local.encoders import arrange, has_layouts
from rerank_bench.quiet import quiet
from rerank_bench.reranking import Shape, sequence_flops
from rerank_bench.tasks import Task, find_tasks
from rerank_bench.types import PairScore

CANDIDATES = ("bm25_anserini", "bm25")
ALLOWED = 1e-4
Scores = Sequence[float]


def with_head(folder: Path, seed: int) -> Path:
    """Write MiniLM with a seeded classification head of one label to `folder`."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    source = find_model("minilm").source
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(source, num_labels=1)
    torch.nn.init.normal_(model.classifier.weight, std=0.5)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


def real_pairs(task: Task, count: int, seed: int) -> list[PairScore]:
    """Queries with 50 documents each: shipped candidates where there are some, else any 50."""
    chosen = random.Random(seed)
    config = next((name for name in CANDIDATES if name in task.shipped), None)
    shipped = task.shipped[config]() if config else {}
    everything = sorted(task.corpus)
    pairs: list[PairScore] = []
    for query_id, query in task.queries.items():
        ids = shipped.get(query_id) or chosen.sample(everything, min(50, len(everything)))
        pairs += [PairScore(query, task.corpus[i]) for i in ids[:50] if i in task.corpus]
        if len(pairs) >= count:
            break
    return pairs[:count]


def fitted(engine: TransformersEngine, pairs: Sequence[PairScore], tokens: int) -> list[PairScore]:
    """Cut the documents, so that no way has to truncate or fail."""
    documents = engine.fit([p.document for p in pairs], tokens)
    return [PairScore(p.query, d.text) for p, d in zip(pairs, documents, strict=True)]


def engine_way(engine: TransformersEngine, pairs: Sequence[PairScore]) -> Way[Scores]:
    """Score by the engine of this package."""

    def run() -> Scores:
        found: dict[int, Any] = dict(engine.stream(iter(pairs)))
        return [found[i].logits[0] for i in range(len(pairs))]

    return Way("engine transformers", run)


def predict_way(folder: Path, pairs: Sequence[PairScore]) -> Way[Scores]:
    """Score by sentence-transformers."""
    import torch
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(folder), device="cpu")
    both = [(p.query, p.document) for p in pairs]

    def run() -> Scores:
        identity = torch.nn.Identity()
        return list(model.predict(both, activation_fn=identity, show_progress_bar=False).tolist())

    return Way("sentence-transformers `CrossEncoder.predict`", run)


def rerankers_way(folder: Path, pairs: Sequence[PairScore]) -> Way[Scores]:
    """Score by rerankers, which takes one query with its documents at a time."""
    from rerankers import Reranker

    model = Reranker(str(folder), model_type="cross-encoder", device="cpu", verbose=0)
    documents: dict[str, list[str]] = {}
    for pair in pairs:
        documents.setdefault(pair.query, []).append(pair.document)

    def run() -> Scores:
        found: list[float] = []
        for query, texts in documents.items():
            ranked = model.rank(query, texts, doc_ids=list(range(len(texts))))
            found += [r.score for r in sorted(ranked.results, key=lambda r: r.doc_id)]
        return found

    return Way("rerankers `cross-encoder`", run)


# What this machine could do at best


def matmul_flops(size: int = 2048, rounds: int = 10) -> float:
    """Return the operations per second of a large float32 product, by the faster of two libraries.

    `torch.mm` computes by MKL, which is the slower on some processors; a linear layer that is
    arranged beforehand by oneDNN.
    """
    import torch

    states, weight = torch.rand(size, size), torch.rand(size, size)
    best = float("inf")
    products = [lambda: torch.mm(states, weight)]
    with torch.inference_mode():
        if has_layouts():
            linear = torch.nn.Linear(size, size, bias=False)
            arrange(linear)
            products.append(lambda: linear(states))
        for product in products * rounds:
            start = time.perf_counter()
            product()
            best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def flops_of(folder: Path, pairs: Sequence[PairScore]) -> float:
    """Return the operations of the whole model for all pairs, without padding.

    An engine that leaves a part of the model out, as far as no score depends on it, does fewer.
    """
    from transformers import AutoConfig, AutoTokenizer

    shape = Shape.of(AutoConfig.from_pretrained(folder).to_dict())
    tokens = AutoTokenizer.from_pretrained(folder)(
        [p.query for p in pairs], [p.document for p in pairs]
    )
    return float(sum(sequence_flops(shape, len(ids), logits=0) for ids in tokens["input_ids"]))


def compared(
    folder: Path, engine: TransformersEngine, pairs: Sequence[PairScore], count: int
) -> Found:
    """Time all ways, and say what share of a large matrix product's speed each reaches."""
    import torch

    with quiet():
        peers = [predict_way(folder, pairs), rerankers_way(folder, pairs)]
    ours = engine_way(engine, pairs)
    rows = side_by_side([Match(ours, p, 1.5) for p in peers], near("scores", ALLOWED), count)
    peak, needed = matmul_flops(), flops_of(folder, pairs)
    for row in rows:
        for side in ("our", "peer"):
            if row["equal"]["holds"]:
                rate = needed / statistics.median(row[f"{side}_seconds"])
                row[f"{side}_share_of_matmul"] = rate / peak
    return Found(
        rows,
        {
            "pairs": len(pairs),
            "matmul_gflops": peak / 1e9,
            "gflop": needed / 1e9,
            "padding_waste": engine.batcher.waste,
            "batch_tokens": engine.batcher.budget,
            "threads": torch.get_num_threads(),
        },
    )


@case("cross-encoder", "rerankers", "sentence-transformers")
@click.option(
    "--task", "name", default="stdlib-code", show_default=True, help="Its texts are paired."
)
@click.option("--pairs", "count", default=300, show_default=True)
@click.option("--document-tokens", default=220, show_default=True)
@click.option("--batch-tokens", type=int, help="Of the engine; by default it measures.")
@click.option("--seed", default=0, show_default=True)
@rounds(5)
def cross_encoder(
    name: str, count: int, document_tokens: int, batch_tokens: int | None, seed: int, rounds: int
) -> Found:
    """Pairs of a cross-encoder, in float32 on the CPU."""
    pairs = real_pairs(find_tasks(name)[0].load(), count, seed)
    with tempfile.TemporaryDirectory() as place:
        with quiet():
            folder = with_head(Path(place), seed)
        options = TransformersOptions(
            model=str(folder), device="cpu", max_num_batched_tokens=batch_tokens
        )
        engine = TransformersEngine(options)
        return compared(folder, engine, fitted(engine, pairs, document_tokens), rounds)
