"""The queries of a run one by one, and its gains by language, length and best positive's rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from . import orders
from .measures import MEASURES
from .significance import FEWEST, interval

if TYPE_CHECKING:
    from ..runs import QueryResult, Run
    from .gains import QueryValues

_REPAIRED = ("repaired", "unparsable")
LANGUAGE, LENGTH, RANK = "language", "query length", "positive's rank"
_RANKS = ((1, "1"), (5, "2-5"), (10, "6-10"), (30, "11-30"), (100, "31-100"))
_DEEPER, _NOWHERE, _UNKNOWN = "below 100", "not in the pool", "not known"
_THIRDS = ("short", "medium", "long")
_ORDER = (*_THIRDS, *(name for _, name in _RANKS), _DEEPER, _NOWHERE, _UNKNOWN)


@dataclass(frozen=True, slots=True)
class QueryRow:
    """One query of one run; the values are of nDCG@10.

    rank_before, rank_after: the rank of the best positive in the pool and in the finished ranking,
    both without the safeguard; None where there is none, or the query failed. repaired: answers
    that had to be repaired, or could not be used.
    """

    task: str
    profile: str
    reranker: str
    query_id: str
    language: str | None
    first_stage: float
    natural: float
    safeguarded: float
    rank_before: int | None
    rank_after: int | None
    safeguard: bool
    failed: bool
    repaired: int


def bases_of(results: Sequence[QueryResult]) -> tuple[str, ...] | None:
    """Return the question that each query is a version of; None where no two share one."""
    bases = tuple(result.query_id if result.base is None else result.base for result in results)
    return bases if len(set(bases)) < len(bases) else None


def query_rows(run: Run, values: QueryValues) -> list[QueryRow]:
    """Return a row for each query of a run, in its order."""
    settings = run.manifest["settings"]
    main = MEASURES[0]
    stages = (values.first_stage[main], values.natural[main], values.safeguarded[main])
    found = []
    for place, result in enumerate(run.results):
        grades = values.grades[place]
        natural = orders.natural(result.doc_ids, result.safeguard)
        failed = result.failed is not None
        found.append(
            QueryRow(
                task=settings["task"],
                profile=settings["profile"]["asked"],
                reranker=settings["reranker"]["label"],
                query_id=result.query_id,
                language=result.language,
                first_stage=float(stages[0][place]),
                natural=float(stages[1][place]),
                safeguarded=float(stages[2][place]),
                rank_before=_best_rank(values.pools[place], grades),
                rank_after=None if failed else _best_rank(natural, grades),
                safeguard=result.safeguard is not None,
                failed=failed,
                repaired=sum(result.counts.get(name, 0) for name in _REPAIRED),
            )
        )
    return found


def _best_rank(ranking: Sequence[str], grades: Mapping[str, int]) -> int | None:
    return next((rank for rank, doc_id in enumerate(ranking, 1) if doc_id in grades), None)


@dataclass(frozen=True, slots=True)
class StratumRow:
    """Some of a run's queries that are alike; the values are means of nDCG@10.

    kind: `language`, `query length` or `positive's rank`; each query of the run is in one stratum
    of each kind.
    gain: natural minus first stage, with its 95 % confidence interval from FEWEST queries on.
    """

    task: str
    profile: str
    reranker: str
    kind: str
    value: str
    queries: int
    first_stage: float
    natural: float
    gain: float
    gain_low: float | None = None
    gain_high: float | None = None


def strata(run: Run, rows: Sequence[QueryRow]) -> list[StratumRow]:
    """Return the strata of one run, kind by kind, each kind in its natural order.

    `rows` are the run's `query_rows`. A kind is left out where all queries are in
    one stratum, or their languages or lengths are not known. Lengths are thirds of the run's own
    queries.
    """
    named = {
        LANGUAGE: _languages(rows),
        LENGTH: _lengths([result.query_chars for result in run.results]),
        RANK: [_rank(row.rank_before) for row in rows],
    }
    return [
        _stratum(kind, value, [i for i, name in enumerate(names) if name == value], rows, run)
        for kind, names in named.items()
        if len(set(names)) > 1
        for value in sorted(set(names), key=_place)
    ]


def _languages(rows: Sequence[QueryRow]) -> list[str]:
    return [row.language or _UNKNOWN for row in rows]


def _lengths(chars: Sequence[int | None]) -> list[str]:
    """Name the third that each query's length in characters is in; equal lengths share one."""
    known = [c for c in chars if c is not None]
    if len(known) < len(chars):
        return []
    low, high = (
        int(cut) for cut in np.quantile(known, [1 / 3, 2 / 3], method="closest_observation")
    )
    sizes = (f"< {low}", f"{low} to {high}", f"> {high}")
    names = [f"{third} ({size} characters)" for third, size in zip(_THIRDS, sizes, strict=True)]
    return [names[int(c >= low) + int(c > high)] for c in known]


def _rank(rank: int | None) -> str:
    if rank is None:
        return _NOWHERE
    return next((name for last, name in _RANKS if rank <= last), _DEEPER)


def _place(name: str) -> tuple[int, str]:
    """Return the sort key of a stratum: lengths and ranks rise, languages are by name."""
    word = name.partition(" (")[0]
    return (_ORDER.index(word) if word in _ORDER else -1), name


def _stratum(
    kind: str, value: str, places: Sequence[int], rows: Sequence[QueryRow], run: Run
) -> StratumRow:
    """Return the stratum of the queries at `places`; versions of one question are a cluster."""
    first = np.array([rows[i].first_stage for i in places])
    natural = np.array([rows[i].natural for i in places])
    row = rows[0]
    low = high = None
    if len(places) >= FEWEST:
        low, high = interval(natural - first, bases_of([run.results[i] for i in places]))
    return StratumRow(
        task=row.task,
        profile=row.profile,
        reranker=row.reranker,
        kind=kind,
        value=value,
        queries=len(places),
        first_stage=float(first.mean()),
        natural=float(natural.mean()),
        gain=float((natural - first).mean()),
        gain_low=low,
        gain_high=high,
    )
