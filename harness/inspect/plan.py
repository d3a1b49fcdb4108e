"""Estimate what a suite would cost a GPU at best, before anything is run.

The rerankers' flows run over the real pools. A counting engine tokenises each request as a real one
would, adds up its cost, and answers from word overlap.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import click

from ..engines import NO_ENGINE, EngineChoice
from ..progress import bar
from ..report import NOTHING, ReportTable, count, print_table
from ..reranking import (
    Gpu,
    Job,
    Jobs,
    Part,
    drive,
    prefill_seconds,
    sequences_held,
    total,
    with_stages,
)
from ..suite import build_pools
from .plan_engine import CountingEngine
from .plan_reader import open_reader

if TYPE_CHECKING:
    from ..reranking import Choice
    from ..suite import Suite, TaskPool
    from ..types import Engine


@dataclass(frozen=True)
class CostEstimate:
    """The cost of one reranker after one first stage; every number is a sum over its queries.

    calls, rounds, prompt_tokens, output_tokens: as a run would report them.
    repeated: calls equal to an earlier one, which the reply cache answers.
    read_tokens: tokens of the other calls; a prefix cache could serve `cacheable_tokens` of them.
    seconds, seconds_cached: of a GPU that has all queries at once, without and with that cache.
    seconds_alone: of one query after another, with that cache, repeated calls included.
    flops: operations without that cache, repeated calls included.
    """

    task: str
    profile: str
    reranker: str
    model: str = ""
    queries: int = 0
    calls: int = 0
    rounds: int = 0
    repeated: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    read_tokens: int = 0
    cacheable_tokens: int = 0
    flops: float = 0.0
    seconds: float = 0.0
    seconds_cached: float = 0.0
    seconds_alone: float = 0.0

    @property
    def cacheable(self) -> float | None:
        """Share of the tokens read that a prefix cache could serve, from 0 to 1."""
        return self.cacheable_tokens / self.read_tokens if self.read_tokens else None

    @property
    def gpu_hours(self) -> float:
        """Hours of one GPU for all queries, with the prefix cache."""
        return self.seconds_cached / 3600

    @property
    def queries_per_pflop(self) -> float | None:
        """Queries per 1e15 operations (QPP of arXiv:2507.06223); None if there are none."""
        return self.queries / (self.flops / 1e15) if self.flops else None


def total_row(rows: Iterable[CostEstimate]) -> CostEstimate:
    """Return the sum of `rows`, named total."""
    rows = list(rows)
    names = [f.name for f in fields(CostEstimate) if f.type in {"int", "float"}]
    sums = {name: sum(getattr(row, name) for row in rows) for name in names}
    return CostEstimate("all", "", "total", **sums)


@dataclass(frozen=True)
class Plan:
    """The cost of a suite at best on one `gpu`, with a prefix cache in blocks of `block` tokens."""

    gpu: Gpu
    block: int
    rows: tuple[CostEstimate, ...]
    assumptions: tuple[str, ...]


def plan_suite(suite: Suite, gpu: Gpu, *, shape: str | None = None, block: int = 16) -> Plan:
    """Count the requests of `suite`, query by query; loads no weights and writes nothing.

    shape: a name of `SHAPES`, whose sizes replace those of every reranker's model. Raises what a
    run would raise before its first query, RequestFailed for a request that does not fit the
    model's context, and EngineFault for a model that is not on this machine.
    """
    jobs: dict[EngineChoice, Jobs] = {}
    choices = with_stages(suite.rerankers)
    pools = build_pools(replace(suite, rerankers=choices))
    pairs = [(item, choice) for item in pools for choice in item.rerankers]
    rows = []
    with bar("planning", total=sum(len(item.pool.rows) for item, _ in pairs)) as advance:
        for item, choice in pairs:
            chosen = choice.engine
            if chosen not in jobs:
                jobs[chosen] = Jobs(_open(chosen, gpu, shape, block), suite.scope)
            rows.append(estimate(item, choice, jobs[chosen], advance))
    engines = [each.engine for each in jobs.values()]
    readers = [engine.reader for engine in engines if isinstance(engine, CountingEngine)]
    others = list(dict.fromkeys(r.checkpoint.name for r in readers if r.stand_in))
    assumed = [*_assumptions(gpu, block, others), *_of_cascades(choices)]
    return Plan(gpu, block, tuple(rows), tuple(assumed))


def _open(chosen: EngineChoice, gpu: Gpu, shape: str | None, block: int) -> Engine:
    if chosen == NO_ENGINE:
        return chosen.open()
    return CountingEngine(open_reader(chosen, shape), gpu, block)


def estimate(
    item: TaskPool, choice: Choice, jobs: Jobs, advance: Callable[[int], None]
) -> CostEstimate:
    """Run one reranker over one pool, query by query; `advance` is called after each."""
    engine = jobs.engine
    engine.forget()
    usages = []
    for _, outcome in drive(_jobs(item, choice, jobs), engine, open_requests=1, what=choice.label):
        usages.append(outcome.usage)
        advance(1)
    whole = total(usages)
    row = CostEstimate(
        item.task.name,
        item.pool.profile,
        choice.label,
        queries=len(usages),
        calls=whole.calls,
        rounds=whole.rounds,
        prompt_tokens=whole.prompt_tokens,
        output_tokens=whole.output_tokens,
    )
    deepest = max((usage.rounds for usage in usages), default=0)
    return _with_cost(row, engine, deepest) if isinstance(engine, CountingEngine) else row


def _jobs(item: TaskPool, choice: Choice, jobs: Jobs) -> Iterator[Job]:
    """Yield the jobs of one reranker; those of a cascade's last stage in first-stage order."""
    if choice.after is None:
        yield from jobs.of(item.task, item.pool, choice)
        return
    unknown: list[None] = [None] * choice.after.depth
    parts = [Part.of(row, row.doc_ids, unknown, choice.after.depth) for row in item.pool.rows]
    yield from jobs.after(item.task, parts, choice)


