"""How near to the limit of a GPU the rerankers come: one command, nothing to download.

    python benchmarks/gpu [--minutes 12] [--shape Qwen3-4B …] [--step labels …] [--queries 32]

Random weights have the sizes of Qwen3-0.6B, 4B and 8B and of two cross-encoders: what is timed does
not depend on what they mean. Each query has 100 passages of 150 tokens. Utilisation is measured
against the largest matrix product of the same dtype. Steps are in the order of importance; each has
a limit in seconds, and is skipped where less is left of `--minutes`. A real model (`--model`) is
read where it is installed. Without a GPU a tiny shape runs to the end on the CPU, which shows that
the script works and nothing else. Prints figures and stores them after each one in
benchmarks/results/gpu.json, on a CPU in gpu_on_cpu.json. Ends with 1 where a step failed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from measuring import Bench
from steps import GPU, Step, plan

from rerank_bench import MissingExtra
from rerank_bench.engines import machine
from rerank_bench.reranking.shapes import SHAPES
from rerank_bench.runs.manifest import versions

RESULTS = Path(__file__).parents[1] / "results" / ("gpu.json" if GPU else "gpu_on_cpu.json")
SIZES = [name for name in SHAPES if name.startswith("Qwen3")]


class OutOfTime(BaseException):
    """A step has reached its limit; no `except Exception` on the way may hold it."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in what runs for longer."""

    def stop(*_: Any) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass
class Results:
    """What is known so far, on disk after every change, so that a killed run keeps it."""

    file: Path
    described: dict[str, Any]
    bench: Bench
    steps: list[dict[str, Any]] = field(default_factory=list)

    def store(self) -> None:
        """Write the file aside and rename it: it is whole at any time."""
        whole = {**self.described, "engines": self.bench.used, "steps": self.steps}
        aside = self.file.with_name(f"{self.file.name}.part")
        aside.write_text(json.dumps(whole, indent=2, default=dict) + "\n")
        aside.replace(self.file)

    def measure(self, step: Step, left: float) -> None:
        """Run a step, unless less than its limit is left; whatever ends it, what it found stays."""
        found: dict[str, Any] = {"step": step.kind, "title": step.title, "state": "begun"}
        self.steps.append({**found, "seconds": 0.0, "figures": []})
        started = time.perf_counter()
        print(f"{step.kind}: {step.title}")
        state = f"skipped: {left:.0f} s left, its limit is {step.limit:.0f} s"
        if left >= step.limit:
            state = self._run(step)
        self.steps[-1] |= {"state": state, "seconds": time.perf_counter() - started}
        print(f"  {state}, {self.steps[-1]['seconds']:.0f} s" if state == "done" else f"  {state}")
        self.store()

    def _run(self, step: Step) -> str:
        """Return how the step ended."""
        state = "done"
        try:
            with limited(step.limit):
                for figures in step.measure(self.bench):
                    print(f"  {_line(figures)}")
                    self.steps[-1]["figures"].append(figures)
                    self.store()
        except OutOfTime:
            state = f"stopped at its limit of {step.limit:g} s"
        except MissingExtra as error:
            state = f"left out: {error}"
        except Exception as error:  # the GPU is lent for minutes: the other steps are still of use
            traceback.print_exc()
            state = f"failed: {type(error).__name__}: {error}"
        if state != "done":
            self.bench.close()
        return state


def _line(figures: dict[str, Any]) -> str:
    known = {name: value for name, value in figures.items() if value is not None}
    return ", ".join(f"{name.replace('_', ' ')} {_text(value)}" for name, value in known.items())


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_text, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def described(options: argparse.Namespace) -> dict[str, Any]:
    """Return what the figures depend on: options, machine, driver and versions."""
    told = {name: value for name, value in vars(options).items() if name != "out"}
    hardware = machine(gpus=int(GPU)) | (_gpu() if GPU else {})
    return {"options": told, "hardware": hardware, "versions": dict(versions())}


def _gpu() -> dict[str, Any]:
    fields = ["driver_version", "power.limit", "clocks.max.sm", "memory.total"]
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader", "--id=0"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        driver = dict(zip(fields, said.strip().split(", "), strict=True))
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        driver = {"driver_version": f"unknown: {error}"}
    tf32 = torch.backends.cuda.matmul.allow_tf32
    return {**driver, "cuda": torch.version.cuda, "float32_products_in_tf32": tf32}


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    kinds = list(dict.fromkeys(step.kind for step in plan((), 1, "")))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--shape", action="append", choices=SIZES, help="only on a GPU")
    parser.add_argument("--step", action="append", choices=kinds)
    parser.add_argument("--queries", type=int, default=32 if GPU else 1)
    parser.add_argument("--passages", type=int, default=100 if GPU else 20)
    parser.add_argument("--tokens", type=int, default=150 if GPU else 24)
    parser.add_argument("--model", default="smollm2", help="a real model: hub id, folder, name")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file")
    options = parser.parse_args(arguments)
    if options.shape and not GPU:
        parser.error("--shape needs a GPU: on a CPU there is one tiny shape")
    if options.step and options.out == RESULTS:
        parser.error(
            "--step measures a part, which would replace the whole results: add --out FILE"
        )
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, store; return the exit status."""
    started = time.monotonic()
    options = _options(arguments)
    shapes = [SHAPES[name] for name in dict.fromkeys(options.shape or SIZES)] if GPU else []
    steps = plan(shapes, options.queries, options.model)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.passages, options.tokens)
        results = Results(options.out, described(options), bench)
        with contextlib.closing(bench):
            for step in steps:
                if step.kind in (options.step or [step.kind]):
                    left = 60 * options.minutes - (time.monotonic() - started)
                    results.measure(step, left)
        results.store()
    print(f"{(time.monotonic() - started) / 60:.1f} minutes; stored in {options.out}")
    return int(any(step["state"].startswith("failed") for step in results.steps))


if __name__ == "__main__":
    sys.exit(main())
