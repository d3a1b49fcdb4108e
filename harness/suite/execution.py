"""Run tasks x profiles x rerankers, and write a run folder for each.

All names are resolved, all data loaded, all pools built and all engines identified before the first
query is reranked, so a mistake in the last of a hundred runs is reported before the first starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engines import NO_ENGINE, EngineChoice, ReplyCache, require_support
from ..errors import BadOption, EngineDied, RerankBenchError, RunConflict
from ..pools import Pool
from ..reranking import Job, Jobs, Outcome, Scope, chosen_queries, drive, in_effect
from ..runs import (
    QueryResult,
    Run,
    Served,
    Variant,
    check_finished,
    finish,
    manifest,
    read_manifest,
    run_folder,
    settings,
    write_run,
)
from .prepared import Prepared, Suite, build_pools

if TYPE_CHECKING:
    from ..reranking import Choice
    from ..tasks import Task
    from ..types import Engine


ALONE = 20
"""Queries that are served one at a time, where that is asked for."""


@dataclass(frozen=True)
class Finished:
    """A run that is stored in `folder`; `skipped` if it already was."""

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

    noted: called with each pool before anything is reranked.
    done: called with each run when it is written or skipped.

    A run that raises leaves no folder; the replies it got stay in the cache. Where the process of
    an engine dies, the runs of other rerankers go on, and EngineDied is raised at the end.
    """
    _check_labels(suite)
    prepared = build_pools(suite)
    for item in prepared:
        noted(item)
    with ExitStack() as stack:
        cache = stack.enter_context(ReplyCache(suite.cache)) if suite.cache else None
        engines = {chosen: _open(chosen, suite, stack) for chosen in _engines(suite)}
        plans = _plan(suite, prepared, engines)
        lost: list[str] = []
        for chosen, engine in engines.items():
            new = (p.folder for p in plans if p.choice.engine == chosen and not p.finished)
            served = Served(engine, [folder.relative_to(suite.out).as_posix() for folder in new])
            for choice in suite.rerankers:
                if choice.engine == chosen:
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


def _check_labels(suite: Suite) -> None:
    labels = [choice.label for choice in suite.rerankers]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise BadOption(f"two rerankers would both be stored as {twice}; give one of them as=NAME")


def _engines(suite: Suite) -> list[EngineChoice]:
    """Return the distinct engines, those of model-free rerankers first."""
    distinct = dict.fromkeys(choice.engine for choice in suite.rerankers)
    return sorted(distinct, key=lambda chosen: chosen != NO_ENGINE)


def _open(chosen: EngineChoice, suite: Suite, stack: ExitStack) -> Engine:
    engine = chosen.open()
    stack.callback(engine.close)
    for choice in suite.rerankers:
        if choice.engine == chosen and choice.declared.asks:
            require_support(engine, choice.declared.asks, reranker=choice.label)
    return engine


@dataclass
class _Plan:
    """A run to be made, with the results so far; `label` is that of the reranker and variant."""

    task: Task
    pool: Pool
    choice: Choice
    variant: Variant
    label: str
    settings: Mapping[str, Any]
    folder: Path
    finished: bool
    results: dict[str, QueryResult] = field(default_factory=dict)


def _plan(
    suite: Suite, prepared: Sequence[Prepared], engines: Mapping[EngineChoice, Engine]
) -> list[_Plan]:
    """Return every run; raise RunConflict for a folder of a run with other settings."""
    plans: list[_Plan] = []
    taken: set[Path] = set()
    for item, choice, variant in product(prepared, suite.rerankers, suite.variants):
        pool = _first_queries(item.pool, suite.scope) if variant.alone else item.pool
        scope = _described(suite.scope, item) | variant.settings
        instruction = in_effect(item.task, choice, suite.scope.instructions)
        engine = engines[choice.engine]
        described = settings(item.task, pool, choice, engine, scope=scope, instruction=instruction)
        label = f"{choice.label}{variant.suffix}"
        folder = run_folder(suite.out, item.task.name, pool.profile, label)
        finished = check_finished(folder, described)
        if folder in taken:
            raise RunConflict(
                f"two runs would both be stored in {folder}; "
                "run them into different --out folders, or give rerankers as=NAME"
            )
        taken.add(folder)
        if finished and not suite.scope.keep_going:
            _require_no_failures(folder)
        plan = _Plan(item.task, pool, choice, variant, label, described, folder, finished)
        plans.append(plan)
    return plans


