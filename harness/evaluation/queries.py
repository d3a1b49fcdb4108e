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

_LANGUAGE, _LENGTH, _RANK = "language", "query length", "positive's rank"
_RANKS = {1: "1", 5: "2-5", 10: "6-10", 30: "11-30", 100: "31-100"}
_DEEPER, _NOWHERE, _UNKNOWN = "below 100", "not in the pool", "not known"
_THIRDS = ("short", "medium", "long")
_ORDER = (*_THIRDS, *_RANKS.values(), _DEEPER, _NOWHERE, _UNKNOWN)


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
    return [_query_row(run, values, place) for place in range(len(run.results))]


def _query_row(run: Run, values: QueryValues, place: int) -> QueryRow:
    settings, result, main = run.manifest["settings"], run.results[place], MEASURES[0]
    positives = values.grades[place]
    natural = orders.natural(result.doc_ids, result.safeguard)
    failed = result.failed is not None
    return QueryRow(
        task=settings["task"],
        profile=settings["profile"]["asked"],
        reranker=settings["reranker"]["label"],
        query_id=result.query_id,
        language=result.language,
        first_stage=float(values.first_stage[main][place]),
        natural=float(values.natural[main][place]),
        safeguarded=float(values.safeguarded[main][place]),
        rank_before=_best_rank(values.pools[place], positives),
        rank_after=None if failed else _best_rank(natural, positives),
        safeguard=result.safeguard is not None,
        failed=failed,
        repaired=sum(result.counts.get(name, 0) for name in ("repaired", "unparsable")),
    )


def _best_rank(ranking: Sequence[str], positives: Mapping[str, int]) -> int | None:
    return next((rank for rank, doc_id in enumerate(ranking, 1) if doc_id in positives), None)


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

    rows: the run's `query_rows`. A kind is left out where all queries are in one stratum, or their
    languages or lengths are not known. Lengths are thirds of the run's own queries.
    """
    named = {
        _LANGUAGE: [row.language or _UNKNOWN for row in rows],
        _LENGTH: _lengths([result.query_chars for result in run.results]),
        _RANK: [_rank(row.rank_before) for row in rows],
    }
    return [
        _stratum(kind, value, [i for i, name in enumerate(names) if name == value], rows, run)
        for kind, names in named.items()
        if len(set(names)) > 1
        for value in sorted(set(names), key=_place)
    ]


def _lengths(chars: Sequence[int | None]) -> list[str]:
    """Name the third that each query's length in characters is in; equal lengths share one."""
    known = [c for c in chars if c is not None]
    if len(known) < len(chars):
        return []
    bounds = np.quantile(known, [1 / 3, 2 / 3], method="closest_observation")
    low, high = map(int, bounds)
    sizes = (f"< {low}", f"{low} to {high}", f"> {high}")
    names = [f"{third} ({size} characters)" for third, size in zip(_THIRDS, sizes, strict=True)]
    return [names[int(c >= low) + int(c > high)] for c in known]


def _rank(rank: int | None) -> str:
    if rank is None:
        return _NOWHERE
    return next((name for last, name in _RANKS.items() if rank <= last), _DEEPER)


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
    bases = bases_of([run.results[i] for i in places])
    bounds = interval(natural - first, bases) if len(places) >= FEWEST else (None, None)
    where = rows[0].task, rows[0].profile, rows[0].reranker
    means = (float(values.mean()) for values in (first, natural, natural - first))
    return StratumRow(*where, kind, value, len(places), *means, *bounds)
