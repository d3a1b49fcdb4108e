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


def price_per_query(runs: pd.DataFrame, prices: Mapping[str, Price]) -> list[float | None]:
    """Return the price of a query of each run, where there is one.

    Tokens that a prefix cache held cost as much as others: providers differ in their discounts.
    """
    names = zip(runs["reranker"], runs["model"], strict=True)
    of_run = [next((prices[n] for n in (*own, "*") if n in prices), None) for own in names]
    tokens = zip(runs["prompt_tokens"], runs["output_tokens"], runs["queries"], strict=True)
    return [
        None if price is None else (read * price.read + written * price.written) / _MILLION / n
        for price, (read, written, n) in zip(of_run, tokens, strict=True)
    ]
