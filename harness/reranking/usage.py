"""What a query cost: properties of method and pool first, then what this machine paid."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts for one query, or a sum over queries.

    `calls`, `rounds` and the tokens are those of the requests a reranker yielded, before merging
    and cache, so they are equal cold, warm or resumed. `rounds` is the sequential depth.
    `cached_tokens` are those of the prompt tokens that an engine's prefix cache held already.
    `merged` requests were equal to one under way; `from_cache` were answered before. `seconds` is
    engine wall time without the loading of a model: a slice's is shared out by tokens over what it
    asked, a streamed reply's is the time since the reply before it, and a request's is shared by
    all who asked it. Sums over a run are exact; a single query's part is a share of what went on.
    """

    calls: int = 0
    rounds: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    merged: int = 0
    from_cache: int = 0
    seconds: float = 0.0
    cached_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def total(usages: Iterable[Usage]) -> Usage:
    """Sum usages; rounds are summed too, so divide by the number of queries for a mean."""
    return sum(usages, Usage())
