"""From run folders to everything that a report shows."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BadData
from ..reranking import FIRST_STAGE
from ..runs import Variant, find_all_runs, read_run
from .claims import load_claims, match
from .columns import RUNS, VALUES
from .facts import Facts, PerQuery, per_query
from .gains import pool_side, query_values
from .inference import infer
from .measures import MACRO, MEASURES, MICRO
from .prices import priced
from .queries import query_rows
from .results import Evaluation, Results, columns_of, computed, frame_of, pool_columns, results_of
from .sensitivity import latency_row, order_row
from .strata import strata

if TYPE_CHECKING:
    import pandas as pd

    from .gains import PoolSide
    from .prices import Price
    from .queries import QueryRow
    from .results import Record
    from .sensitivity import LatencyRow, OrderRow
    from .strata import StratumRow

    Key = tuple[str, str, str]

MOST_QUERIES = 5_000
"""Per-query rows that a report holds; beyond them only those of the runs asked for in detail."""


def evaluate(
    roots: Sequence[Path],
    *,
    detail: Sequence[Path] = (),
    prices: Mapping[str, Price] | None = None,
) -> Evaluation:
    """Evaluate all runs in and below `roots`, with the queries of the runs in `detail` in any case.

    Recall is given once per task, profile and judgements, of the run with the most queries. Raises
    BadData where there is no run, and, naming the folder, for a run that cannot be read, holds no
    query, or occurs twice.
    """
    found = _Found(frozenset(folder.resolve() for folder in detail))
    for folder in find_all_runs(roots):
        found.add(folder)
    results, means, groups = infer(found.results(prices or {}))
    with_means = set(means.runs["task"])
    without = (group for group in groups if group.name not in with_means)
    return Evaluation(
        results=results,
        means=Results(means.runs.assign(apart=set_apart(means.runs)), means.values),
        first_stages=found.first_stages(),
        groups=tuple(group for group in groups if group.name in with_means),
        per_query={key: main.per_query for key, main in found.mains.items()},
        orders=tuple(found.orders()),
        latencies=tuple(found.latencies()),
        strata=tuple(row for _, own in found.queries.values() for row in own),
        queries=tuple(row for own, _ in found.queries.values() for row in own),
        left_out=(*found.left_out(), *(words for group in without for words in group.reasons)),
        claims=match(results, load_claims()),
    )


def set_apart(runs: pd.DataFrame) -> pd.Series:
    """Return which runs do not rest on the queries, pool and judgements of the others.

    The others are those of a task and profile that share all three and hold the most results, which
    are queries times runs; among several such those with the most queries, and then those by the
    usual judgements.
    """
    sizes = runs.groupby(["task", "profile", "ground"])["queries"].transform("sum")
    standing = runs.assign(size=sizes, usual=runs["judgements"] == "")
    order = ["size", "queries", "usual"]
    best = standing.sort_values(order, ascending=False, kind="stable")
    first = best.groupby(["task", "profile"])["ground"].transform("first")
    return runs["ground"] != first.reindex(runs.index)


@dataclass(frozen=True)
class _Evaluated:
    """What is kept of one run; `settings` is a hash of all that its variants have in common."""

    folder: Path
    key: Key
    variant: Variant
    settings: str
    run: Record
    values: list[Record]
    per_query: PerQuery

    def is_same_run(self, other: _Evaluated) -> bool:
        """Return whether two runs differ in nothing but their variant, and no query failed.

        A failed query counts as 0: what it moves is neither noise nor an effect of the order.
        """
        one, two = self.per_query, other.per_query
        whole = not one.failed and not two.failed
        return whole and (self.settings, one.query_ids) == (other.settings, two.query_ids)


def evaluated(folder: Path, facts: Facts) -> _Evaluated:
    """Compute all columns of a run."""
    settings = facts.settings
    common = {name: value for name, value in settings.items() if name != "variant"}
    run = computed(columns_of(RUNS), facts)
    values = [computed(columns_of(VALUES), facts, measure) for measure in MEASURES]
    return _Evaluated(
        folder=folder,
        key=(run["task"], run["profile"], run["reranker"]),
        variant=Variant.of(settings),
        settings=sha256(json.dumps(common, sort_keys=True).encode()).hexdigest(),
        run=run,
        values=values,
        per_query=per_query(facts, MEASURES),
    )


def _first_stage_records(facts: Facts) -> list[Record]:
    """Return the values of a first stage alone: one record a measure."""
    pool = computed(pool_columns(RUNS), facts)
    values = pool_columns(VALUES)
    return [pool | computed(values, facts, name) for name in (*MEASURES, MICRO, MACRO)]


def _repeated(others: Sequence[Record], own: Record) -> Record:
    """Return the natural means of a run and its repeats for one measure, and their spread."""
    repeated = [record["natural"] for record in (own, *others)]
    return {"repeated": repeated, "noise": max(repeated) - min(repeated)} if others else {}


@dataclass
class _Found:
    """What has been read so far."""

    detail: frozenset[Path]
    mains: dict[Key, _Evaluated] = field(default_factory=dict)
    queries: dict[Key, tuple[list[QueryRow], list[StratumRow]]] = field(default_factory=dict)
    _variants: dict[Key, list[_Evaluated]] = field(default_factory=lambda: defaultdict(list))
    _pools: dict[Key, list[Record]] = field(default_factory=dict)
    _folders: dict[object, Path] = field(default_factory=dict)
    _many: bool = False
    _side: PoolSide | None = None

    def add(self, folder: Path) -> None:
        """Read and evaluate one run."""
        run = read_run(folder)
        if not run.results:
            raise BadData(f"the run {folder} holds no query; remove that folder and run it again")
        # The runs of one pool lie side by side, so the last one's is mostly this one's.
        self._side = pool_side(run, self._side)
        facts = Facts(run, query_values(run, self._side))
        own = evaluated(folder, facts)
        first = self._folders.setdefault((*own.key, own.variant.suffix), folder)
        if first != folder:
            raise BadData(f"{first} and {folder} are the same run; report one, or use --as")
        if own.variant.suffix:
            self._variants[own.key].append(own)
            return
        self.mains[own.key] = own
        self._add_queries(facts, own)
        pool = own.key[0], own.key[1], own.run["judgements"]
        known = self._pools.get(pool)
        if known is None or known[0]["queries"] < own.run["queries"]:
            self._pools[pool] = _first_stage_records(facts)

    def _add_queries(self, facts: Facts, own: _Evaluated) -> None:
        if self._many and own.folder not in self.detail:
            return
        rows = query_rows(facts.run, facts.values)
        self.queries[own.key] = rows, strata(facts.run, rows)
        if sum(len(rows) for rows, _ in self.queries.values()) > MOST_QUERIES and not self._many:
            self._many = True
            kept = {key for key, main in self.mains.items() if main.folder in self.detail}
            self.queries = {key: rows for key, rows in self.queries.items() if key in kept}

    def results(self, prices: Mapping[str, Price]) -> Results:
        """Return the frames of all runs, sorted by task, profile and reranker."""
        rows = []
        for _, main in sorted(self.mains.items()):
            others = self._same(main, lambda variant: variant.repeat > 1)
            shared = {**main.run, "repeats": 1 + len(others)}
            for number, own in enumerate(main.values):
                rows.append(shared | own | _repeated([each.values[number] for each in others], own))
        found = results_of(rows)
        runs = found.runs.assign(price=priced(found.runs, prices), apart=set_apart(found.runs))
        return Results(runs, found.values)

    def _same(self, main: _Evaluated, kind: Callable[[Variant], bool]) -> list[_Evaluated]:
        """Return the variants of one kind that are the same run but for their circumstances."""
        found = self._variants.get(main.key, ())
        return [own for own in found if kind(own.variant) and own.is_same_run(main)]

    def first_stages(self) -> pd.DataFrame:
        """Return the frame of first stages, in the order they were found."""
        records = [record for own in self._pools.values() for record in own]
        return frame_of(records, pool_columns())

    def orders(self) -> Iterator[OrderRow]:
        """Compare each run that was given other input orders with itself."""
        for _, main in sorted(self.mains.items()):
            same = self._same(main, lambda variant: variant.order != FIRST_STAGE)
            if same:
                own = [main, *same]
                values = [each.values[0]["natural"] for each in own]
                yield order_row(main.key, values, [read_run(each.folder) for each in own])

    def left_out(self) -> Iterator[str]:
        """Name the variants that do not compare with the run itself."""
        for key, variants in sorted(self._variants.items()):
            main = self.mains.get(key)
            name = " · ".join(key)
            if main is None:
                yield f"{name}: {len(variants)} variants without the run itself"
                continue
            other = [own for own in variants if not own.variant.alone]
            if number := sum(not own.is_same_run(main) for own in other):
                yield f"{name}: {number} variants with other settings, or where queries failed"

    def latencies(self) -> Iterable[LatencyRow]:
        """Sum up the runs that served one query at a time."""
        for key, variants in sorted(self._variants.items()):
            for own in variants:
                if own.variant.alone:
                    yield latency_row(key, own.run["hardware"], read_run(own.folder))
