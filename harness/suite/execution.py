"""Run tasks x profiles x rerankers, and write a run folder for each.

All names are resolved, all data loaded, all pools built and all engines identified before the first
query is reranked, so a mistake in the last of a hundred runs is reported before the first starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..engines import EngineChoice, ReplyCache, require_support
from ..errors import EngineDied, RerankBenchError
from ..reranking import Job, Jobs, Outcome, Part, Scope, Usage, drive, with_stages
from ..runs import OpenedEngine, Run, build_result, manifest, read_run, run_after, write_run
from .engine_order import by_engine, engines_of
from .planned import PlannedRun, check_labels, plan_runs
from .prepared import Suite, TaskPool, build_pools

if TYPE_CHECKING:
    from ..types import Engine


@dataclass(frozen=True)
class FinishedRun:
    """A run that is stored in `folder`; `skipped` if it already was."""

    folder: Path
    task: str
    profile: str
    label: str
    skipped: bool


def run_suite(
    suite: Suite,
    *,
    on_run: Callable[[FinishedRun], None] = lambda run: None,
    on_pool: Callable[[TaskPool], None] = lambda item: None,
) -> list[Path]:
    """Rerank everything `suite` names and return the run folders in order.

    on_pool: called with each pool before anything is reranked.
    on_run: called with each run when it is written or skipped.

    A run that raises leaves no folder; the replies it got stay in the cache. Where the process of
    an engine dies, the runs of other rerankers go on, and EngineDied is raised at the end.
    """
    suite = replace(suite, rerankers=with_stages(suite.rerankers))
    check_labels(suite)
    prepared = build_pools(suite)
    for item in prepared:
        on_pool(item)
    here = {choice.label for item in prepared for choice in item.rerankers}
    suite = replace(suite, rerankers=[c for c in suite.rerankers if c.label in here])
    with ExitStack() as stack:
        cache = stack.enter_context(ReplyCache(suite.cache)) if suite.cache else None
        engines = {chosen: _open(chosen, suite, stack) for chosen in engines_of(suite.rerankers)}
        plans = plan_runs(suite, prepared, engines)
        lost: dict[str, str] = {}
        for chosen, choices in by_engine(suite.rerankers):
            # An engine that is needed again is opened again, so that one model is loaded at a time.
            engine = engines.pop(chosen, None) or _open(chosen, suite, stack)
            own = {c.label: [p for p in plans if p.choice is c] for c in choices}
            _run_turn(engine, own, suite, cache, lost, on_run)
            engine.close()
    if lost:
        raise EngineDied("\n".join(_reasons(lost)))
    return [plan.folder for plan in plans]


def _run_turn(
    engine: Engine,
    plans: Mapping[str, Sequence[PlannedRun]],
    suite: Suite,
    cache: ReplyCache | None,
    lost: dict[str, str],
    on_run: Callable[[FinishedRun], None],
) -> None:
    """Make the runs of all rerankers, by label, that one engine answers in turn.

    lost: why rerankers were not finished; those that lose the engine now are added.
    """
    new = [plan.folder for own in plans.values() for plan in own if not plan.finished]
    served = OpenedEngine(engine, [folder.relative_to(suite.out).as_posix() for folder in new])
    for label, own in plans.items():
        try:
            after = own[0].choice.after
            if after is not None and after.earlier.label in lost:
                raise EngineDied(f"its stage {after.earlier.label} was not finished")
            _run_choice(own, served, cache, suite.scope, on_run)
        except EngineDied as error:
            lost[label] = str(error)
        except RerankBenchError as error:
            error.args = ("\n".join([*_reasons(lost), str(error)]),)
            raise


def _reasons(lost: Mapping[str, str]) -> list[str]:
    return [f"{label}: {why}" for label, why in lost.items()]


def _open(chosen: EngineChoice, suite: Suite, stack: ExitStack) -> Engine:
    engine = chosen.open()
    stack.callback(engine.close)
    for choice in suite.rerankers:
        if choice.engine == chosen and choice.declared.asks:
            require_support(engine, choice.declared.asks, reranker=choice.label)
    return engine


def _run_choice(
    plans: Sequence[PlannedRun],
    served: OpenedEngine,
    cache: ReplyCache | None,
    scope: Scope,
    on_run: Callable[[FinishedRun], None],
) -> None:
    """Make all runs of one reranker, variant by variant.

    Neither rerankers nor variants share slices, so that each one's seconds are its own.
    """
    for plan in plans:
        if plan.finished:
            on_run(_finished(plan))
    waiting = [plan for plan in plans if not plan.finished]
    for variant in dict.fromkeys(plan.variant for plan in waiting):
        mine = [plan for plan in waiting if plan.variant == variant]
        _run_variant(mine, served, cache if variant.is_main else None, scope, on_run)


def _run_variant(
    plans: Sequence[PlannedRun],
    served: OpenedEngine,
    cache: ReplyCache | None,
    scope: Scope,
    on_run: Callable[[FinishedRun], None],
) -> None:
    """Make the runs of one reranker in one variant: all tasks and profiles share the engine.

    One query at a time finds nothing in memory that another one left there, and the first one an
    engine that has already served it once, uncounted.
    """
    variant = plans[0].variant
    jobs = Jobs(served.engine, scope, variant.order)
    asked = (job for plan in plans for job in _jobs(plan, jobs))
    for part in _one_by_one(asked, served.engine) if variant.alone else [asked]:
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
            _store(job, outcome, served, on_run)
    for plan in plans:
        if plan.results:  # all its queries had failed before
            _write(plan, served)
            on_run(_finished(plan))


def _jobs(plan: PlannedRun, jobs: Jobs) -> Iterator[Job]:
    """Yield the jobs of a run; a cascade has none for a query that an earlier stage failed."""
    after = plan.choice.after
    if after is None or plan.earlier is None:
        yield from jobs.of(plan.task, plan.pool, plan.choice, plan)
        return
    earlier = {result.query_id: result for result in read_run(plan.earlier).results}
    parts = []
    for row in plan.pool.rows:
        result = earlier[row.query_id]
        if result.failed is None:
            parts.append(Part.of(row, result.doc_ids, result.scores, after.depth))
        else:
            plan.results[row.query_id] = replace(result, usage=Usage(), counts={})
    yield from jobs.after(plan.task, parts, plan.choice, plan)


def _one_by_one(jobs: Iterable[Job], engine: Engine) -> Iterator[list[Job]]:
    """Yield one job at a time, after the engine has served the first one once, uncounted."""
    for number, job in enumerate(jobs):
        if number == 0:
            list(drive([job], engine, keep_going=True, what="warming up"))
        yield [job]


def _store(
    job: Job, outcome: Outcome, served: OpenedEngine, on_run: Callable[[FinishedRun], None]
) -> None:
    """Store the result of one query, and write its run if it was the last one."""
    plan, row, counts = job.key
    given = [document.doc_id for document in job.candidates.documents]
    plan.results[row.query_id] = build_result(row, given, outcome, counts, task=plan.task)
    if len(plan.results) == len(plan.pool.rows):
        _write(plan, served)
        on_run(_finished(plan))


def _finished(plan: PlannedRun) -> FinishedRun:
    name, profile = plan.task.name, plan.pool.profile
    return FinishedRun(plan.folder, name, profile, plan.label, plan.finished)


def _write(plan: PlannedRun, served: OpenedEngine) -> None:
    """Write a finished run; that of a cascade with what its earlier stages did."""
    results = tuple(plan.results[row.query_id] for row in plan.pool.rows)
    qrels = {row.query_id: plan.task.qrels[row.query_id] for row in plan.pool.rows}
    run = Run(manifest(plan.task, plan.pool, plan.own, results, served), results, qrels)
    if plan.earlier is not None:
        run = run_after(read_run(plan.earlier), run, plan.settings)
    write_run(plan.folder, run)
    plan.results.clear()
