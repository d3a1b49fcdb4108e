"""What is to be run, and the pools of it: every task with every profile, before any reranker."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import BadData, BadOption
from .instructions import MODEL, check_policy
from .pools import (
    Pool,
    PoolOptions,
    build_pool,
    check_profile,
    release_encoder,
    without_own_documents,
)
from .tasks import TaskOptions, find_tasks
from .variants import Variant

if TYPE_CHECKING:
    from .registry import Choice
    from .tasks import Task


@dataclass(frozen=True)
class Scope:
    """How much is run, and how.

    queries: the N queries with the smallest sha256 of seed and id; None for all. depth: rerank the
    first K candidates and the safeguard; the rest keeps its place behind. max_doc_chars: cut every
    document first, in characters. max_doc_tokens: cut every document to so many tokens of each
    reranker's tokenizer, where its own budget is greater. instructions: `model`, each model's own
    default, or `task`, the task's. keep_going: a failed query ends alone, not the run, and tasks
    and lists whose ids do not match are taken.
    """

    queries: int | None = None
    seed: int = 0
    depth: int | None = None
    max_doc_chars: int | None = None
    max_doc_tokens: int | None = None
    instructions: str = MODEL
    keep_going: bool = False

    def __post_init__(self) -> None:
        check_policy(self.instructions)
        for name in ("queries", "depth", "max_doc_chars", "max_doc_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BadOption(f"--{name.replace('_', '-')} must be at least 1, not {value}")


@dataclass(frozen=True)
class Suite:
    """What to run: every task with every profile and every reranker.

    Tasks and profiles stand as (name, options). `out` is the folder of runs; `cache` that of the
    replies, None for no cache. `variants`: the circumstances in which each is run.
    """

    tasks: Sequence[tuple[str, TaskOptions]]
    profiles: Sequence[tuple[str, PoolOptions]]
    rerankers: Sequence[Choice]
    out: Path
    cache: Path | None = None
    scope: Scope = Scope()
    variants: Sequence[Variant] = (Variant(),)


@dataclass(frozen=True)
class Prepared:
    """A task with one of its pools, which holds only the queries that are run."""

    task: Task
    pool: Pool
    task_options: TaskOptions
    pool_options: PoolOptions


def build_pools(suite: Suite) -> list[Prepared]:
    """Load every task and build every pool, in the order they are named."""
    for profile, _ in suite.profiles:
        check_profile(profile)
    keep = suite.scope.keep_going
    asked = [(name, replace(options, keep_going=keep)) for name, options in suite.tasks]
    found = [(ref, options) for name, options in asked for ref in find_tasks(name, options)]
    loaded = ((without_own_documents(ref.load()), options) for ref, options in found)
    prepared = [part for task, options in loaded for part in _prepare(task, options, suite)]
    release_encoder()  # a reranker's model will want the memory
    return prepared


def _prepare(task: Task, options: TaskOptions, suite: Suite) -> Iterator[Prepared]:
    chosen = chosen_queries(list(task.queries), suite.scope)
    if not chosen:
        raise BadData(f"task {task.name} has no query with a positive, so nothing to rerank")
    for profile, pool_options in suite.profiles:
        pool_options = replace(pool_options, keep_going=suite.scope.keep_going)
        pool = build_pool(task, profile, pool_options)
        rows = tuple(row for row in pool.rows if row.query_id in chosen)
        yield Prepared(task, replace(pool, rows=rows), options, pool_options)


def chosen_queries(query_ids: Sequence[str], scope: Scope) -> frozenset[str]:
    """The queries a scope runs: nested in N, and equal for every profile and reranker."""

    def draw(query_id: str) -> bytes:
        return hashlib.sha256(f"{scope.seed}\0{query_id}".encode()).digest()

    return frozenset(sorted(query_ids, key=draw)[: scope.queries])
