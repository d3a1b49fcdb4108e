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
from .shards import Shard

if TYPE_CHECKING:
    from ..reranking import Choice
    from ..tasks import Task


@dataclass(frozen=True)
class Suite:
    """What to run: every task with every profile and every reranker.

    Tasks and profiles are (name, options). `out` is the folder of runs; `cache` that of the
    replies, None for no cache. `variants`: the circumstances in which each is run. `shard`: the
    part of the runs that is made.
    """

    tasks: Sequence[tuple[str, TaskOptions]]
    profiles: Sequence[tuple[str, PoolOptions]]
    rerankers: Sequence[Choice]
    out: Path
    cache: Path | None = None
    scope: Scope = field(default_factory=Scope)
    variants: Sequence[Variant] = (Variant(),)
    shard: Shard = field(default_factory=Shard)


@dataclass(frozen=True)
class TaskPool:
    """A task with one of its pools, which holds only the queries that `rerankers` are run over."""

    task: Task
    pool: Pool
    task_options: TaskOptions
    pool_options: PoolOptions
    rerankers: Sequence[Choice] = ()


def build_pools(suite: Suite) -> list[TaskPool]:
    """Load the tasks and build the pools of the suite's shard, in the order they are named."""
    for profile, _ in suite.profiles:
        check_profile(profile)
    keep = suite.scope.keep_going
    asked = [(name, replace(options, keep_going=keep)) for name, options in suite.tasks]
    found = [(ref, options) for name, options in asked for ref in find_tasks(name, options)]
    each = len(suite.profiles)
    dealt = suite.shard.deal(suite.rerankers, len(found) * each)
    prepared: list[TaskPool] = []
    for number, (ref, options) in enumerate(found):
        own = dealt[number * each : (number + 1) * each]
        if any(own) or not suite.rerankers:
            task = without_own_documents(ref.load())
            prepared += _prepare(task, options, suite, own)
    release_encoder()  # a reranker's model will want the memory
    return prepared


def _prepare(
    task: Task, options: TaskOptions, suite: Suite, dealt: Sequence[Sequence[Choice]]
) -> Iterator[TaskPool]:
    """Build the pools of a task; `dealt` are the rerankers of each, and none where it has none."""
    chosen = chosen_queries(list(task.queries), suite.scope)
    if not chosen:
        raise BadData(f"task {task.name} has no query with a positive, so nothing to rerank")
    for (profile, pool_options), rerankers in zip(suite.profiles, dealt, strict=True):
        if suite.rerankers and not rerankers:
            continue
        pool_options = replace(pool_options, keep_going=suite.scope.keep_going)
        pool = build_pool(task, profile, pool_options)
        if pool.origin == NO_ORDER and suite.scope.depth is not None:
            what = f"--depth {suite.scope.depth}: the candidates of {task.name} are in no order"
            raise BadOption(f"{what}, so its first ones are arbitrary; leave --depth out")
        rows = tuple(row for row in pool.rows if row.query_id in chosen)
        yield TaskPool(task, replace(pool, rows=rows), options, pool_options, rerankers)
