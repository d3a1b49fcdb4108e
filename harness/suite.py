"""Tasks x profiles x rerankers -> runs: the one place that ties the parts together.

All names are resolved, all data loaded, all pools built and all engines asked what they are before
the first query is reranked, so a mistake in the last of a hundred runs is told at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .candidates import Jobs
from .driver import drive
from .engines import EngineOptions, open_engine, require_support
from .engines.cache import ReplyCache
from .errors import BadData, BadOption, EngineDied, RerankBenchError, RunConflict
from .manifest import Served, manifest, settings
from .pools import (
    Pool,
    PoolOptions,
    build_pool,
    check_profile,
    release_encoder,
    without_own_documents,
)
from .rankings import finish
from .runfiles import read_manifest
from .runs import QueryResult, Run, check_finished, run_folder, write_run
from .tasks import TaskOptions, find_tasks

if TYPE_CHECKING:
    from .registry import Choice
    from .tasks import Task
    from .types import Engine


@dataclass(frozen=True)
class Scope:
    """How much is run, and how.

    queries: the N queries with the smallest sha256 of seed and id; None for all. depth: rerank the
    first K candidates and the safeguard; the rest keeps its place behind. max_doc_chars: cut every
    document first, in characters. keep_going: a failed query ends alone, not the run.
    """

    queries: int | None = None
    seed: int = 0
    depth: int | None = None
    max_doc_chars: int | None = None
    keep_going: bool = False

    def __post_init__(self) -> None:
        for name in ("queries", "depth", "max_doc_chars"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BadOption(f"--{name.replace('_', '-')} must be at least 1, not {value}")


@dataclass(frozen=True)
class Suite:
    """What to run: every task with every profile and every reranker.

    Tasks and profiles stand as (name, options). `out` is the folder of runs; `cache` that of the
    replies, None for no cache.
    """

    tasks: Sequence[tuple[str, TaskOptions]]
    profiles: Sequence[tuple[str, PoolOptions]]
    rerankers: Sequence[Choice]
    out: Path
    cache: Path | None = None
    scope: Scope = Scope()


@dataclass(frozen=True)
class Finished:
    """A run that lies in `folder`; `skipped` if it already did."""

    folder: Path
    task: str
    profile: str
    label: str
    skipped: bool


def run_suite(
    suite: Suite,
    *,
    done: Callable[[Finished], None] = lambda run: None,
    noted: Callable[[Prepared], None] = lambda item: None,
) -> list[Path]:
    """Rerank everything `suite` names and return the run folders in order.

    `noted` is told of each pool before anything is reranked, with what was counted in it; `done` of
    each run as it is written or skipped. Raises what its parts raise; a run that raises leaves no
    folder, and the replies it got stay in the cache. An engine whose process dies takes the runs of
    that reranker alone with it: the others go on, and EngineDied is raised at the end.
    """
    _check_labels(suite)
    prepared = build_pools(suite)
    for item in prepared:
        noted(item)
    with ExitStack() as stack:
        cache = stack.enter_context(ReplyCache(suite.cache)) if suite.cache else None
        engines = {options: _open(options, suite, stack) for options in _engines(suite)}
        plans = _plan(suite, prepared, engines)
        lost: list[str] = []
        for options, engine in engines.items():
            served = _served(engine, [p for p in plans if p.choice.engine == options], suite.out)
            for choice in suite.rerankers:
                if choice.engine == options:
                    mine = [plan for plan in plans if plan.choice is choice]
                    try:
                        _run_choice(mine, served, cache, suite.scope, done)
                    except EngineDied as error:
                        lost.append(f"{choice.label}: {error}")
                    except RerankBenchError as error:
                        error.args = ("\n".join([*lost, str(error)]),)
                        raise
            engine.close()
    if lost:
        raise EngineDied("\n".join(lost))
    return [plan.folder for plan in plans]


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
    found = [(ref, options) for name, options in suite.tasks for ref in find_tasks(name, options)]
    loaded = ((without_own_documents(ref.load()), options) for ref, options in found)
    prepared = [part for task, options in loaded for part in _prepare(task, options, suite)]
    release_encoder()  # a reranker's model will want the memory
    return prepared


def _prepare(task: Task, options: TaskOptions, suite: Suite) -> Iterator[Prepared]:
    chosen = chosen_queries(list(task.queries), suite.scope)
    if not chosen:
        raise BadData(f"task {task.name} has no query with a positive, so nothing to rerank")
    for profile, pool_options in suite.profiles:
        pool = build_pool(task, profile, pool_options)
        rows = tuple(row for row in pool.rows if row.query_id in chosen)
        yield Prepared(task, replace(pool, rows=rows), options, pool_options)


def chosen_queries(query_ids: Sequence[str], scope: Scope) -> frozenset[str]:
    """The queries a scope runs: nested in N, and equal for every profile and reranker."""

    def draw(query_id: str) -> bytes:
        return hashlib.sha256(f"{scope.seed}\0{query_id}".encode()).digest()

    return frozenset(sorted(query_ids, key=draw)[: scope.queries])


def _check_labels(suite: Suite) -> None:
    labels = [choice.label for choice in suite.rerankers]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise BadOption(f"two rerankers would both be stored as {twice}; give one of them as=NAME")


def _engines(suite: Suite) -> list[EngineOptions]:
    """The distinct engines, those of model-free rerankers first: they cost nothing."""
    distinct = dict.fromkeys(choice.engine for choice in suite.rerankers)
    return sorted(distinct, key=lambda options: options.engine != "none")


def _open(options: EngineOptions, suite: Suite, stack: ExitStack) -> Engine:
    engine = open_engine(options)
    stack.callback(engine.close)
    for choice in suite.rerankers:
        if choice.engine == options and choice.asks:
            require_support(engine, choice.asks, reranker=choice.label)
    return engine


@dataclass
class _Plan:
    """A run to be made, and what has been made of it so far."""

    task: Task
    pool: Pool
    choice: Choice
    settings: Mapping[str, Any]
    folder: Path
    finished: bool
    results: dict[str, QueryResult] = field(default_factory=dict)


def _plan(
    suite: Suite, prepared: Sequence[Prepared], engines: Mapping[EngineOptions, Engine]
) -> list[_Plan]:
    """Lay out every run; a label that is taken by other settings is refused here."""
    plans: list[_Plan] = []
    taken: set[Path] = set()
    for item in prepared:
        for choice in suite.rerankers:
            engine = engines[choice.engine]
            scope = _described(suite.scope, item)
            described = settings(item.task, item.pool, choice, engine, scope=scope)
            folder = run_folder(suite.out, item.task.name, item.pool.profile, choice.label)
            finished = check_finished(folder, described)
            if folder in taken:
                raise RunConflict(f"two runs would both be stored in {folder}; {_APART}")
            taken.add(folder)
            if finished and not suite.scope.keep_going:
                _require_no_failures(folder)
            plans.append(_Plan(item.task, item.pool, choice, described, folder, finished))
    return plans


_APART = "run them into different --out folders, or give rerankers as=NAME"


def _require_no_failures(folder: Path) -> None:
    failed = read_manifest(folder).get("failed", 0)
    if failed:
        raise RunConflict(
            f"{folder} is done, but {failed} of its queries failed; "
            "move it away to run it again, or accept it with --keep-going"
        )


def _described(scope: Scope, item: Prepared) -> dict[str, Any]:
    return {
        "queries": scope.queries,
        "seed": scope.seed,
        "depth": scope.depth,
        "max_doc_chars": scope.max_doc_chars,
        "qrels": item.task_options.qrels,
        "min_grade": item.task_options.min_grade,
        "exclude_identical": item.task_options.exclude_identical,
        "query_prompt": item.pool_options.query_prompt,
        "query_prompt_name": item.pool_options.query_prompt_name,
    }


def _served(engine: Engine, plans: Sequence[_Plan], out: Path) -> Served:
    folders = (plan.folder for plan in plans if not plan.finished)
    return Served(engine, [folder.relative_to(out).as_posix() for folder in folders])


def _run_choice(
    plans: Sequence[_Plan],
    served: Served,
    cache: ReplyCache | None,
    scope: Scope,
    done: Callable[[Finished], None],
) -> None:
    """Make all runs of one reranker; the queries of its tasks and profiles go side by side.

    Rerankers do not share slices, so that each one's seconds are its own.
    """
    for plan in plans:
        if plan.finished:
            done(_finished(plan))
    waiting = [plan for plan in plans if not plan.finished]
    jobs = Jobs(served.engine, scope.depth, scope.max_doc_chars)
    outcomes = drive(
        (job for plan in waiting for job in jobs.of(plan.task, plan.pool, plan.choice, plan)),
        served.engine,
        cache=cache,
        keep_going=scope.keep_going,
        what=plans[0].choice.label,
        queries=sum(len(plan.pool.rows) for plan in waiting),
    )
    for job, outcome in outcomes:
        plan, row, counts = job.key
        plan.results[row.query_id] = finish(row, scope.depth, outcome, counts)
        if len(plan.results) == len(plan.pool.rows):
            _write(plan, served)
            done(_finished(plan))


def _finished(plan: _Plan) -> Finished:
    name, profile = plan.task.name, plan.pool.profile
    return Finished(plan.folder, name, profile, plan.choice.label, plan.finished)


def _write(plan: _Plan, served: Served) -> None:
    results = tuple(plan.results[row.query_id] for row in plan.pool.rows)
    qrels = {row.query_id: plan.task.qrels[row.query_id] for row in plan.pool.rows}
    described = manifest(plan.task, plan.pool, plan.settings, results, served)
    write_run(plan.folder, Run(described, results, qrels))
    plan.results.clear()
