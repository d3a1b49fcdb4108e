"""The specification of a suite, and its pools: every task with every profile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BadData, BadOption
from ..pools import (
    NO_ORDER,
    Pool,
    PoolOptions,
    build_pool,
    check_profile,
    release_encoder,
    without_own_documents,
)
from ..reranking import Scope, chosen_queries
from ..runs import Variant
from ..tasks import TaskOptions, find_tasks

if TYPE_CHECKING:
    from ..reranking import Choice
    from ..tasks import Task


@dataclass(frozen=True)
class Suite:
    """What to run: every task with every profile and every reranker.

    Tasks and profiles are (name, options). `out` is the folder of runs; `cache` that of the
    replies, None for no cache. `variants`: the circumstances in which each is run.
    """

    tasks: Sequence[tuple[str, TaskOptions]]
    profiles: Sequence[tuple[str, PoolOptions]]
    rerankers: Sequence[Choice]
    out: Path
    cache: Path | None = None
    scope: Scope = field(default_factory=Scope)
    variants: Sequence[Variant] = (Variant(),)


@dataclass(frozen=True)
class TaskPool:
    """A task with one of its pools, which holds only the queries that are run."""

    task: Task
    pool: Pool
    task_options: TaskOptions
    pool_options: PoolOptions


def build_pools(suite: Suite) -> list[TaskPool]:
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


def _prepare(task: Task, options: TaskOptions, suite: Suite) -> Iterator[TaskPool]:
    chosen = chosen_queries(list(task.queries), suite.scope)
    if not chosen:
        raise BadData(f"task {task.name} has no query with a positive, so nothing to rerank")
    for profile, pool_options in suite.profiles:
        pool_options = replace(pool_options, keep_going=suite.scope.keep_going)
        pool = build_pool(task, profile, pool_options)
        if pool.origin == NO_ORDER and suite.scope.depth is not None:
            what = f"--depth {suite.scope.depth}: the candidates of {task.name} are in no order"
            raise BadOption(f"{what}, so its first ones are arbitrary; leave --depth out")
        rows = tuple(row for row in pool.rows if row.query_id in chosen)
        yield TaskPool(task, replace(pool, rows=rows), options, pool_options)
