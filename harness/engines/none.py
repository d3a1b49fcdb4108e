"""The engine of rerankers that yield no requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import EngineFault
from ..types import Answers, AnyRequest, Fitted, Statistics
from .hardware import machine
from .options import EngineChoice


@dataclass(frozen=True)
class NoOptions:
    """No options."""


NO_ENGINE = EngineChoice("none", NoOptions())
"""The engine of a reranker that yields no requests."""


class NoEngine:
    """For rerankers that yield no requests: texts pass through, and a request is an error."""

    Options = NoOptions
    name = NO_ENGINE.name
    is_real, exact_labels = True, True
    hardware: Mapping[str, Any] = machine()
    identity: Mapping[str, str] = {"engine": NO_ENGINE.name}
    statistics = Statistics()
    pair_tokens = None

    def __init__(self, options: NoOptions) -> None:
        pass

    def supports(self, kinds: frozenset[type]) -> bool:
        """Return whether there is nothing to answer."""
        return not kinds

    def stream(self, requests: Iterator[AnyRequest | None]) -> Answers:
        """Raise EngineFault at the first request."""
        for request in requests:
            kind = type(request).__name__
            raise EngineFault(f"the reranker yields {kind}, but no model was named; give --model")
        return iter(())

    def fit(self, texts: Sequence[str], max_tokens: int | None) -> list[Fitted]:
        """Return the texts whole: without a tokenizer there are no tokens to count."""
        return [Fitted(text) for text in texts]

    def forget(self) -> None:
        """Do nothing: nothing is kept."""

    def close(self) -> None:
        """Do nothing: there is nothing to release."""
