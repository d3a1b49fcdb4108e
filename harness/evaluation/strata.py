"""Gains of a run by language, length of the query, and rank of the best positive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .queries import bases_of
from .significance import FEWEST, interval

if TYPE_CHECKING:
    from ..runs import Run
    from .queries import QueryRow

LANGUAGE, LENGTH, RANK = "language", "query length", "positive's rank"
_RANKS = ((1, "1"), (5, "2-5"), (10, "6-10"), (30, "11-30"), (100, "31-100"))
_DEEPER, _NOWHERE, _UNKNOWN = "below 100", "not in the pool", "not known"
_THIRDS = ("short", "medium", "long")
_ORDER = (*_THIRDS, *(name for _, name in _RANKS), _DEEPER, _NOWHERE, _UNKNOWN)


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
