"""What tokens would have cost at a price per million."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from ..errors import BadOption

if TYPE_CHECKING:
    import pandas as pd

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


def priced(runs: pd.DataFrame, prices: Mapping[str, Price]) -> list[float | None]:
    """Return the price of a query of each run, where there is one.

    Tokens that a prefix cache held cost as much as others: providers differ in their discounts.
    """
    rows = zip(
        *(runs[n] for n in ("reranker", "model", "prompt_tokens", "output_tokens", "queries")),
        strict=True,
    )
    found = []
    for reranker, model, read, written, queries in rows:
        own = next((prices[name] for name in (reranker, model, "*") if name in prices), None)
        spent = None if own is None else read * own.read + written * own.written
        found.append(None if spent is None else spent / _MILLION / queries)
    return found
