"""From run folders to everything that a report shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BadData
from ..reranking import FIRST_STAGE
from ..runs import read_run
from .claims import load_claims, match
from .gains import pool_side, query_values
from .ground import set_apart
from .groups import mean_rows
from .inference import infer
from .prices import priced
from .queries import query_rows
from .rows import run_rows
from .sensitivity import latency_row, order_row, spread
from .strata import strata

if TYPE_CHECKING:
    from ..runs import Run
    from .claims import ClaimRow
    from .gains import PoolSide, QueryValues
    from .groups import Group
    from .prices import Price
    from .queries import QueryRow
    from .row import Row
    from .sensitivity import LatencyRow, OrderRow
    from .strata import StratumRow

    Key = tuple[str, str, str]

MOST_QUERIES = 5_000
"""Per-query rows that a report holds; beyond them only those of the runs asked for in detail."""


@dataclass(frozen=True)
class Evaluation:
    """All that a report shows. Rows are those of rerankers and of profiles' recall, sorted.

    orders, latencies: from runs with other input orders, and with one query at a time. strata,
    queries: of all runs while there are few queries, else of the runs asked for in detail. claims:
    published figures that a run can be set beside.
    """

    rows: tuple[Row, ...]
    groups: tuple[Group, ...] = ()
    orders: tuple[OrderRow, ...] = ()
    latencies: tuple[LatencyRow, ...] = ()
    strata: tuple[StratumRow, ...] = ()
    queries: tuple[QueryRow, ...] = ()
    claims: tuple[ClaimRow, ...] = ()
    left_out: tuple[str, ...] = ()


def evaluate(
    folders: Sequence[Path],
    *,
    detail: Sequence[Path] = (),
    prices: Mapping[str, Price] | None = None,
) -> Evaluation:
    """Evaluate run folders; queries of the runs in `detail` are told in any case.

    Recall is told once per task, profile and judgements, by the run with the most queries. Raises
    BadData, naming the folder, for a run that cannot be read, holds no query, or is there twice.
    """
    found = _Found(frozenset(folder.resolve() for folder in detail))
    for folder in dict.fromkeys(folder.resolve() for folder in folders):
        found.take(folder)
    rows, groups = infer(set_apart(priced(found.with_noise(), prices or {})))
    recall = [row for pair in found.recall.values() for row in pair]
    without = (group for group in groups if not group.rows)
    return Evaluation(
        rows=tuple(sorted([*rows, *recall], key=lambda row: row.key)),
        groups=tuple(replace(g, rows=tuple(set_apart(g.rows))) for g in groups if g.rows),
        orders=tuple(found.orders()),
        latencies=tuple(found.latencies()),
        strata=tuple(found.strata),
        queries=tuple(found.queries),
        left_out=(*found.left_out(), *(words for group in without for words in group.reasons)),
        claims=match([*rows, *mean_rows(groups)], load_claims()),
    )


@dataclass
class _Found:
    """What has been read so far; of variants, and of runs that have some, also the folder."""

    detail: frozenset[Path]
    recall: dict[Key, list[Row]] = field(default_factory=dict)
    strata: list[StratumRow] = field(default_factory=list)
    queries: list[QueryRow] = field(default_factory=list)
    _mains: dict[Key, tuple[list[Row], Path]] = field(default_factory=dict)
    _variants: dict[Key, list[tuple[list[Row], Path]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _folders: dict[object, Path] = field(default_factory=dict)
    _many: bool = False
    _side: PoolSide | None = None

    def take(self, folder: Path) -> None:
        """Read one run and sort its rows in."""
        run, values, ranked, profile = self._read(folder)
        main = ranked[0]
        first = self._folders.setdefault((*main.key, main.order, main.repeat, main.alone), folder)
        if first != folder:
            raise BadData(f"{first} and {folder} are the same run; report one, or use --as")
        if main.is_variant:
            self._variants[main.key].append((ranked, folder))
            return
        self._mains[main.key] = ranked, folder
        self._take_queries(run, values, folder)
        first_stage = main.task, main.profile, main.judgements
        known = self.recall.get(first_stage)
        if known is None or known[0].queries < main.queries:
            self.recall[first_stage] = profile

    def _read(self, folder: Path) -> tuple[Run, QueryValues, list[Row], list[Row]]:
        run = read_run(folder)
        if not run.results:
            raise BadData(f"the run {folder} holds no query; remove that folder and run it again")
        # The runs of one pool lie side by side, so the last one's is mostly this one's.
        self._side = pool_side(run, self._side)
        values = query_values(run, self._side)
        return run, values, *run_rows(run, values)

    def _take_queries(self, run: Run, values: QueryValues, folder: Path) -> None:
        if self._many and folder not in self.detail:
            return
        rows = query_rows(run, values)
        self.queries += rows
        self.strata += strata(run, rows)
        if len(self.queries) > MOST_QUERIES and not self._many:
            self._many = True
            kept = {(row.task, row.profile, row.reranker) for row in self._detailed()}
            self.queries = [q for q in self.queries if (q.task, q.profile, q.reranker) in kept]
            self.strata = [s for s in self.strata if (s.task, s.profile, s.reranker) in kept]

    def _detailed(self) -> Iterable[Row]:
        return (ranked[0] for ranked, folder in self._mains.values() if folder in self.detail)

    def with_noise(self) -> list[Row]:
        """The rows of rerankers; those of a run that was repeated know how far repeats differ."""
        return [self._noised(row) for ranked, _ in self._mains.values() for row in ranked]

    def _noised(self, row: Row) -> Row:
        others = [
            other.natural
            for ranked, _ in self._variants.get(row.key, ())
            for other in ranked
            if other.repeat > 1 and other.measure == row.measure and _same_run(other, row)
        ]
        if not others:
            return row
        values = tuple(value for value in (row.natural, *others) if value is not None)
        return replace(row, repeated=values, repeats=len(values), noise=spread(values))

    def orders(self) -> Iterable[OrderRow]:
        """Compare each run that was given other input orders with itself."""
        for key, (ranked, folder) in sorted(self._mains.items()):
            others = [
                (r[0], f) for r, f in self._variants.get(key, ()) if r[0].order != FIRST_STAGE
            ]
            same = [(row, f) for row, f in others if _same_run(row, ranked[0])]
            if same:
                rows, folders = zip((ranked[0], folder), *same, strict=True)
                yield order_row(rows, [read_run(place) for place in folders])

    def left_out(self) -> Iterable[str]:
        """Name the variants that cannot be set beside the run itself."""
        for key, variants in sorted(self._variants.items()):
            main = self._mains.get(key)
            name = " · ".join(key)
            apart = [r[0] for r, _ in variants if not r[0].alone]
            if main is None:
                yield f"{name}: {len(variants)} variants without the run itself"
            elif other := sum(not _same_run(row, main[0][0]) for row in apart):
                yield f"{name}: {other} variants with other settings, or where queries failed"

    def latencies(self) -> Iterable[LatencyRow]:
        """Sum up the runs that served one query at a time."""
        for _, variants in sorted(self._variants.items()):
            for ranked, folder in variants:
                if ranked[0].alone:
                    yield latency_row(ranked[0], read_run(folder))


def _same_run(one: Row, other: Row) -> bool:
    """Say whether two runs differ in nothing but their circumstances, and no query of them failed.

    A failed query counts as 0: what it moves is neither noise nor an effect of the order.
    """
    whole = not one.failed and not other.failed
    return whole and (one.settings, one.query_ids) == (other.settings, other.query_ids)
