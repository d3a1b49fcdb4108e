"""The command `plan`: what a suite would cost a GPU at best, before anything is run.

The rerankers' own flows are driven over the real pools by an engine that only counts: each request
is tokenised as an engine would, its cost is worked out, and its answer comes from word overlap.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from ..engines import EngineOptions, open_engine
from ..progress import bar
from ..report import Table, count
from ..reranking import Gpu, Jobs, Usage, drive, prefill_seconds, sequences_held, total
from ..suite import build_pools
from .plan_engine import CountingEngine, Reader, open_reader, steps_and_context, writing_seconds

if TYPE_CHECKING:
    from ..reranking import Choice
    from ..suite import Prepared, Suite
    from ..types import Engine


@dataclass(frozen=True)
class Estimate:
    """One reranker after one first stage; every number is a sum over its queries.

    calls, rounds, prompt_tokens, output_tokens: as a run would report them. repeated: calls that
    equal an earlier one, which the reply cache answers; the others read `read_tokens`, of which a
    prefix cache could serve `cacheable_tokens`. seconds, seconds_cached: of a GPU that has all
    queries at once, without and with that cache. flops, without it, and seconds_alone, of one query
    after another with it, are properties of the method: repeated calls count in them.
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
        """Queries per 1e15 operations (QPP of arXiv:2507.06223); None where there are none."""
        return self.queries / (self.flops / 1e15) if self.flops else None


def summed(rows: Iterable[Estimate]) -> Estimate:
    """The sum of `rows`, under the name total."""
    rows = list(rows)
    names = [f.name for f in fields(Estimate) if f.type in {"int", "float"}]
    sums = {name: sum(getattr(row, name) for row in rows) for name in names}
    return Estimate("all", "", "total", **sums)


@dataclass(frozen=True)
class Plan:
    """What a suite would cost at best on one `gpu`, with prefix blocks of `block` tokens."""

    gpu: Gpu
    block: int
    rows: tuple[Estimate, ...]
    assumptions: tuple[str, ...]


def plan_suite(suite: Suite, gpu: Gpu, *, shape: str | None = None, block: int = 16) -> Plan:
    """Count what `suite` would ask, query by query; nothing is written and no weights are loaded.

    shape: a name of `SHAPES`, whose sizes are taken instead of those of every reranker's model.
    Raises what a run would raise before its first query, RequestFailed for a request that does not
    fit the model's context, and EngineFault for a model that is not at hand.
    """
    planner = _Planner(suite, gpu, shape, block)
    asked = [(item, choice) for item in build_pools(suite) for choice in suite.rerankers]
    with bar("planning", total=sum(len(item.pool.rows) for item, _ in asked)) as advance:
        rows = tuple(planner.row(item, choice, advance) for item, choice in asked)
    return Plan(gpu, block, rows, tuple(_assumptions(gpu, block, planner.stand_ins)))


@dataclass
class _Planner:
    suite: Suite
    gpu: Gpu
    shape: str | None
    block: int
    _readers: dict[EngineOptions, Reader] = field(default_factory=dict)
    _known: dict[EngineOptions, set[int]] = field(default_factory=dict)
    _jobs: dict[EngineOptions, Jobs] = field(default_factory=dict)

    @property
    def stand_ins(self) -> list[str]:
        """Models whose tokenizers stood in for another's."""
        return [r.checkpoint.name for r in self._readers.values() if r.stand_in]

    def row(self, item: Prepared, choice: Choice, advance: Callable[[int], None]) -> Estimate:
        """Drive one reranker over one pool, query by query; `advance` is told of each."""
        engine = self._engine(choice)
        fitted = Jobs(engine, self.suite.scope)
        jobs = self._jobs.setdefault(choice.engine, fitted).of(item.task, item.pool, choice)
        usages = []
        for _, outcome in drive(jobs, engine, open_requests=1, what=choice.label):
            usages.append(outcome.usage)
            advance(1)
        row = _counted(item, choice, usages)
        if not isinstance(engine, CountingEngine):
            return row
        deepest = max((usage.rounds for usage in usages), default=0)
        return _costed(replace(row, model=engine.reader.shape.name), engine, deepest)

    def _engine(self, choice: Choice) -> Engine:
        options = choice.engine
        if options.engine == "none":
            return open_engine(options)
        if options not in self._readers:
            self._readers[options] = open_reader(options, self.shape)
        known = self._known.setdefault(options, set())
        return CountingEngine(self._readers[options], self.gpu, block=self.block, known=known)


def _counted(item: Prepared, choice: Choice, usages: Sequence[Usage]) -> Estimate:
    """What a run would report."""
    whole = total(usages)
    return Estimate(
        item.task.name,
        item.pool.profile,
        choice.label,
        queries=len(usages),
        calls=whole.calls,
        rounds=whole.rounds,
        prompt_tokens=whole.prompt_tokens,
        output_tokens=whole.output_tokens,
    )


