"""The engine of rerankers that ask nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import EngineFault
from ..types import AnyRequest, Failure, Fitted, Reply

if TYPE_CHECKING:
    from . import EngineOptions


class NoEngine:
    """An engine without a model: texts pass through it as they are, and a request is an error."""

    name = "none"

    def __init__(self, options: EngineOptions | None = None) -> None:
        self.identity: Mapping[str, str] = {"engine": self.name}

    def supports(self, asks: frozenset[type]) -> bool:
        """Answer nothing."""
        return not asks

    def answer(self, requests: Sequence[AnyRequest]) -> Iterator[tuple[int, Reply | Failure]]:
        """Raise EngineFault: whoever asks needs a model."""
        kind = type(requests[0]).__name__
        raise EngineFault(f"the reranker asks for {kind}, but no model was named; give --model")

    def fit(self, texts: Sequence[str], max_tokens: int | None) -> list[Fitted]:
        """Return the texts whole: without a tokenizer there is nothing to count by."""
        return [Fitted(text) for text in texts]

    def close(self) -> None:
        """Do nothing: there is nothing to give back."""
