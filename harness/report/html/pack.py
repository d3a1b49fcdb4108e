"""Pack tables as columns of JSON values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..text import plain

Packed = dict[str, Any]

DECIMALS = 4
"""Decimals of measures, the number that every report shows."""


def pack_records(
    rows: Sequence[Any], fields: Iterable[str], **computed: Callable[[Any], Any]
) -> Packed:
    """Return equal records in packed form.

    fields: attributes of a record, each a column.
    computed: further columns by name, each a function of a record.
    """
    col = {name: [getattr(row, name) for row in rows] for name in fields}
    return pack_columns(col | {name: [of(row) for row in rows] for name, of in computed.items()})


def pack_columns(col: Mapping[str, Sequence[Any]]) -> Packed:
    """Return columns of equal length as `{"n": rows, "col": {name: column}}`."""
    n = len(next(iter(col.values())))
    return {"n": n, "col": {name: column(values) for name, values in col.items()}}


def column(values: Sequence[Any]) -> Any:
    """Return one column: a list of numbers, or for texts `{"of": distinct texts, "at": indices}`.

    All values of a column are of one type or None. Floats are rounded to four decimals, or below
    0.1 and from 1000 on to six significant digits; NaN and infinity become None. Control characters
    of names and texts become visible.
    """
    first = next((value for value in values if value is not None), None)
    if not isinstance(first, (str, tuple)):
        return [_number(value) for value in values]
    places: dict[Any, int] = {}
    at = [places.setdefault(value, len(places)) for value in values]
    return {"of": [_shown(value) for value in places], "at": at}


def _number(value: Any) -> Any:
    if not isinstance(value, float):
        return int(value) if isinstance(value, bool) else value
    if not math.isfinite(value):
        return None
    return round(value, DECIMALS) if 0.1 <= abs(value) < 1000 else float(f"{value:.6g}")


def _shown(value: Any) -> Any:
    """Return a name, or a tuple of names or numbers, as the page shows it."""
    if isinstance(value, tuple):
        return [_shown(part) for part in value]
    return plain(value) if isinstance(value, str) else _number(value)