def _costed(row: Estimate, engine: CountingEngine, deepest: int) -> Estimate:
    """What the row would cost; `deepest` rounds follow one another at least."""
    tally, shape, gpu = engine.tally, engine.reader.shape, engine.gpu
    _, context = steps_and_context(tally.writes)
    asked = row.queries * len(tally.writes) / max(tally.rounds_of_writes, 1)
    at_once = min(max(asked, 1), sequences_held(shape, gpu, context=context))
    writing = writing_seconds(tally.writes, shape, gpu, at_once=at_once)
    passes = deepest if tally.calls else 0
    return replace(
        row,
        repeated=row.calls - tally.calls,
        read_tokens=tally.read,
        cacheable_tokens=tally.cached,
        flops=tally.flops_of_all,
        seconds=prefill_seconds(tally.flops, shape, gpu, passes=passes) + writing,
        seconds_cached=prefill_seconds(tally.flops_cached, shape, gpu, passes=passes) + writing,
        seconds_alone=tally.alone,
    )


def _assumptions(gpu: Gpu, block: int, stand_ins: Sequence[str]) -> Iterator[str]:
    """What the numbers rest on, in two lines."""
    speed = "measured" if gpu.measured else "its maker's peak, not measured"
    yield (
        f"Limits, not forecasts: one {gpu.name} at {gpu.matmul / 1e12:g} TFLOP/s ({speed}) and "
        f"{gpu.bandwidth / 1e12:g} TB/s, 16-bit weights; at half of that, all seconds double."
    )
    counted = f" Tokens are those of {' and '.join(stand_ins)}." if stand_ins else ""
    yield (
        "Assumed: windows are answered by a full permutation and the end token; equal calls are "
        f"answered once; a prefix cache in blocks of {block} tokens forgets nothing.{counted}"
    )


# What is printed


def as_table(plan: Plan) -> Table:
    """The plan as cells; milliseconds are per query, and a sum over rows has none."""
    cells = [_cells(row) for row in plan.rows]
    if len(cells) > 1:
        whole = _cells(summed(plan.rows))
        cells.append(
            tuple("–" if name in _MEANS else x for name, x in zip(_COLUMNS, whole, strict=True))
        )
    title = f"plan · one {plan.gpu.name}"
    return Table(title, _COLUMNS, tuple(cells), names=2, notes=plan.assumptions)


_MEANS = ("model", "queries", "calls", "rounds", "ms/query", "ms cached", "ms alone")
_COLUMNS = (
    "task · profile", "reranker", "model", "queries", "calls", "rounds", "repeated", "tokens",
    "cacheable", "ms/query", "ms cached", "ms alone", "seconds", "GPU-hours", "queries/PFLOP",
)  # fmt: skip


def _cells(row: Estimate) -> tuple[str, ...]:
    per = max(row.queries, 1)
    share = "–" if row.cacheable is None else f"{row.cacheable:.1%}"
    seconds = (row.seconds, row.seconds_cached, row.seconds_alone)
    return (
        " · ".join(filter(None, (row.task, row.profile))),
        row.reranker,
        row.model or "–",
        str(row.queries),
        count(row.calls / per),
        count(row.rounds / per),
        count(row.repeated),
        f"{count(row.prompt_tokens)} / {count(row.output_tokens)}",
        share,
        *(_number(1000 * each / per) for each in seconds),
        _number(row.seconds_cached),
        _number(row.gpu_hours),
        "–" if row.queries_per_pflop is None else _number(row.queries_per_pflop),
    )


def _number(value: float) -> str:
    """Three digits: 0.00123, 1.23, 123, 12.3k."""
    return count(value) if value >= 1000 or not value else f"{value:.3g}"


def as_json(plan: Plan) -> str:
    """The plan as one JSON object with `gpu`, `block`, `rows`, `total` and `assumptions`."""
    whole = {
        "gpu": asdict(plan.gpu),
        "block": plan.block,
        "rows": [_record(row) for row in plan.rows],
        "total": _record(summed(plan.rows)),
        "assumptions": plan.assumptions,
    }
    return json.dumps(whole, indent=2, ensure_ascii=False)


def _record(row: Estimate) -> dict[str, Any]:
    derived = ("cacheable", "gpu_hours", "queries_per_pflop")
    return {**asdict(row), **{name: getattr(row, name) for name in derived}}


def show(plan: Plan) -> None:
    """Print the table on a terminal or into a pipe, with what it rests on under it."""
    from rich.console import Console

    from ..report import print_table

    print_table(as_table(plan), Console())
