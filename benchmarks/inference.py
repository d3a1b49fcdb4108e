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
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from rerank_bench.evaluation import MEASURES, evaluate, infer, interval, results_of
from rerank_bench.evaluation.significance import DETECTABLE, LEVEL, estimate, holm, p_value

KEPT = Path(__file__).parents[1] / "tests" / "harness" / "evaluation" / "gains.json"
SIZES = (20, 50, 200)
LEVELS = (0.01, 0.05, 0.10)
FAMILY = 60
VERSIONS = 5
QUERIES = (48, 50, 50, 176, 199, 200)

Bounds = tuple[float, float] | tuple[None, None]


def real_gains(runs: Path | None) -> dict[str, np.ndarray]:
    """Per-query gains in nDCG@10 of runs of rerankers, by name."""
    if runs is None:
        kept = json.loads(KEPT.read_text(encoding="utf-8"))
        return {name: np.array(gains) for name, gains in kept.items()}
    found = evaluate([runs])
    floors = set(found.runs[found.runs["floor"]]["reranker"])
    gains = {key: own.gains[MEASURES[0]] for key, own in found.per_query.items()}
    return {
        " · ".join(key): own for key, own in gains.items() if key[2] not in floors and np.ptp(own)
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
    found = _p_values(null)
    return {str(level): float((found <= level).mean()) for level in LEVELS}


def _p_values(drawn: np.ndarray) -> np.ndarray:
    """Return the p-value of each series; 1 where it has none."""
    found = np.array([estimate(own)[:3] for own in drawn])
    return np.nan_to_num(p_value(*found.T), nan=1.0)


def family_error(null: np.ndarray) -> float:
    """Share of families with any star."""
    p = _p_values(null)
    families = [p[i : i + FAMILY] for i in range(0, len(p), FAMILY)]
    return float(np.mean([min(holm(family)) <= LEVEL for family in families]))


def power(gains: np.ndarray, drawn: np.ndarray) -> float:
    """Share of gains of the detectable size that are significant before Holm."""
    size = DETECTABLE * gains.std() / drawn.shape[1] ** 0.5
    p = _p_values(drawn - gains.mean() + size)
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


def simulated(tasks: int) -> list[tuple[dict[str, Any], np.ndarray]]:
    """Return records and gains of 20 rerankers and 3 profiles; small real effects, sets of 18."""
    generator = np.random.default_rng(0)
    sizes = [int(size) for size in generator.choice(QUERIES, tasks)]
    return [
        (
            {
                "task": f"Set{task // 18}/t{task}", "profile": profile, "reranker": f"r{reranker}",
                "measure": measure, "queries": size, "failed": 0, "first_stage": 0.4,
                "natural": 0.5, "ceiling": 0.9,
            },
            np.clip(generator.normal(0.01 * reranker - 0.05, 0.3, size), -1, 1),
        )
        for task, size in enumerate(sizes)
        for profile in ("bm25", "dense", "hybrid")
        for reranker in range(20)
        for measure in MEASURES
    ]  # fmt: skip


def speed(tasks: int) -> dict[str, Any]:
    """Return seconds and memory of all statistics of a report, from gains query by query."""
    drawn = simulated(tasks)
    start, spent = time.perf_counter(), time.process_time()
    rows = []
    for record, gains in drawn:
        found = estimate(gains)._asdict()
        rows.append(record | {"gain": found.pop("mean"), **found})
    results, means, _ = infer(results_of(rows))
    return {
        "rows": len(rows),
        "seconds": round(time.perf_counter() - start, 1),
        "CPU seconds": round(time.process_time() - spent, 1),
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "starred": int(results.values["starred"].sum()),
        "means": len(means.values),
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
