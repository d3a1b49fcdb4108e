"""How much the driver itself costs: whole tasks through an engine that answers at once.

    python benchmarks/driver.py [--queries 3248]

Each case runs in a process of its own, so that its peak memory is its own. 3,248 queries are those
of NanoMMTEB-v2. Prints a table and writes benchmarks/results/driver.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

from rerank_bench import (
    Candidates,
    Document,
    FakeEngine,
    Generate,
    Generation,
    Job,
    LabelScores,
    Message,
    NextToken,
    Prompt,
    ask,
    drive,
)
from rerank_bench.engines import ReplyCache, machine
from rerank_bench.reranking import choose
from rerank_bench.runs.manifest import versions

RESULTS = Path(__file__).parent / "results" / "driver.json"
CASES = {
    "pointwise": (3248, 101, False),
    "pointwise, replies cached": (3248, 101, True),
    "listwise, 10 windows": (3248, 101, False),
    "all pairs": (200, 100, False),
}
PERMUTATION = " > ".join(f"[{i}]" for i in range(20, 0, -1))


class AllPairs:
    """Asks every unordered pair at once: the most requests a flow of 100 documents can hold."""

    asks = frozenset({NextToken})

    def rerank(self, candidates: Candidates) -> Any:
        """Score each document by its wins."""
        pairs = list(combinations(range(len(candidates.documents)), 2))
        texts = [d.text for d in candidates.documents]
        asked = [
            NextToken(Prompt((Message("user", f"{texts[a]}\n{texts[b]}"),)), ("A", "B"))
            for a, b in pairs
        ]
        replies = yield from ask(asked)
        wins = [0.0] * len(texts)
        for (a, b), reply in zip(pairs, replies, strict=True):
            wins[a if reply.logprob["A"] >= reply.logprob["B"] else b] += 1
        return wins


def answer(request: Any) -> Any:
    """Answer at once and always the same, so that what is measured is the driver."""
    if isinstance(request, Generate):
        return Generation(PERMUTATION, finished=True, prompt_tokens=9, output_tokens=9)
    scores = {label: -1.0 - place for place, label in enumerate(request.labels)}
    return LabelScores(scores, prompt_tokens=9)


def jobs(case: str, queries: int, depth: int) -> Iterator[Job]:
    """Yield one job per query, as a suite does."""
    if case.startswith("pointwise"):
        reranker: Any = choose("pointwise:engine=fake").reranker
    elif case.startswith("listwise"):
        reranker = choose("listwise:engine=fake").reranker
    else:
        reranker = AllPairs()
    words = "the quick brown fox jumps over the lazy dog and runs into the dark wood " * 5
    for q in range(queries):
        documents = tuple(Document(f"d{q}-{i}", f"{i} of {q}: {words}") for i in range(depth))
        yield Job(q, reranker, Candidates("bench", str(q), f"query {q}", documents), case)


def measure(case: str, queries: int | None) -> dict[str, Any]:
    """Run one case in this process."""
    usual, depth, cached = CASES[case]
    count = min(queries or usual, usual)
    engine = FakeEngine(answer)
    with tempfile.TemporaryDirectory() as folder:
        cache = ReplyCache(Path(folder)) if cached else None
        start = time.perf_counter()
        calls = sum(o.usage.calls for _, o in drive(jobs(case, count, depth), engine, cache=cache))
        seconds = time.perf_counter() - start
        if cache is not None:
            cache.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak_gb = peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9
    return {"case": case, "queries": count, "calls": calls, "seconds": seconds, "peak_gb": peak_gb}


def main() -> None:
    """Measure every case and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, help="fewer queries than NanoMMTEB-v2 has")
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        print(json.dumps(measure(given.case, given.queries)))
        return
    rows = []
    for case in CASES:
        command = [sys.executable, __file__, "--case", case]
        command += ["--queries", str(given.queries)] if given.queries else []
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        rows.append(row := json.loads(done.stdout))
        print(
            f"{row['case']:28} {row['queries']:5} queries {row['calls']:8} calls "
            f"{row['seconds']:7.2f} s {row['peak_gb']:6.2f} GB"
        )
    RESULTS.parent.mkdir(exist_ok=True)
    described = {"rows": rows, "versions": versions(), "hardware": machine()}
    RESULTS.write_text(json.dumps(described, indent=2) + "\n")


if __name__ == "__main__":
    main()
