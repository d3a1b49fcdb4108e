"""What is measured, step by step: each yields figures as soon as it has them."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measuring import Bench, Figures, Timed, apart, ceiling
from random_models import ENCODERS, TINY, TINY_DUMMY, TINY_ENCODER, checkpoint

from rerank_bench.engines import choose_engine
from rerank_bench.inspect.doctor import examine
from rerank_bench.reranking import Shape

GPU = torch.cuda.is_available()
DECODERS = ("pointwise", "FIRST", "listwise")
SMALL: Mapping[str, Any] = {} if GPU else {"max_num_seqs": 16, "max_num_batched_tokens": 2048}
"""A CPU's memory holds no more."""

HEADS: Mapping[str, Mapping[str, Any]] = {
    "whole head in float32, labels by id": {},
    "whole head in bfloat16, labels by id": {
        "vllm": json.dumps({"hf_overrides": {"head_dtype": "model"}})
    },
    "head=labels": {"head": "labels"},
}
"""Ways to read two labels -> options of engine vllm; the first one is the default."""


@dataclass(frozen=True)
class Step:
    """One part of the run.

    kind: the name that `--step` takes. limit: seconds; it is not begun with less left, and stopped
    at the end of them.
    """

    kind: str
    title: str
    limit: float
    measure: Callable[[Bench], Iterator[Figures]]


@dataclass(frozen=True)
class Model:
    """A language model: its name, and the options by which vLLM or transformers finds it."""

    name: str
    options: Mapping[str, Any]

    def vllm(self, bench: Bench, **more: Any) -> Any:
        """Open it on vLLM."""
        return bench.engine("vllm", max_model_len=8192, **self.options, **SMALL, **more)

    @property
    def dtype(self) -> str:
        """Of its weights and hidden states."""
        return str(self.options["dtype"])


@functools.cache
def made(shape: Shape, folder: Path, *, weights: bool = True) -> str:
    """Return the folder of a model of these sizes, which is written at the first call."""
    name = shape.name.replace(", ", "-").replace(" ", "-")
    return str(checkpoint(shape, folder / name, weights=weights))


def random_model(bench: Bench, shape: Shape) -> Model:
    """A language model with random weights on disk, which both engines read."""
    return Model(shape.name, {"model": made(shape, bench.folder), "dtype": "bfloat16"})


def dummy_model(bench: Bench, shape: Shape) -> Model:
    """One too large to be written for this: vLLM makes its weights up."""
    options = {"dtype": "bfloat16", "load_format": "dummy"}
    return Model(shape.name, {"model": made(shape, bench.folder, weights=False), **options})


def real_model(name: str) -> Model:
    """The model of `--model`."""
    return Model(name, {"model": name, "dtype": "bfloat16" if GPU else "float32"})


# The steps


def ceilings(bench: Bench) -> Iterator[Figures]:
    """Time the largest matrix products."""
    for dtype in ("bfloat16", "float32"):
        yield {"dtype": dtype, "tflops_per_second": ceiling(dtype) / 1e12}


def methods(find: Callable[[Bench], Model], queries: int, bench: Bench) -> Iterator[Figures]:
    """Time each method of a language model on vLLM."""
    model = find(bench)
    engine = model.vllm(bench)
    for name in DECODERS:
        for run in bench.run(name, engine, queries):
            yield {"model": model.name, "method": name, **run.figures(engine, model.dtype)}


def prefix_cache(shape: Shape, queries: int, bench: Bench) -> Iterator[Figures]:
    """Rerank the same queries twice: the second time vLLM has read all of them."""
    model = random_model(bench, shape)
    engine = model.vllm(bench)
    for name in ("pointwise", "FIRST"):
        cold, warm = bench.run(name, engine, queries, times=2, forgetting=False)
        moved = apart([cold, warm])["largest_score_difference"]
        for cache, run in (("cold", cold), ("warm", warm)):
            named = {"model": model.name, "method": name, "prefix_cache": cache}
            yield {**named, **run.figures(engine, model.dtype)}
        yield {
            "model": model.name,
            "method": name,
            "warm_is_faster_by": cold.wall / warm.wall,
            "largest_score_difference": moved,
        }


def noise(engine_name: str, shape: Shape, queries: int, bench: Bench) -> Iterator[Figures]:
    """Rerank the same queries three times from the start, and compare."""
    model = random_model(bench, shape)
    vllm = engine_name == "vllm"
    engine = model.vllm(bench) if vllm else bench.engine(engine_name, **model.options)
    for name in DECODERS if vllm else ("pointwise",):
        runs = [*bench.run(name, engine, queries, times=3)]
        named = {"model": model.name, "engine": engine_name, "method": name}
        yield {**named, "runs": len(runs), **apart(runs)}


