"""From run folders to everything that a report shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadData
from ..reranking import FIRST_STAGE
from ..runs import Variant, find_all_runs, read_manifest, read_run
from .calibration import CalibrationRow, calibration_rows, parse_calibration
from .claims import load_claims, match
from .columns import RUNS, VALUES
from .facts import Facts, PerQuery
from .gains import query_values
from .inference import infer
from .measures import MACRO, MICRO, named_measures
from .prices import price_per_query
from .queries import query_rows, strata
from .results import MAIN, Evaluation, Results, columns_of, compute_columns, frame_of, results_of
from .sensitivity import latency_row, order_row

if TYPE_CHECKING:
    import pandas as pd

    from .prices import Price
    from .queries import QueryRow, StratumRow
    from .results import Key, Record
    from .sensitivity import OrderRow

    Same = Mapping[Key, Sequence["_Evaluated"]]

MOST_QUERIES = 5_000
"""Per-query rows that a report holds; beyond them only those of the runs asked for in detail."""


def evaluate(
    roots: Sequence[Path],
    *,
    detail: Sequence[Path] = (),
    prices: Mapping[str, Price] | None = None,
    measures: Sequence[str] = (),
) -> Evaluation:
    """Evaluate all runs in and below `roots`, with the queries of the runs in `detail` in any case.

    measures: such as `MAP@1000`, besides MEASURES and the main measures of the tasks; or such as
    `nAUC(MAP@1000)`, of which there are rows of their own.

    Recall is given once per task, profile and judgements, of the run with the most queries. Raises
    BadData where there is no run, and, naming the folder, for a run that cannot be read, holds no
    query, or occurs twice.
    """
    wanted = {folder.resolve() for folder in detail}
    asked = _Asked.of(measures, roots)
    every = list(_read(roots, wanted, asked))
    mains = {own.key: own for own in every if own.is_main}
    others = sorted((own for own in every if not own.is_main), key=lambda own: own.key)
    variants = {key: list(own) for key, own in groupby(others, key=lambda own: own.key)}
    same = {
        key: [own for own in variants.get(key, ()) if own.is_same_run(main)]
        for key, main in mains.items()
    }
    results, means, groups = infer(_results(mains, same, prices or {}))
    with_means = set(means.runs["task"])
    without = (group for group in groups if group.name not in with_means)
    few = sum(len(own.per_query.query_ids) for own in mains.values()) <= MOST_QUERIES
    listed = [own for own in mains.values() if few or own.folder in wanted]
    alone = (own for own in others if own.variant.alone)
    return Evaluation(
        results=results,
        means=Results(means.runs.assign(apart=find_incomparable(means.runs)), means.values),
        first_stages=_first_stages(mains.values()),
        groups=tuple(group for group in groups if group.name in with_means),
        per_query={key: main.per_query for key, main in mains.items()},
        orders=tuple(_orders(mains, same)),
        calibrations=tuple(row for own in mains.values() for row in own.calibrations),
        latencies=tuple(
            latency_row(own.key, own.run["hardware"], read_run(own.folder)) for own in alone
        ),
        strata=tuple(row for own in listed for row in own.strata),
        queries=tuple(row for own in listed for row in own.queries),
        left_out=(
            *_left_out(mains, variants),
            *(words for group in without for words in group.reasons),
        ),
        claims=match(results, load_claims()),
    )


def find_incomparable(runs: pd.DataFrame) -> pd.Series:
    """Return which runs do not rest on the queries, pool and judgements of the others.

    The others are those of a task and profile that share all three and hold the most results, which
    are queries times runs; among several such those with the most queries, and then those by the
    usual judgements.
    """
    sizes = runs.groupby(["task", "profile", "ground"])["queries"].transform("sum")
    sized = runs.assign(size=sizes, usual=runs["judgements"] == "")
    order = ["size", "queries", "usual"]
    best = sized.sort_values(order, ascending=False, kind="stable")
    first = best.groupby(["task", "profile"])["ground"].transform("first")
    return runs["ground"] != first.reindex(runs.index)


@dataclass(frozen=True)
class _Evaluated:
    """What is kept of one run; `settings` are what its variants have in common."""

    folder: Path
    key: Key
    variant: Variant
    settings: Mapping[str, Any]
    run: Record
    values: list[Record]
    first_stage: list[Record]
    per_query: PerQuery
    queries: list[QueryRow]
    strata: list[StratumRow]
    calibrations: list[CalibrationRow]

    @property
    def is_main(self) -> bool:
        """Whether this is a run itself, not a variant."""
        return not self.variant.suffix

    def is_same_run(self, other: _Evaluated) -> bool:
        """Return whether two runs differ in nothing but their variant, and no query failed.

        A failed query counts as 0: what it moves is neither noise nor an effect of the order.
        """
        one, two = self.per_query, other.per_query
        whole = not one.failed and not two.failed
        return whole and (self.settings, one.query_ids) == (other.settings, two.query_ids)


@dataclass(frozen=True)
class _Asked:
    """The measures of a report, and those of whose nAUC it has rows."""

    names: tuple[str, ...]
    calibrated: tuple[str, ...]

    @classmethod
    def of(cls, measures: Sequence[str], roots: Sequence[Path]) -> _Asked:
        parsed = {text: parse_calibration(text) for text in measures}
        calibrated = tuple(dict.fromkeys(name for name in parsed.values() if name))
        further = [text if name is None else name for text, name in parsed.items()]
        return cls(named_measures([*further, *_main_measures(roots)]), calibrated)


def _main_measures(roots: Sequence[Path]) -> Iterator[str]:
    """Yield the measures that the makers of the tasks report, as the runs record them."""
    for folder in find_all_runs(roots):
        yield read_manifest(folder).get("main_measure") or MAIN


def _read(roots: Sequence[Path], detail: AbstractSet[Path], asked: _Asked) -> Iterator[_Evaluated]:
    """Read and evaluate the runs; without query rows where these become too many."""
    folders: dict[tuple[str, ...], Path] = {}
    values, queries = None, 0
    for folder in find_all_runs(roots):
        run = read_run(folder)
        if not run.results:
            raise BadData(f"the run {folder} holds no query; remove that folder and run it again")
        # The runs of one pool follow one another, so the last pool is mostly this run's.
        values = query_values(run, values, asked.names)
        variant = Variant.of(run.manifest["settings"])
        queries += 0 if variant.suffix else len(run.results)
        listed = not variant.suffix and (queries <= MOST_QUERIES or folder in detail)
        own = _evaluated(folder, variant, Facts(run, values), asked, listed=listed)
        first = folders.setdefault((*own.key, variant.suffix), folder)
        if first != folder:
            raise BadData(f"{first} and {folder} are the same run; report one, or use --as")
        yield own


def _evaluated(
    folder: Path, variant: Variant, facts: Facts, asked: _Asked, *, listed: bool
) -> _Evaluated:
    """Compute all columns of a run, and if `listed` the rows of its queries."""
    run = compute_columns(columns_of(RUNS), facts)
    pool = compute_columns(columns_of(RUNS, of_pool=True), facts)
    of_pool, names = columns_of(VALUES, of_pool=True), facts.values.names
    rows = query_rows(facts.run, facts.values) if listed else []
    key = (run["task"], run["profile"], run["reranker"])
    return _Evaluated(
        folder=folder,
        key=key,
        variant=variant,
        settings={name: own for name, own in facts.settings.items() if name != "variant"},
        run=run,
        values=[compute_columns(columns_of(VALUES), facts, measure) for measure in names],
        first_stage=[
            pool | compute_columns(of_pool, facts, name) for name in (*names, MICRO, MACRO)
        ],
        per_query=PerQuery.of(facts),
        queries=rows,
        strata=strata(facts.run, rows) if rows else [],
        calibrations=list(calibration_rows(key, facts, asked.calibrated)),
    )


def _results(mains: Mapping[Key, _Evaluated], same: Same, prices: Mapping[str, Price]) -> Results:
    """Return the frames of all runs, sorted by task, profile and reranker."""
    rows = []
    for key, main in sorted(mains.items()):
        repeats = [own for own in same[key] if own.variant.repeat > 1]
        for number, own in enumerate(main.values):
            row = main.run | own | {"repeats": 1 + len(repeats)}
            if repeats:
                repeated = [each.values[number]["natural"] for each in (main, *repeats)]
                row |= {"repeated": repeated, "noise": max(repeated) - min(repeated)}
            rows.append(row)
    found = results_of(rows)
    runs = found.runs.assign(
        price=price_per_query(found.runs, prices), apart=find_incomparable(found.runs)
    )
    return Results(runs, found.values)


def _first_stages(mains: Iterable[_Evaluated]) -> pd.DataFrame:
    """Return the frame of first stages, each as the run with the most queries has it."""
    most: dict[tuple[str, ...], _Evaluated] = {}
    for own in mains:
        pool = (*own.key[:2], own.run["judgements"])
        if pool not in most or most[pool].run["queries"] < own.run["queries"]:
            most[pool] = own
    records = [record for own in most.values() for record in own.first_stage]
    return frame_of(records, columns_of(of_pool=True))


def _orders(mains: Mapping[Key, _Evaluated], same: Same) -> Iterator[OrderRow]:
    """Compare each run that was given other input orders with itself."""
    for key, main in sorted(mains.items()):
        own = [main, *(each for each in same[key] if each.variant.order != FIRST_STAGE)]
        if len(own) > 1:
            values = [each.values[0]["natural"] for each in own]
            yield order_row(key, values, [read_run(each.folder) for each in own])


def _left_out(
    mains: Mapping[Key, _Evaluated], variants: Mapping[Key, Sequence[_Evaluated]]
) -> Iterator[str]:
    """Name the variants that do not compare with the run itself."""
    for key, own in variants.items():
        main, name = mains.get(key), " · ".join(key)
        if main is None:
            yield f"{name}: {len(own)} variants without the run itself"
            continue
        if number := sum(not (each.variant.alone or each.is_same_run(main)) for each in own):
            yield f"{name}: {number} variants with other settings, or where queries failed"
