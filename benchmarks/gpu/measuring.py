"""What a reranker took on an engine, and how near that is to the fastest matrix product."""

from __future__ import annotations

import functools
import os
import pydoc_data.topics
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from rerank_bench import Candidates, Document, Engine, Job, drive
from rerank_bench.engines import EngineChoice, choose_engine
from rerank_bench.reranking import Shape, Usage, choose, decode_flops, order, sequence_flops, total

WORDS = [w for page in pydoc_data.topics.topics.values() for w in page.split() if w.isalpha()]
Figures = dict[str, Any]


@functools.cache
def ceiling(dtype: str) -> float:
    """Operations per second of a large square matrix product, the best of twenty; on all cores."""
    size, device = (8192, "cuda") if torch.cuda.is_available() else (1024, "cpu")
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or threads)  # vLLM's processes have threads of their own
    a, b = (torch.randn(size, size, device=device).to(getattr(torch, dtype)) for _ in range(2))
    best = min(_seconds(a, b) for _ in range(20))
    del a, b
    torch.cuda.empty_cache()  # vLLM wants most of the memory to be free
    torch.set_num_threads(threads)
    return 2 * size**3 / best


def _seconds(a: torch.Tensor, b: torch.Tensor) -> float:
    _synchronise()
    started = time.perf_counter()
    a @ b
    _synchronise()
    return time.perf_counter() - started


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@dataclass(frozen=True)
class Timed:
    """One pass over all queries. `work` is what the model's own process was busy, 0 unknown."""

    wall: float
    work: float
    usage: Usage
    scores: tuple[tuple[float, ...], ...]

    def figures(self, engine: Engine, dtype: str, *, whole_head: bool = True) -> Figures:
        """Return the speed, and the share of this dtype's ceiling while the model was at work.

        harness_share: of the wall time, in which the model was not at work; None where an engine
        does not tell, whose utilisation is then that of the wall time. whole_head: whether the head
        has a row for each word of the vocabulary.
        """
        shape, usage = Shape.of(engine.statistics.config or {}), self.usage
        done = flops(shape, usage, logits=int(shape.writes and whole_head))
        return {
            "queries": len(self.scores),
            "seconds_per_query": self.wall / len(self.scores),
            "tokens_per_second": (usage.prompt_tokens + usage.output_tokens) / self.wall,
            "cached_share": usage.cached_tokens / usage.prompt_tokens,
            "written": usage.output_tokens,
            "utilisation": done / ((self.work or self.wall) * ceiling(dtype)),
            "harness_share": 1 - self.work / self.wall if self.work else None,
        }


def timed(method: str, engine: Engine, given: Sequence[Candidates]) -> Timed:
    """Rerank with `method`, written for engine fake."""
    reranker = choose(method).reranker
    jobs = [Job(i, reranker, one) for i, one in enumerate(given)]
    worked, started = engine.statistics.work_seconds, time.perf_counter()
    outcomes = {job.key: outcome for job, outcome in drive(jobs, engine)}
    wall = time.perf_counter() - started
    found = [outcomes[i] for i in range(len(jobs))]
    work = engine.statistics.work_seconds - worked
    return Timed(wall, work, total(o.usage for o in found), tuple(o.scores for o in found))


def flops(shape: Shape, usage: Usage, *, logits: int) -> float:
    """Operations of all calls, each taken to be the mean one: reading what was not cached, writing.

    logits: positions at which a call's language head runs to read; 0 for a small head.
    """
    read, cached, written = (
        count / usage.calls
        for count in (usage.prompt_tokens, usage.cached_tokens, usage.output_tokens)
    )
    reading = sequence_flops(shape, round(read), cached=round(cached), logits=logits)
    return usage.calls * (reading + decode_flops(shape, max(written - 1, 0), context=read))


