"""How near to the limit of a GPU the rerankers come: one command, nothing to download.

    python benchmarks/gpu.py [--shape Qwen3-4B …] [--queries 40]

Weights that mean nothing have the sizes of Qwen3-0.6B, 4B and 8B (vLLM's `load_format=dummy`): what
is timed does not depend on them. Each query has 100 passages of 150 tokens. Utilisation is measured
against the largest matrix product that this GPU does in the same dtype. Without a GPU a tiny shape
runs to the end on the CPU, which shows that the script works and nothing else. SmolLM2 is timed too
where it is installed. Prints a table and writes benchmarks/results/gpu.json.
"""

from __future__ import annotations

import argparse
import json
import pydoc_data.topics
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from rerank_bench import Candidates, Document, Job, MissingExtra, drive
from rerank_bench.engines import EngineChoice, choose_engine, machine, packaged
from rerank_bench.reranking import Shape, choose, decode_flops, sequence_flops
from rerank_bench.reranking.shapes import SHAPES
from rerank_bench.runs.manifest import versions

RESULTS = Path(__file__).parent / "results" / "gpu.json"
METHODS = {
    "pointwise": "pointwise:engine=fake,labels=1,0,max_doc_tokens={tokens}",
    "FIRST": "first:engine=fake,max_doc_tokens={tokens}",
    "listwise": "listwise:engine=fake,max_tokens=80,max_doc_tokens={tokens}",
}
TINY = Shape("tiny", 2, 128, 256, 4, 2, 32, vocabulary=2048)
WORDS = [w for page in pydoc_data.topics.topics.values() for w in page.split() if w.isalpha()]


@dataclass(frozen=True)
class Figures:
    """One method with one model.

    utilisation: share of the measured ceiling, while the model was at work. overhead: share of the
    wall time in which it was not.
    """

    model: str
    method: str
    queries: int
    seconds_per_query: float
    tokens_per_second: float
    cached_share: float
    written: int
    utilisation: float
    overhead: float
    startup: float


@dataclass
class Recorded:
    """An engine, and what each of its replies had read, known and written."""

    engine: Any
    replies: list[tuple[int, int, int]] = field(default_factory=list)

    def stream(self, requests: Iterator[Any]) -> Iterator[tuple[int, Any]]:
        """Answer as the engine does, and write it down."""
        for index, reply in self.engine.stream(requests):
            self.replies.append((reply.prompt_tokens, reply.cached_tokens, reply.output_tokens))
            yield index, reply

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def flops(self, shape: Shape) -> float:
        """Operations of all replies: reading what was not cached, and writing."""
        return sum(
            sequence_flops(shape, read, cached=cached)
            + decode_flops(shape, max(written - 1, 0), context=read)
            for read, cached, written in self.replies
        )


def checkpoint(shape: Shape, folder: Path) -> Path:
    """A model without weights: a config, and a tokenizer made from Python's own docs."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=2000, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(pydoc_data.topics.topics.values(), trainer)
    ends = {"eos_token": "<end>", "pad_token": "<end>"}
    found = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **ends)
    found.chat_template = "{% for m in messages %}{{ m.content }}\n{% endfor %}Answer:"
    found.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config_of(shape)))
    return folder


def config_of(shape: Shape) -> dict[str, Any]:
    """A `config.json` of a Qwen3ForCausalLM with the sizes of `shape`."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "num_hidden_layers": shape.layers,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "vocab_size": shape.vocabulary,
        "tie_word_embeddings": shape.tied,
        "hidden_act": "silu",
        "attention_bias": False,
        "max_position_embeddings": 40_960,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e6,
        "torch_dtype": "bfloat16",
        "eos_token_id": 0,
    }