def _first_queries(pool: Pool, scope: Scope) -> Pool:
    """Return the pool of the queries that are served one at a time."""
    few = chosen_queries([row.query_id for row in pool.rows], replace(scope, queries=ALONE))
    return replace(pool, rows=tuple(row for row in pool.rows if row.query_id in few))


def _require_no_failures(folder: Path) -> None:
    if failed := read_manifest(folder).get("failed", 0):
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
        "max_doc_tokens": scope.max_doc_tokens,
        "qrels": item.task_options.qrels,
        "min_grade": item.task_options.min_grade,
        "exclude_identical": item.task_options.exclude_identical,
        "ignore_column": list(item.task_options.ignore_column),
        "query_prompt": item.pool_options.query_prompt,
        "query_prompt_name": item.pool_options.query_prompt_name,
        "doc_prompt": item.pool_options.doc_prompt,
    }


def _run_choice(
    plans: Sequence[_Plan],
    served: Served,
    cache: ReplyCache | None,
    scope: Scope,
    done: Callable[[Finished], None],
) -> None:
    """Make all runs of one reranker, variant by variant.

    Neither rerankers nor variants share slices, so that each one's seconds are its own.
    """
    for plan in plans:
        if plan.finished:
            done(_finished(plan))
    waiting = [plan for plan in plans if not plan.finished]
    for variant in dict.fromkeys(plan.variant for plan in waiting):
        mine = [plan for plan in waiting if plan.variant == variant]
        _run_together(mine, served, cache if variant.is_main else None, scope, done)


def _run_together(
    plans: Sequence[_Plan],
    served: Served,
    cache: ReplyCache | None,
    scope: Scope,
    done: Callable[[Finished], None],
) -> None:
    """Make the runs of one reranker in one variant: all tasks and profiles share the engine.

    One query at a time finds nothing in memory that another one left there, and the first one an
    engine that has already served it once, uncounted.
    """
    variant, choice = plans[0].variant, plans[0].choice
    jobs = Jobs(served.engine, scope, variant.order)
    asked = (job for plan in plans for job in jobs.of(plan.task, plan.pool, choice, plan))
    for part in _singly(asked, served.engine) if variant.alone else [asked]:
        if not variant.is_main:
            served.engine.forget()
        outcomes = drive(
            part,
            served.engine,
            cache=cache,
            keep_going=scope.keep_going,
            shuffle=variant.repeat if variant.shuffled else None,
            what=plans[0].label,
            queries=1 if variant.alone else sum(len(plan.pool.rows) for plan in plans),
        )
        for job, outcome in outcomes:
            _take(job, outcome, served, done)


def _singly(jobs: Iterable[Job], engine: Engine) -> Iterator[list[Job]]:
    """Yield one job at a time, after the engine has served the first one once, uncounted."""
    for number, job in enumerate(jobs):
        if number == 0:
            list(drive([job], engine, keep_going=True, what="warming up"))
        yield [job]


def _take(job: Job, outcome: Outcome, served: Served, done: Callable[[Finished], None]) -> None:
    """Store the result of one query, and write its run if it was the last one."""
    plan, row, counts = job.key
    given = [document.doc_id for document in job.candidates.documents]
    plan.results[row.query_id] = finish(row, given, outcome, counts, task=plan.task)
    if len(plan.results) == len(plan.pool.rows):
        _write(plan, served)
        done(_finished(plan))


def _finished(plan: _Plan) -> Finished:
    name, profile = plan.task.name, plan.pool.profile
    return Finished(plan.folder, name, profile, plan.label, plan.finished)


def _write(plan: _Plan, served: Served) -> None:
    results = tuple(plan.results[row.query_id] for row in plan.pool.rows)
    qrels = {row.query_id: plan.task.qrels[row.query_id] for row in plan.pool.rows}
    described = manifest(plan.task, plan.pool, plan.settings, results, served)
    write_run(plan.folder, Run(described, results, qrels))
    plan.results.clear()