def apart(runs: Sequence[Timed]) -> Figures:
    """Return how runs of the same queries differ: scores, the first ten documents, and seconds."""
    scores = [[s for query in run.scores for s in query] for run in runs]
    tops = [[tuple(order(query)[:10]) for query in run.scores] for run in runs]
    changed = [len(set(lists)) > 1 for lists in zip(*tops, strict=True)]
    seconds = [run.wall for run in runs]
    return {
        "largest_score_difference": max(max(s) - min(s) for s in zip(*scores, strict=True)),
        "score_deviation": statistics.pstdev(scores[0]),
        "changed_top_10": sum(changed) / len(changed),
        "seconds": seconds,
        "spread_of_seconds": (max(seconds) - min(seconds)) / statistics.median(seconds),
    }


@dataclass
class Bench:
    """One open engine at a time, which steps with equal options share.

    passages, tokens: of each query, and of each passage. used: each engine that was closed, with
    its options, the settings in effect, and the seconds that it took to start.
    """

    folder: Path
    passages: int
    tokens: int
    used: list[Figures] = field(default_factory=list)
    _open: tuple[EngineChoice, Engine] | None = None
    _texts: dict[tuple[str, int], Candidates] = field(default_factory=dict)

    def engine(self, name: str, **options: Any) -> Engine:
        """Return the open engine, or close it and open another; MissingExtra without its extra."""
        labels = {"labels": ("1", "0")} if options.get("head") == "labels" else {}
        chosen = choose_engine(name, options, **labels)
        if self._open is None or self._open[0] != chosen:
            self.close()
            self._open = chosen, chosen.open()
        _ = self._open[1].identity
        return self._open[1]

    def close(self) -> None:
        """Close the open engine; another must find the GPU's memory free."""
        if self._open is None:
            return
        (chosen, engine), self._open = self._open, None
        engine.close()
        values = {k: v for k, v in chosen.values.items() if v not in (None, ())}
        values["model"] = Path(values["model"]).name
        known = engine.statistics
        in_effect = {"in_effect": known.in_effect, "startup_seconds": known.loading_seconds}
        self.used.append({"engine": chosen.name, "options": values, **in_effect})

    def candidates(self, engine: Engine, queries: int) -> list[Candidates]:
        """A query to warm up with and `queries` others, each with passages like no other's."""
        model = engine.identity["model"]
        for number in range(queries + 1):
            if (model, number) not in self._texts:  # to cut them takes seconds of a GPU's time
                self._texts[model, number] = self._candidates(engine, number)
        return [self._texts[model, number] for number in range(queries + 1)]

    def _candidates(self, engine: Engine, number: int) -> Candidates:
        draw = random.Random(number)
        texts = [" ".join(draw.choices(WORDS, k=2 * self.tokens)) for _ in range(self.passages)]
        fitted = [fit.text for fit in engine.fit(texts, self.tokens)]
        documents = tuple(Document(str(i), text) for i, text in enumerate(fitted))
        return Candidates("gpu", str(number), " ".join(draw.choices(WORDS, k=12)), documents)

    def method(self, name: str) -> str:
        """Return the reranker as `choose` reads it."""
        return f"{METHODS[name]},max_doc_tokens={self.tokens}"

    def run(
        self, name: str, engine: Engine, queries: int, *, times: int = 1, forgetting: bool = True
    ) -> Iterator[Timed]:
        """Rerank the same queries `times` times with a method, after one to warm the engine up.

        forgetting: have the engine drop what it has read before every time, not only the first.
        """
        warming, *given = self.candidates(engine, queries)
        timed(self.method(name), engine, [warming])
        for number in range(times):
            if forgetting or number == 0:
                engine.forget()
            yield timed(self.method(name), engine, given)


METHODS = {
    "pointwise": "pointwise:engine=fake,labels=1,0",
    "FIRST": "first:engine=fake",
    "listwise": "listwise:engine=fake,max_tokens=80",
    "cross-encoder": "cross-encoder:engine=fake",
}