def ceiling(dtype: torch.dtype, size: int) -> float:
    """Operations per second of a large square matrix product, the best of twenty."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(20):
        _synchronise()
        started = time.perf_counter()
        a @ b
        _synchronise()
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def candidates(engine: Any, query: int, *, passages: int, tokens: int) -> Candidates:
    """A query and passages of exactly `tokens` tokens, none like another."""
    draw = random.Random(query)
    texts = [" ".join(draw.choices(WORDS, k=2 * tokens)) for _ in range(passages)]
    fitted = [fit.text for fit in engine.fit(texts, tokens)]
    documents = tuple(Document(str(i), text) for i, text in enumerate(fitted))
    return Candidates("gpu", str(query), " ".join(draw.choices(WORDS, k=12)), documents)


def measure(shape: Shape, engine: Any, peak: float, options: argparse.Namespace) -> list[Figures]:
    """Time every method, after a query that warms the engine up."""
    found = []
    for name, method in METHODS.items():
        reranker = choose(method.format(tokens=options.tokens)).reranker
        given = [
            candidates(engine, i, passages=options.passages, tokens=options.tokens)
            for i in range(options.queries + 1)
        ]
        list(drive([Job(0, reranker, given[0])], engine))
        found.append(_timed(name, shape, engine, peak, [Job(i, reranker, c) for i, c in
                                                        enumerate(given[1:])]))  # fmt: skip
    return found


def _timed(name: str, shape: Shape, engine: Any, peak: float, jobs: Sequence[Job]) -> Figures:
    worked, started = engine.statistics.work_seconds, time.perf_counter()
    recorded = Recorded(engine)
    outcomes = [outcome for _, outcome in drive(jobs, recorded)]
    wall, work = time.perf_counter() - started, engine.statistics.work_seconds - worked
    read, cached, written = (sum(column) for column in zip(*recorded.replies, strict=True))
    return Figures(
        shape.name,
        name,
        len(outcomes),
        wall / len(outcomes),
        (read + written) / wall,
        cached / read,
        written,
        recorded.flops(shape) / (work * peak),
        1 - work / wall,
        engine.statistics.loading_seconds,
    )


def run(options: argparse.Namespace) -> Iterator[Figures]:
    """Time all shapes, and SmolLM2 where it is installed, one after another."""
    gpu = torch.cuda.is_available()
    dtype, size = ("bfloat16", 8192) if gpu else ("float32", 1024)
    peak = ceiling(getattr(torch, dtype), size)
    print(f"largest matrix product: {peak / 1e12:.2f} TFLOP/s in {dtype}")
    small = {} if gpu else {"max_num_seqs": 16, "max_num_batched_tokens": 2048}
    shapes = [SHAPES[name] for name in options.shape or SHAPES if name.startswith("Qwen3")]
    with tempfile.TemporaryDirectory() as folder:
        for shape in shapes if gpu else [TINY]:
            place = Path(folder, shape.name)
            place.mkdir()
            made = choose_engine("vllm", {
                "model": str(checkpoint(shape, place)), "dtype": dtype, "load_format": "dummy",
                "max_model_len": 8192, **small,
            })  # fmt: skip
            yield from _with(made, shape, peak, options)
        real = _smollm2(dtype, small)
        if real is not None:
            yield from _with(*real, peak, options)


def _smollm2(dtype: str, small: dict[str, Any]) -> tuple[EngineChoice, Shape] | None:
    """SmolLM2-135M, or nothing where the package that brings it is not installed."""
    try:
        packaged("smollm2")
    except MissingExtra:
        return None
    given = {"model": "smollm2", "dtype": dtype, "max_model_len": 8192, **small}
    chosen = choose_engine("vllm", given)
    config = chosen.open().statistics.config or {}
    return chosen, Shape.of(config, name="SmolLM2-135M")


def _with(
    chosen: EngineChoice, shape: Shape, peak: float, options: argparse.Namespace
) -> Iterator[Figures]:
    engine = chosen.open()
    try:
        yield from measure(shape, engine, peak, options)
    finally:
        engine.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Time, print, store."""
    gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", action="append", choices=sorted(SHAPES))
    parser.add_argument("--queries", type=int, default=40 if gpu else 1)
    parser.add_argument("--passages", type=int, default=100 if gpu else 20)
    parser.add_argument("--tokens", type=int, default=150 if gpu else 24)
    options = parser.parse_args(arguments)
    figures = []
    for found in run(options):
        print(
            f"{found.model:14} {found.method:10} {found.seconds_per_query:8.3f} s/query "
            f"{found.tokens_per_second:10.0f} tokens/s, {found.cached_share:4.0%} cached; "
            f"{found.utilisation:6.1%} of the ceiling, harness {found.overhead:5.1%}"
        )
        figures.append(asdict(found))
    described = {"options": vars(options), "figures": figures, "hardware": machine(gpus=int(gpu))}
    RESULTS.write_text(json.dumps({**described, "versions": versions()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
