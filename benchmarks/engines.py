"""What serving a language model well is worth, as ratios from one run on this machine.

    python benchmarks/engines.py [--engine vllm] [--model smollm2] [--queries 8]
    python benchmarks/engines.py --engine http --base-url http://127.0.0.1:8000 --model NAME

Cases: FIRST against written listwise answers over the same windows; pointwise with and without a
prefix cache, and the tokens it saved; many queries side by side against one query after another;
feeding open queries continuously against rounds; and the harness' own share of the time. Prints a
table and adds this engine's part to benchmarks/results/engines.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rerank_bench import Candidates, Engine, Job, drive, load_task
from rerank_bench.engines import EngineChoice, choose_engine, machine
from rerank_bench.pools import build_pool
from rerank_bench.reranking import Budget, Fitting, Scope, Usage, choose, chosen_queries, total
from rerank_bench.runs.manifest import versions
from rerank_bench.types import Answers, AnyRequest, ready

RESULTS = Path(__file__).parent / "results" / "engines.json"
WINDOWS = "window=10,stride=5,max_doc_tokens=24"
FIRST = f"first:engine=fake,{WINDOWS}"
LISTWISE = f"listwise:engine=fake,{WINDOWS}"
POINTWISE = "pointwise:engine=fake,max_doc_tokens=48"


@dataclass(frozen=True)
class Timed:
    """One pass over all queries. `work` is what the model's own process was busy, None unknown."""

    wall: float
    work: float | None
    usage: Usage

    @property
    def overhead(self) -> float | None:
        """Share of the wall time in which the model was not at work."""
        return None if self.work is None else 1 - self.work / self.wall


