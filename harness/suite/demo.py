"""`rerank-bench demo`: real models on real text, with nothing to download and no GPU.

The task is Python's own standard library. The cheap rerankers see many queries and the whole pool;
the language model, at a few hundred tokens a second, sees few queries, ten candidates and 48 tokens
of each. Every row says over how many queries it is a mean, so nobody compares across.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from ..engines import packaged_path
from ..errors import MissingExtra
from ..folders import cache_folder
from ..pools import PoolOptions
from ..reranking import Scope, choose
from ..tasks import TaskOptions
from .execution import FinishedRun, run_suite
from .prepared import Suite

TASK = "stdlib-code"
PROFILES = ("bm25", "dense", "hybrid")
MANY = Scope(queries=50)
FEW = Scope(queries=6, depth=10)
MODEL_FREE = ("random",)
ENCODER = ("minilm-late",)
LANGUAGE_MODEL = ("smollm2-ql", "smollm2-first")
_ENCODER_TOKENS, _LANGUAGE_TOKENS = 128, 48


def run(out: Path | None, *, quick: bool, report: Callable[[Sequence[Path]], None]) -> None:
    """Rerank, print the table with `report`, and say what could be run next.

    Without the package that brings SmolLM2 its rows are left out, and the command that adds them is
    printed; `quick` leaves them out unasked.
    """
    with tempfile.TemporaryDirectory(prefix="rerank-bench-demo-") as temporary:
        folder = out or Path(temporary)
        missing = None if quick else _missing_model()
        _say(f"task {TASK}, profiles {', '.join(PROFILES)}; no network, no GPU")
        cheap = [*MODEL_FREE, *_cut(ENCODER, _ENCODER_TOKENS)]
        folders = run_suite(_suite(cheap, MANY, folder), on_run=_done)
        if not quick and missing is None:
            asked = _cut(LANGUAGE_MODEL, _LANGUAGE_TOKENS)
            folders += run_suite(_suite(asked, FEW, folder), on_run=_done)
        report(folders)
    if missing is not None:
        _say(f"the language model's rows are left out; {missing}")
    _say("your own: rerank-bench run --task DATA --profile bm25 --reranker NAME:model=MODEL")


def _cut(rerankers: Sequence[str], doc_tokens: int) -> list[str]:
    """Return the rerankers under their own names, with shorter documents."""
    return [f"{name}:max_doc_tokens={doc_tokens},as={name}" for name in rerankers]


def _suite(rerankers: Sequence[str], scope: Scope, out: Path) -> Suite:
    return Suite(
        tasks=[(TASK, TaskOptions())],
        profiles=[(name, PoolOptions()) for name in PROFILES],
        rerankers=[choose(name) for name in rerankers],
        out=out,
        cache=cache_folder() / "replies",
        scope=scope,
    )


def _missing_model() -> str | None:
    try:
        packaged_path("smollm2")
    except MissingExtra as error:
        return str(error)
    return None


def _done(finished: FinishedRun) -> None:
    _say(f"done: {finished.profile} · {finished.label}")


def _say(line: str) -> None:
    click.echo(line, err=True)
