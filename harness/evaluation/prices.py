"""What tokens would have cost at a price per million."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from ..errors import BadOption
from .row import Row

_MILLION = 1e6


@dataclass(frozen=True, slots=True)
class Price:
    """The price of a million tokens read and of a million written, in any currency."""

    read: float
    written: float


def parse_prices(texts: Iterable[str]) -> dict[str, Price]:
    """Read `NAME=READ/WRITTEN`, where NAME is a reranker's label or its model, or `*` for all.

    Raises BadOption for anything else.
    """
    found = {}
    for text in texts:
        name, _, values = text.rpartition("=")
        try:
            read, written = (float(value) for value in values.split("/"))
        except ValueError as error:
            raise BadOption(f"--price takes NAME=READ/WRITTEN per million, not {text!r}") from error
        if not name or not all(0 <= value < inf for value in (read, written)):
            raise BadOption(f"--price takes NAME=READ/WRITTEN per million, not {text!r}")
        found[name] = Price(read, written)
    return found


def priced(rows: Sequence[Row], prices: Mapping[str, Price]) -> list[Row]:
    """Return `rows` with the price of a query where there is one.

    Tokens that a prefix cache held are charged as others: providers differ in what they take off.
    """
    return [replace(row, price=_price(row, prices)) for row in rows] if prices else list(rows)


def _price(row: Row, prices: Mapping[str, Price]) -> float | None:
    own = next((prices[n] for n in (row.reranker or "", row.model, "*") if n in prices), None)
    if own is None or row.prompt_tokens is None or row.output_tokens is None:
        return None
    spent = row.prompt_tokens * own.read + row.output_tokens * own.written
    return spent / _MILLION / row.queries