def label_path(shape: Shape, queries: int, bench: Bench) -> Iterator[Figures]:
    """Read two labels in every way that vLLM has, and compare the scores with the first one's."""
    model = random_model(bench, shape)
    runs: list[Timed] = []
    for way, options in HEADS.items():
        engine = model.vllm(bench, **options)
        runs += bench.run("pointwise", engine, queries)
        found = runs[-1].figures(engine, model.dtype, whole_head="head" not in options)
        compared = apart([runs[0], runs[-1]])
        kept = ("largest_score_difference", "score_deviation", "changed_top_10")
        yield {"model": model.name, "way": way, **found, **{key: compared[key] for key in kept}}


def cross_encoders(queries: int, bench: Bench) -> Iterator[Figures]:
    """Time cross-encoders on the transformers engine in both dtypes."""
    for shape in ENCODERS if GPU else [TINY_ENCODER]:
        options = {"model": made(shape, bench.folder)}
        yield from _both_dtypes("cross-encoder", shape.name, options, queries, bench)


def pointwise(shape: Shape, queries: int, bench: Bench) -> Iterator[Figures]:
    """Time a language model that is asked for a label on the transformers engine, likewise."""
    options = {"model": made(shape, bench.folder)}
    yield from _both_dtypes("pointwise", shape.name, options, queries, bench)


def _both_dtypes(
    method: str, name: str, options: Mapping[str, Any], queries: int, bench: Bench
) -> Iterator[Figures]:
    runs: list[Timed] = []
    for dtype in ("float32", "bfloat16"):
        engine = bench.engine("transformers", dtype=dtype, **options)
        runs += bench.run(method, engine, queries)
        yield {"model": name, "method": method, "dtype": dtype, **runs[-1].figures(engine, dtype)}
    compared = apart(runs)
    kept = ("largest_score_difference", "score_deviation", "changed_top_10")
    yield {"model": name, "method": method, "dtype": "both", **{k: compared[k] for k in kept}}


def doctor(
    find: Callable[[Bench], Model], engines: Sequence[tuple[str, str]], bench: Bench
) -> Iterator[Figures]:
    """Compare two engines, given by name and dtype, as `rerank-bench doctor` does."""
    model = find(bench)
    bench.close()
    opened = []
    for name, dtype in engines:
        more = {"max_model_len": 8192, **SMALL} if name == "vllm" else {}
        options = {"model": model.options["model"], "dtype": dtype, **more}
        opened.append((f"{name} {dtype}", choose_engine(name, options).open()))
    report = examine(opened, quick=not GPU)
    letters = {one.letter: one.name for one in report.engines}
    yield {"model": model.name, **letters, "closing": report.closing}
    yield from (asdict(check) for check in report.checks)
    yield from ({"note": note.replace(f"{bench.folder}/", "")} for note in report.notes)


FLOAT32, HALF = ("transformers", "float32"), ("transformers", "bfloat16")


def plan(shapes: Sequence[Shape], queries: int, real: str) -> list[Step]:
    """Return all steps, the most important first; those that share an engine are neighbours."""
    first, *others = shapes or [TINY, TINY_DUMMY]
    at_random, installed = partial(random_model, shape=first), lambda bench: real_model(real)
    half = max(queries // 2, 1)
    return [
        Step("ceiling", "largest matrix product", 30, ceilings),
        Step("methods", f"vLLM, {first.name}", 240, partial(methods, at_random, queries)),
        Step("prefix", "prefix cache, cold and warm", 120, partial(prefix_cache, first, queries)),
        Step("noise", "equal runs on vLLM", 120, partial(noise, "vllm", first, queries)),
        Step("labels", "ways to read labels on vLLM", 240, partial(label_path, first, queries)),
        Step("cross-encoder", "cross-encoders on transformers", 60,
             partial(cross_encoders, queries)),
        Step("pointwise", f"transformers, {first.name}", 90, partial(pointwise, first, half)),
        Step("noise", "equal runs on transformers", 60,
             partial(noise, "transformers", first, half)),
        Step("doctor", f"float32 and bfloat16, {first.name}", 60,
             partial(doctor, at_random, (FLOAT32, HALF))),
        Step("doctor", f"transformers and vLLM, {first.name}", 120,
             partial(doctor, at_random, (FLOAT32, ("vllm", "bfloat16")))),
        *(
            Step("methods", f"vLLM, {shape.name}", 180,
                 partial(methods, partial(dummy_model, shape=shape), half))
            for shape in others
        ),
        Step("doctor", f"float32 and bfloat16, {real}", 120,
             partial(doctor, installed, (FLOAT32, HALF))),
        Step("methods", f"vLLM, {real}", 120, partial(methods, installed, half)),
    ]  # fmt: skip
