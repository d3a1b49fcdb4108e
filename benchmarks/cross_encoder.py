"""Pairs per second of the transformers engine against sentence-transformers' own `predict`.

Both score the same real pairs with the same weights (all-MiniLM-L6-v2 under a seeded head of one
label), on the same CPU and threads, turn by turn. Prints the ratio of the medians and writes it,
with versions, to benchmarks/results/cross_encoder.json. Both are also compared with a large matrix
product on this CPU: the share of its speed that the whole model's operations on real tokens reach.

    python benchmarks/cross_encoder.py --task FOLDER/SPLIT --pairs 300 --rounds 5
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from rerank_bench.engines import find_model
from rerank_bench.engines.local import TransformersEngine, TransformersOptions
from rerank_bench.quiet import quiet
from rerank_bench.tasks import Task, find_tasks
from rerank_bench.types import PairScore

RESULTS = Path(__file__).parent / "results" / "cross_encoder.json"
PACKAGES = ("torch", "transformers", "sentence-transformers", "tokenizers")
CANDIDATES = ("bm25_anserini", "bm25")


@dataclass(frozen=True)
class Timed:
    """What one way took: seconds of each round, and its scores."""

    seconds: tuple[float, ...]
    scores: tuple[float, ...]

    @property
    def median(self) -> float:
        """Seconds of the middle round."""
        return statistics.median(self.seconds)


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
    pairs = []
    for query_id, query in task.queries.items():
        ids = shipped.get(query_id) or chosen.sample(everything, min(50, len(everything)))
        pairs += [PairScore(query, task.corpus[i]) for i in ids[:50] if i in task.corpus]
        if len(pairs) >= count:
            break
    return pairs[:count]


def fitted(engine: TransformersEngine, pairs: Sequence[PairScore], tokens: int) -> list[PairScore]:
    """Cut the documents, so that neither way has to truncate or fail."""
    documents = engine.fit([p.document for p in pairs], tokens)
    return [PairScore(p.query, d.text) for p, d in zip(pairs, documents, strict=True)]


def turn_by_turn(ways: Sequence[Callable[[], Sequence[float]]], rounds: int) -> list[Timed]:
    """Run the ways alternately, once unmeasured and then `rounds` times."""
    scores = [tuple(way()) for way in ways]
    seconds: list[list[float]] = [[] for _ in ways]
    for number in range(rounds):
        order = range(len(ways)) if number % 2 == 0 else reversed(range(len(ways)))
        for i in order:
            start = time.perf_counter()
            ways[i]()
            seconds[i].append(time.perf_counter() - start)
    return [Timed(tuple(s), tuple(found)) for s, found in zip(seconds, scores, strict=True)]


def model_operations(lengths: Sequence[int], config: Any) -> float:
    """Floating-point operations of all layers on sequences of these lengths, without padding."""
    hidden, inner = config.hidden_size, config.intermediate_size
    linear = 2 * (4 * hidden**2 + 2 * hidden * inner)
    return config.num_hidden_layers * sum(n * linear + 4 * n * n * hidden for n in lengths)


def matmul_speed(size: int = 2048, rounds: int = 10) -> float:
    """Operations per second of the faster of torch's float32 products, MKL's and oneDNN's."""
    import torch

    with torch.inference_mode():
        states, weight = torch.randn(size, size), torch.randn(size, size)
        arranged = torch.ops.mkldnn._reorder_linear_weight(weight, size)
        ways = (
            lambda: torch.mm(states, weight),
            lambda: torch.ops.mkldnn._linear_pointwise(states, arranged, None, "none", [], ""),
        )
        found = turn_by_turn([lambda way=way: (way()[0, 0].item(),) for way in ways], rounds)
    return float(2 * size**3 / min(second for way in found for second in way.seconds))


def shares_of_matmul(
    opened: TransformersEngine, pairs: Sequence[PairScore], **seconds: float
) -> dict[str, float]:
    """Speed of a large product, and the share of it that each way's seconds for `pairs` reach.

    The whole model counts, also what the engine leaves out: the last layer of all later tokens.
    """
    replies: dict[int, Any] = dict(opened.stream(iter(pairs)))
    lengths = [reply.prompt_tokens for reply in replies.values()]
    whole, peak = model_operations(lengths, opened.checkpoint.config), matmul_speed()
    shares = {f"{name}_share_of_matmul": whole / s / peak for name, s in seconds.items()}
    return {"matmul_gflop_per_second": peak / 1e9, **shares}


def compare(
    folder: Path, pairs: Sequence[PairScore], options: argparse.Namespace
) -> dict[str, Any]:
    """Time both ways and return the figures."""
    import torch
    from sentence_transformers import CrossEncoder

    engine = TransformersEngine(
        TransformersOptions(
            model=str(folder), device="cpu", max_num_batched_tokens=options.batch_tokens
        )
    )
    cut = fitted(engine, pairs, options.document_tokens)
    with quiet():
        library = CrossEncoder(str(folder), device="cpu")
    both = [(p.query, p.document) for p in cut]

    def theirs() -> Sequence[float]:
        identity = torch.nn.Identity()
        found = library.predict(both, activation_fn=identity, show_progress_bar=False)
        return [float(score) for score in found]

    def ours() -> Sequence[float]:
        found: dict[int, Any] = dict(engine.stream(iter(cut)))
        return [found[i].logits[0] for i in range(len(cut))]

    predict, own = turn_by_turn((theirs, ours), options.rounds)
    apart = [abs(a - b) for a, b in zip(predict.scores, own.scores, strict=True)]
    return {
        "pairs": len(cut),
        "rounds": options.rounds,
        "predict_seconds": predict.seconds,
        "engine_seconds": own.seconds,
        "predict_pairs_per_second": len(cut) / predict.median,
        "engine_pairs_per_second": len(cut) / own.median,
        "ratio": predict.median / own.median,
        # Where others share the machine, the fastest rounds are the least disturbed.
        "ratio_of_fastest_rounds": min(predict.seconds) / min(own.seconds),
        **shares_of_matmul(engine, cut, predict=predict.median, engine=own.median),
        "largest_score_difference": max(apart),
        "score_deviation": statistics.pstdev(predict.scores),
        "padding_waste": engine.batcher.waste,
        "batch_tokens": engine.batcher.budget,
        "threads": torch.get_num_threads(),
    }


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    found = {name: metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "machine": platform.platform(), **found}


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="stdlib-code", help="task whose texts are paired")
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--document-tokens", type=int, default=220)
    parser.add_argument("--batch-tokens", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    task = find_tasks(options.task)[0].load()
    pairs = real_pairs(task, options.pairs, options.seed)
    with tempfile.TemporaryDirectory() as place:
        with quiet():
            folder = with_head(Path(place), options.seed)
        found = compare(folder, pairs, options)
    found |= {"task": task.name, **machine()}
    for key, value in found.items():
        print(f"{key:26} {value:.4g}" if isinstance(value, float) else f"{key:26} {value}")
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
