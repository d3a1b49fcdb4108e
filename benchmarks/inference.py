"""Measure how true the report's intervals, p-values and stars are, and how fast.

    python benchmarks/inference.py [--runs RUNS] [--tasks 550] [--draws 10000] [--out FILE]

Queries are drawn with replacement from the gains of real runs (those of RUNS, or of the six that
the tests keep), so the true mean is known. Measured are the coverage of 95 % intervals, for a tenth
of the samples also of bootstrap intervals, and with versions of questions in clusters of unequal
size; the share of small p-values where there is no gain (each sign is a coin); the share of
families of 60 such gains with any star; and the power for a gain of the detectable size. Speed: all
statistics of simulated per-query values of 20 rerankers and 3 profiles in all of a report's
measures. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from rerank_bench.evaluation import MEASURES, Row, evaluate, infer, interval
from rerank_bench.evaluation.significance import LEVEL, estimate, holm
from rerank_bench.runs import find_runs

KEPT = Path(__file__).parents[1] / "tests" / "harness" / "evaluation" / "gains.json"
SIZES = (20, 50, 200)
LEVELS = (0.01, 0.05, 0.10)
FAMILY = 60
VERSIONS = 5
DETECTABLE = 2.8  # standard errors
QUERIES = (48, 50, 50, 176, 199, 200)

Bounds = tuple[float, float] | tuple[None, None]


def real_gains(runs: Path | None) -> dict[str, np.ndarray]:
    """Per-query gains in nDCG@10 of runs of rerankers, by name."""
    if runs is None:
        kept = json.loads(KEPT.read_text(encoding="utf-8"))
        return {name: np.array(gains) for name, gains in kept.items()}
    rows = evaluate(find_runs(runs)).rows
    return {
        " · ".join(row.key): row.query_gains
        for row in rows
        if row.measure == MEASURES[0] and not row.floor and np.ptp(row.query_gains)
    }


def coverage(bounds: Iterable[Bounds], mean: float) -> dict[str, float]:
    """Share of intervals that hold `mean`; and of samples without one, their gains being equal."""
    found = list(bounds)
    given = [(low, high) for low, high in found if low is not None and high is not None]
    held = sum(low <= mean <= high for low, high in given)
    return {"coverage": held / len(given), "no interval": 1 - len(given) / len(found)}


def bootstrapped(drawn: np.ndarray, method: str) -> Iterator[Bounds]:
    """Bootstrap intervals by scipy, to compare with."""
    for own in drawn:
        if np.ptp(own):
            found = stats.bootstrap((own,), np.mean, n_resamples=2000, method=method, rng=1)
            yield tuple(map(float, found.confidence_interval))
        else:
            yield None, None


def clustered(
    gains: np.ndarray, questions: int, draws: int, generator: np.random.Generator
) -> Iterator[Bounds]:
    """Intervals where each question has 1 to 5 versions, and 7 of 10 versions its own gain."""
    for _ in range(draws):
        question = np.repeat(np.arange(questions), generator.integers(1, VERSIONS + 1, questions))
        own = generator.choice(gains, questions)[question]
        others = generator.choice(gains, len(question))
        values = np.where(generator.random(len(question)) < 0.7, own, others)
        yield interval(values, question.astype(str))


def null_level(null: np.ndarray) -> dict[str, float]:
    """Share of p-values at most as large as each level."""
    found = np.array(list(_p_values(null)))
    return {str(level): float((found <= level).mean()) for level in LEVELS}


def _p_values(drawn: np.ndarray) -> Iterator[float]:
    """The p-value of each series; 1 where it has none."""
    for own in drawn:
        p = estimate(own).p
        yield 1.0 if p is None else p


def family_error(null: np.ndarray) -> float:
    """Share of families with any star."""
    p = list(_p_values(null))
    families = [p[i : i + FAMILY] for i in range(0, len(p), FAMILY)]
    return float(np.mean([min(holm(family)) <= LEVEL for family in families]))


def power(gains: np.ndarray, drawn: np.ndarray) -> float:
    """Share of gains of the detectable size that are significant before Holm."""
    size = DETECTABLE * gains.std() / drawn.shape[1] ** 0.5
    p = np.array(list(_p_values(drawn - gains.mean() + size)))
    return float((p <= LEVEL).mean())


def measured(
    gains: np.ndarray, size: int, draws: int, generator: np.random.Generator
) -> dict[str, Any]:
    """All of that for samples of `size` queries."""
    drawn = generator.choice(gains, (draws, size))
    null = generator.choice(gains, (draws * FAMILY // 5, size))
    null *= generator.choice([-1.0, 1.0], null.shape)
    return {
        "queries": coverage(map(interval, drawn), gains.mean()),
        "bootstrap": {
            method: coverage(bootstrapped(drawn[: draws // 10], method), gains.mean())["coverage"]
            for method in ("percentile", "BCa")
        },
        "clusters": coverage(clustered(gains, size, draws, generator), gains.mean()),
        "p at most": null_level(null[:draws]),
        f"any star of {FAMILY}": family_error(null),
        "power": power(gains, drawn),
    }


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
    start, spent = time.perf_counter(), time.process_time()
    found, groups = infer(rows)
    return {
        "rows": len(rows),
        "seconds": round(time.perf_counter() - start, 1),
        "CPU seconds": round(time.process_time() - spent, 1),
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "starred": sum(row.starred for row in found),
        "group rows": sum(len(group.rows) for group in groups),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--tasks", type=int, default=550)
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    generator = np.random.default_rng(1)
    told: dict[str, Any] = {"speed": speed(asked.tasks), "draws": asked.draws, "runs": {}}
    for name, gains in real_gains(asked.runs).items():
        told["runs"][name] = {
            str(size): measured(gains, size, asked.draws, generator) for size in SIZES
        }
    told["versions"] = {"python": platform.python_version(), "numpy": np.__version__}
    text = json.dumps(told, indent=2, ensure_ascii=False)
    print(text)
    if asked.out:
        asked.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
