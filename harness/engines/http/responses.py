"""Calls, and reading their responses: a shape that is not the expected one is `Malformed`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from ...types import Failure, Reply
from ..prepare import Prepared
from .failures import Malformed

T = TypeVar("T")
Replies: TypeAlias = list[Reply | Failure]
Made: TypeAlias = tuple[dict[str, Any], Callable[[Any], Replies]]
"""A body to post, and the function that reads the replies from the response's JSON."""

_ODD = (
    KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError,
)  # fmt: skip


@dataclass(frozen=True)
class Call:
    """A request: where and what to post, and how to read the replies from the response's JSON."""

    path: str
    body: Mapping[str, Any]
    read: Callable[[Any], Replies]

    def replies(self, payload: Any) -> Replies:
        """Read the replies; raises Malformed where the JSON has another shape."""
        return read_as(self.read, payload)


def read_as(read: Callable[[Any], T], payload: Any) -> T:
    """Return `read(payload)`; raises Malformed where it fails."""
    try:
        return read(payload)
    except _ODD as error:
        raise Malformed(f"{type(error).__name__}: {error}") from error


def in_order(entries: Sequence[Any], batch: Sequence[Prepared]) -> list[Any]:
    """Return the entries by index. Raises Malformed unless there is one for each of `batch`."""
    found = sorted(entries, key=lambda entry: int(entry["index"]))
    if [entry["index"] for entry in found] != list(range(len(batch))):
        raise Malformed(f"its {len(found)} entries are not numbered from 0 to {len(batch) - 1}")
    return found


def number(value: Any) -> float:
    """Return a number of a response; null, which JSON has in place of NaN, is NaN."""
    return math.nan if value is None else float(value)


def usage(payload: Any, *names: str) -> int:
    """Return the first of these token counts that the server reports, else 0."""
    counts = (payload.get("usage") or {}) if isinstance(payload, dict) else {}
    return int(next((counts[name] for name in names if counts.get(name)), 0))
