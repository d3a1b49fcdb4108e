"""Rows as columns: numbers as they are shown, and runs of equal values told once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

Packed = dict[str, Any]

DECIMALS = 4
"""Of measures and of shares; what a report shows of them."""


def columns(items: Sequence[Any], fields: Iterable[str], *, measures: Iterable[str] = ()) -> Packed:
    """Return `{"n": rows, "col": {field: column}}` for some fields of equal records.

    `measures` are fields that are rounded to DECIMALS places, all other numbers to six digits.
    """
    col = {name: column([getattr(item, name) for item in items]) for name in fields}
    col |= {name: measure([getattr(item, name) for item in items]) for name in measures}
    return {"n": len(items), "col": col}


def measure(values: Sequence[float | None]) -> Packed:
    """Pack values of a measure as whole numbers of its last shown digit."""
    whole = [None if v is None or not math.isfinite(v) else _whole(v) for v in values]
    return {**_shorter(whole), "scale": DECIMALS}


def _whole(value: float) -> int:
    unit: int = 10**DECIMALS
    return round(round(value, DECIMALS) * unit)


def column(values: Sequence[Any]) -> Packed:
    """Pack texts (each told once), numbers (six digits; infinite and NaN are missing) or lists."""
    if any(isinstance(value, str) for value in values):
        places: dict[str | None, int] = {}
        packed = _shorter([places.setdefault(value, len(places)) for value in values])
        return {**packed, "of": list(places)}
    return _shorter([_short(value) for value in values])


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, bool):
        return int(value)
    return [_short(part) for part in value] if isinstance(value, (tuple, list)) else value


def _shorter(values: Sequence[Any]) -> Packed:
    """Pack as `{"list": values}`, or as `{"runs": [value, length, …]}` where that is shorter."""
    runs: list[Any] = []
    for value, same in groupby(values):
        runs += (value, sum(1 for _ in same))
    return {"runs": runs} if len(runs) < len(values) or not values else {"list": list(values)}
