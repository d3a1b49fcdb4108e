"""Are the report's statistics true to their word, and quick enough? Prints JSON.

    python benchmarks/inference.py [--runs RUNS] [--tasks 550] [--out FILE]

Coverage: queries are drawn from a real run's gains, whose mean is therefore known; the share of the
intervals that hold it, and how often a gain is found where there is none (signs by coin). The gains
are those of RUNS, or of one run on stdlib-code that the tests keep. Speed: intervals, p-values and
Holm for simulated per-query values of 20 rerankers and 3 profiles in all of a report's measures.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rerank_bench.evaluation import Row, evaluate, infer
from rerank_bench.evaluation.measures import MEASURES
from rerank_bench.evaluation.resampling import flipped, percentiles, resampled, units
from rerank_bench.evaluation.significance import p_values
from rerank_bench.runs import find_runs

KEPT = Path(__file__).parents[1] / "tests" / "harness" / "evaluation" / "gains.json"
DRAWS = 10_000
SIZES = (20, 50, 200)
LEVELS = (0.01, 0.05, 0.10)
QUERIES = (48, 50, 50, 176, 199, 200)


def real_gains(runs: Path | None) -> dict[str, np.ndarray]:
    """Per-query gains in nDCG@10 of runs of rerankers, by name."""
    if runs is None:
        kept = json.loads(KEPT.read_text(encoding="utf-8"))
        return {kept["run"]: np.array(kept["gains"])}
    rows = evaluate(find_runs(runs)).rows
    return {
        " · ".join(row.key): row.query_gains
        for row in rows
        if row.measure == "nDCG@10" and not row.floor and np.ptp(row.query_gains)
    }


def coverage(gains: np.ndarray, size: int, generator: np.random.Generator) -> float:
    """Share of intervals over `size` drawn queries that hold the mean of all `gains`."""
    drawn = generator.choice(gains, size=(DRAWS, size))
    held = 0
    for part in np.array_split(drawn, 40):
        low, high = percentiles(resampled(units("coverage", part)))
        held += int(((low <= gains.mean()) & (gains.mean() <= high)).sum())
    return held / DRAWS


def false_findings(
    gains: np.ndarray, size: int, generator: np.random.Generator
) -> dict[str, float]:
    """Share of p-values at most as large as each level, where signs are coins."""
    drawn = generator.choice(gains, size=(DRAWS, size))
    drawn *= generator.choice([-1.0, 1.0], size=drawn.shape)
    p: list[float] = []
    for part in np.array_split(drawn, 40):
        own = units("null", part)
        tested = p_values(
            own.means, flipped(own), own.variance, freedom=size - 1.0, moved=own.moved
        )
        p += [one.p for one in tested]
    return {str(level): float((np.array(p) <= level).mean()) for level in LEVELS}


def simulated(tasks: int) -> list[Row]:
    """Rows of 20 rerankers and 3 profiles on `tasks` tasks in sets of 18; small real effects."""
    generator, rows = np.random.default_rng(0), []
    for task in range(tasks):
        size = int(generator.choice(QUERIES))
        ids = tuple(f"q{i}" for i in range(size))
        for profile in ("bm25", "dense", "hybrid"):
            for reranker in range(20):
                effect = 0.01 * reranker - 0.05
                for measure in MEASURES:
                    values = np.clip(generator.normal(effect, 0.3, size), -1, 1)
                    row = _row(f"Set{task // 18}/t{task}", profile, f"r{reranker}", values, ids)
                    rows.append(replace(row, measure=measure))
    return rows


def _row(task: str, profile: str, reranker: str, gains: np.ndarray, ids: tuple[str, ...]) -> Row:
    gain = float(gains.mean())
    return Row(
        task=task, profile=profile, origin="", reranker=reranker, measure="",
        queries=len(ids), first_stage=0.4, natural=0.4 + gain, ceiling=0.9, gain=gain,
        query_ids=ids, query_gains=gains,
    )  # fmt: skip


def speed(tasks: int) -> dict[str, Any]:
    """Seconds and memory of all statistics of a report."""
    rows = simulated(tasks)
    start = time.perf_counter()
    found, groups = infer(rows)
    return {
        "rows": len(rows),
        "seconds": round(time.perf_counter() - start, 1),
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "starred": sum(row.starred for row in found),
        "group rows": sum(len(group.rows) for group in groups),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--tasks", type=int, default=550)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    generator = np.random.default_rng(1)
    told: dict[str, Any] = {"speed": speed(asked.tasks), "draws": DRAWS, "runs": {}}
    for name, gains in real_gains(asked.runs).items():
        told["runs"][name] = {
            str(size): {
                "coverage": coverage(gains, size, generator),
                "p at most": false_findings(gains, size, generator),
            }
            for size in SIZES
        }
    told["versions"] = {"python": platform.python_version(), "numpy": np.__version__}
    text = json.dumps(told, indent=2)
    print(text)
    if asked.out:
        asked.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