def _with_cost(row: CostEstimate, engine: CountingEngine, deepest: int) -> CostEstimate:
    """Return `row` with its cost; `deepest` is the largest number of rounds of a query."""
    counted, shape, gpu = engine.counted, engine.reader.shape, engine.gpu
    concurrent = row.queries * counted.writers / max(engine.writing_rounds, 1)
    batch = min(max(concurrent, 1), sequences_held(shape, gpu, context=counted.context))
    writing = counted.writing_seconds(shape, gpu, batch=batch)
    passes = deepest if counted.calls else 0
    return replace(
        row,
        model=shape.name,
        repeated=row.calls - counted.calls,
        read_tokens=counted.read,
        cacheable_tokens=counted.cached,
        flops=engine.flops,
        seconds=prefill_seconds(counted.flops, shape, gpu, passes=passes) + writing,
        seconds_cached=prefill_seconds(counted.flops_cached, shape, gpu, passes=passes) + writing,
        seconds_alone=engine.seconds_alone,
    )


def _assumptions(gpu: Gpu, block: int, tokenizers: Sequence[str]) -> Iterator[str]:
    speed = "measured" if gpu.measured else "its maker's peak, not measured"
    yield (
        f"Limits, not forecasts: one {gpu.name} at {gpu.matmul / 1e12:g} TFLOP/s ({speed}) and "
        f"{gpu.bandwidth / 1e12:g} TB/s, 16-bit weights; at half of that, all seconds double."
    )
    counted = f" Tokens are those of {' and '.join(tokenizers)}." if tokenizers else ""
    yield (
        "Assumed: windows are answered by a full permutation and the end token; ratings, scores, "
        "and all behind thoughts or in tags, by max_tokens, the most that a run can write; equal "
        f"calls are answered once; a prefix cache in blocks of {block} tokens forgets nothing."
        f"{counted}"
    )


def _of_cascades(choices: Sequence[Choice]) -> Iterator[str]:
    if any(choice.after for choice in choices):
        yield (
            "The row of a cascade is what its last stage adds; the stages before it have rows of "
            "their own. The last stage is given the head of the pool, whose order is the first "
            "stage's."
        )


# Printing


def _number(value: float | None) -> str:
    """Return three digits: 0.00123, 1.23, 123, 12.3k."""
    if value is None:
        return NOTHING
    return count(value) if value >= 1000 or not value else f"{value:.3g}"


def _per_query(value: float, row: CostEstimate) -> float:
    return value / max(row.queries, 1)


_COLUMNS: tuple[tuple[str, Callable[[CostEstimate], str], bool], ...] = (
    ("task · profile", lambda r: " · ".join(filter(None, (r.task, r.profile))), True),
    ("reranker", lambda r: r.reranker, True),
    ("model", lambda r: r.model or NOTHING, False),
    ("queries", lambda r: str(r.queries), False),
    ("calls", lambda r: count(_per_query(r.calls, r)), False),
    ("rounds", lambda r: count(_per_query(r.rounds, r)), False),
    ("repeated", lambda r: count(r.repeated), True),
    ("tokens", lambda r: f"{count(r.prompt_tokens)} / {count(r.output_tokens)}", True),
    ("cacheable", lambda r: NOTHING if r.cacheable is None else f"{r.cacheable:.1%}", True),
    ("ms/query", lambda r: _number(1000 * _per_query(r.seconds, r)), False),
    ("ms cached", lambda r: _number(1000 * _per_query(r.seconds_cached, r)), False),
    ("ms alone", lambda r: _number(1000 * _per_query(r.seconds_alone, r)), False),
    ("seconds", lambda r: _number(r.seconds_cached), True),
    ("GPU-hours", lambda r: _number(r.gpu_hours), True),
    ("queries/PFLOP", lambda r: _number(r.queries_per_pflop), True),
)
"""Head and cell of each column, and whether the total has a value in it."""


def _table(plan: Plan) -> ReportTable:
    """Return the plan as a table, with a total under two or more rows."""
    cells = [tuple(cell(row) for _, cell, _ in _COLUMNS) for row in plan.rows]
    if len(cells) > 1:
        whole = total_row(plan.rows)
        cells.append(tuple(cell(whole) if total_ else NOTHING for _, cell, total_ in _COLUMNS))
    heads = tuple(head for head, _, _ in _COLUMNS)
    title = f"plan · one {plan.gpu.name}"
    return ReportTable(title, heads, tuple(cells), names=2, notes=plan.assumptions)


def to_json(plan: Plan) -> str:
    """Return the plan as one JSON object with `gpu`, `block`, `rows`, `total`, `assumptions`."""
    whole = {
        "gpu": asdict(plan.gpu),
        "block": plan.block,
        "rows": [_record(row) for row in plan.rows],
        "total": _record(total_row(plan.rows)),
        "assumptions": plan.assumptions,
    }
    return json.dumps(whole, indent=2, ensure_ascii=False)


def _record(row: CostEstimate) -> dict[str, Any]:
    derived = ("cacheable", "gpu_hours", "queries_per_pflop")
    return {**asdict(row), **{name: getattr(row, name) for name in derived}}


def show(plan: Plan, *, as_json: bool = False) -> None:
    """Print the table with its assumptions, or the JSON object."""
    from rich.console import Console

    if as_json:
        click.echo(to_json(plan))
    else:
        print_table(_table(plan), Console())
