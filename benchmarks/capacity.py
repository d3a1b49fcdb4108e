"""How many hours of a GPU each of 20 rerankers needs at least, for test sets of different sizes.

    python benchmarks/capacity.py

`rerank-bench plan` counts the tokens of 60 queries of stdlib-code, with the first 100 documents
of BM25, and computes the seconds of one H200, for each reranker alone. What it prints is
stored in benchmarks/results/capacity.json; the seconds of a query, times the queries of each test
set, go as a table to docs/scale.md. Nothing is downloaded; smollm2 only tokenises.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "capacity.json"
PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
BEGIN, END = "<!-- written by benchmarks/capacity.py -->\n", "<!-- end -->\n"
QUERIES = {
    "NanoMMTEB-v2 x 3": 3 * 3_248,
    "BEIR": 54_262,  # 18 test sets, and the development set of MS MARCO
    "1 M queries": 1_000_000,
}
RERANKERS = (
    "bi-encoder", "cross-encoder", "query-likelihood", "pointwise", "first", "tourrank", "acurank",
    "listwise", "listwise:window=10", "setwise", "setwise:k=20", "insertrank", "groupwise",
    "in-context", "pairwise:sort=heap", "dual-end", "rating", "cross-encoder then listwise at 20",
    "cross-encoder then setwise at 20", "cross-encoder then pairwise:sort=heap at 20",
)  # fmt: skip


def planned(reranker: str) -> dict[str, Any]:
    """Return what `plan` prints of a reranker alone."""
    command = ["plan", "--task", "stdlib-code", "--profile", "bm25", "--queries", "60"]
    command += ["--gpu", "h200", "--engine", "transformers", "--model", "smollm2"]
    command += ["--shape", "Qwen3-4B", "--reranker", reranker, "--json"]
    program = Path(sys.executable).with_name("rerank-bench")
    done = subprocess.run([program, *command], check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    entry = {"reranker": reranker, "command": f"rerank-bench {shlex.join(command)}", **found}
    print(f"{reranker:44} {_of_a_query(entry)[1]:8.3f} s a query", flush=True)
    return entry


def table(entries: Sequence[dict[str, Any]]) -> str:
    """Return a table of Markdown: calls and seconds of a query, and hours of each test set."""
    head = ["reranker", "calls / query", "seconds / query", "with a prefix cache", *QUERIES]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    both = [(entry["reranker"], _of_a_query(entry)) for entry in entries]
    whole = [sum(values) for values in zip(*(found for _, found in both), strict=True)]
    for name, (calls, seconds, cached) in [*both, (f"all {len(both)}", whole)]:
        hours = (f"{_three(seconds * count / 3600)} h" for count in QUERIES.values())
        cells = [name, f"{calls:,.0f}", _three(seconds), _three(cached), *hours]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _of_a_query(entry: dict[str, Any]) -> tuple[float, ...]:
    """Return calls, seconds, and seconds with a prefix cache, of all stages of a cascade."""
    rows = entry["rows"]
    totals = (sum(row[key] for row in rows) for key in ("calls", "seconds", "seconds_cached"))
    return tuple(total / rows[0]["queries"] for total in totals)


def _three(value: float) -> str:
    """Write three significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main() -> None:
    """Plan each reranker alone; store the rows and write the table."""
    entries = [planned(reranker) for reranker in RERANKERS]
    RESULTS.write_text(json.dumps(entries, indent=2) + "\n")
    head, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}{table(entries)}{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