class InRounds:
    """An engine that is given more requests only when all before are answered."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def stream(self, requests: Iterator[AnyRequest | None]) -> Answers:
        """Answer what is ready as a list of its own."""
        start = 0
        while together := list(ready(requests)):
            for index, reply in self._engine.stream(iter(together)):
                yield start + index, reply
            start += len(together)


def candidates(
    reranker: Any, engine: Engine, *, queries: int, depth: int, seed: int
) -> list[Candidates]:
    """The first `depth` BM25 candidates of some queries of stdlib-code, cut to the budget."""
    task = load_task("stdlib-code")
    chosen = chosen_queries(list(task.queries), Scope(queries=queries, seed=seed))
    rows = [r.first(depth) for r in build_pool(task, "bm25").rows if r.query_id in chosen]
    fitting = Fitting(task, engine, Budget.of(reranker, engine))
    fitting.prepare(rows)
    return [fitting.candidates(row) for row in rows]


def timed(
    method: str,
    engine: Any,
    *,
    queries: int,
    depth: int,
    asked: Any = None,
    one_by_one: bool = False,
    seed: int = 0,
) -> Timed:
    """Rerank with `method`; `asked` is the engine as the driver is to see it."""
    reranker = choose(method).reranker
    given = candidates(reranker, engine, queries=queries, depth=depth, seed=seed)
    jobs = [Job(i, reranker, one) for i, one in enumerate(given)]
    parts = [[job] for job in jobs] if one_by_one else [jobs]
    worked, started = engine.statistics.work_seconds, time.perf_counter()
    usages = [o.usage for part in parts for _, o in drive(part, asked or engine)]
    wall = time.perf_counter() - started
    work = engine.statistics.work_seconds - worked or None
    return Timed(wall, work, total(usages))


class Bench:
    """Engines with one model, each started once and warmed up."""

    def __init__(self, chosen: EngineChoice, queries: int) -> None:
        self.chosen, self.queries = chosen, queries

    def fresh(self, **changes: Any) -> Any:
        """A started engine that has read nothing of what is to be timed."""
        engine = replace(self.chosen, options=replace(self.chosen.options, **changes)).open()
        timed("pointwise:engine=fake,max_doc_tokens=8,prompt=yes-no", engine, queries=1, depth=1)
        return engine

    def first_against_listwise(self) -> Iterator[tuple[str, Any]]:
        """The same windows, one token against a written permutation."""
        engine = self.fresh()
        first = timed(FIRST, engine, queries=self.queries, depth=20)
        written = timed(LISTWISE, engine, queries=self.queries, depth=20)
        engine.close()
        yield "FIRST, seconds", first.wall
        yield "listwise, seconds", written.wall
        yield "FIRST is faster by", written.wall / first.wall
        yield "tokens written, FIRST / listwise", f"{_written(first)} / {_written(written)}"
        yield "FIRST, harness share", first.overhead
        yield "listwise, harness share", written.overhead

    def prefix_reuse(self) -> Iterator[tuple[str, Any]]:
        """Pointwise prompts share instruction and query."""
        reused = self._pointwise()
        yield "pointwise, seconds", reused.wall
        yield "prompt tokens that the cache held", reused.usage.cached_tokens
        yield "their share", reused.usage.cached_tokens / reused.usage.prompt_tokens
        yield "pointwise, harness share", reused.overhead
        if self.chosen.name == "vllm":
            plain = self._pointwise(vllm=json.dumps({"enable_prefix_caching": False}))
            yield "without a prefix cache, seconds", plain.wall
            yield "the cache is faster by", plain.wall / reused.wall

    def _pointwise(self, **changes: Any) -> Timed:
        engine = self.fresh(**changes)
        found = timed(POINTWISE, engine, queries=self.queries, depth=20)
        engine.close()
        return found

    def side_by_side(self) -> Iterator[tuple[str, Any]]:
        """Sequential windows: one query can only ever ask one question at a time.

        A server keeps what it has read, so that its second pass is over other queries.
        """
        other = int(self.chosen.name == "http")
        for name, method in (("FIRST", FIRST), ("listwise", LISTWISE)):
            engine = self.fresh()
            alone = timed(method, engine, queries=self.queries, depth=20, one_by_one=True)
            engine.close()
            engine = self.fresh()
            together = timed(method, engine, queries=self.queries, depth=20, seed=other)
            engine.close()
            yield f"{name}, query by query, seconds", alone.wall
            yield f"{name}, side by side, seconds", together.wall
            yield f"{name}, side by side is faster by", alone.wall / together.wall

    def continuous(self) -> Iterator[tuple[str, Any]]:
        """Rounds wait for their slowest answer."""
        engine = self.fresh()
        rounds = timed(LISTWISE, engine, queries=self.queries, depth=30, asked=InRounds(engine))
        engine.close()
        engine = self.fresh()
        fed = timed(LISTWISE, engine, queries=self.queries, depth=30)
        engine.close()
        yield "listwise in rounds, seconds", rounds.wall
        yield "listwise fed continuously, seconds", fed.wall
        yield "time that rounds lose", 1 - fed.wall / rounds.wall


def _written(found: Timed) -> int:
    return found.usage.output_tokens


CASES: dict[str, Callable[[Bench], Iterator[tuple[str, Any]]]] = {
    "FIRST against listwise": Bench.first_against_listwise,
    "prefix cache": Bench.prefix_reuse,
    "side by side": Bench.side_by_side,
    "continuous feeding": Bench.continuous,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the cases, print them, and store them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", default="vllm", choices=["vllm", "http", "transformers"])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--base-url")
    parser.add_argument("--tokenizer")
    parser.add_argument("--queries", type=int, default=8)
    parser.add_argument("--case", choices=CASES, action="append")
    chosen = parser.parse_args(arguments)
    served = {"base_url": chosen.base_url, "tokenizer": chosen.tokenizer}
    own = {"max_model_len": 2048, "max_num_seqs": 32, "max_num_batched_tokens": 2048}
    more = {"vllm": own, "http": served}.get(chosen.engine, {})
    bench = Bench(choose_engine(chosen.engine, {"model": chosen.model, **more}), chosen.queries)
    told = {}
    for name in chosen.case or CASES:
        print(name)
        told[name] = {}
        for what, value in CASES[name](bench):
            told[name][what] = value
            print(f"  {what}: {value:.3f}" if isinstance(value, float) else f"  {what}: {value}")
    _store(chosen, told)


def _store(chosen: argparse.Namespace, told: dict[str, Any]) -> None:
    stored = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    before = stored.get(chosen.engine, {}).get("cases", {})
    stored[chosen.engine] = {
        "model": chosen.model,
        "queries": chosen.queries,
        "cases": {**before, **told},
        "hardware": machine(),
        "versions": versions(),
    }
    RESULTS.write_text(json.dumps(stored, indent=2) + "\n")


if __name__ == "__main__":
    main()
