"""How servers score pairs: in the shapes of vLLM, text-embeddings-inference, Jina and Cohere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from .faults import ODD, Malformed


@dataclass(frozen=True, slots=True)
class Heard:
    """What one prompt or pair was answered: numbers, the token ids they belong to, the text.

    read, written, cached: tokens, where the server counts them for this one.
    bound: the most that the log-probability of a token can be that the server did not report.
    """

    values: tuple[float, ...]
    tokens: tuple[int, ...] = ()
    text: str | None = None
    finished: bool = True
    read: int = 0
    written: int = 0
    cached: int = 0
    bound: float | None = None


def number(value: Any) -> float:
    """A number of a reply; null, which stands for NaN in JSON, is NaN."""
    return math.nan if value is None else float(value)


def in_order(entries: Sequence[Any]) -> list[Any]:
    """Entries by their index. Raises Malformed unless they are 0 to n-1, each once."""
    found = sorted(entries, key=lambda entry: cast("int", entry["index"]))
    if [entry["index"] for entry in found] != list(range(len(found))):
        raise Malformed(f"its {len(found)} answers are not numbered from 0, each once")
    return found


@dataclass(frozen=True)
class Pairs:
    """Where and in which shape pairs are posted, one query with its documents.

    switch: whether vLLM's switch for raw logits is posted too.
    """

    path: str
    shape: Literal["score", "texts", "documents"]
    switch: bool = True

    def __str__(self) -> str:
        return f"{self.path}, {self.shape}{' and switch' if self.switch else ''}"

    def body(self, query: str, documents: Sequence[str]) -> dict[str, Any]:
        """What to post; raw scores are asked for where there is a word for them."""
        texts, raw = list(documents), {"use_activation": False} if self.switch else {}
        if self.shape == "texts":
            return {"query": query, "texts": texts, "raw_scores": True}
        if self.shape == "score":
            return {"text_1": query, "text_2": texts, **raw}
        return {"query": query, "documents": texts, "top_n": len(texts), **raw}

    def read(self, payload: Any) -> list[Heard]:
        """Scores in the order of the documents; tokens, where they are told, in equal shares."""
        entries = {"texts": None, "score": "data", "documents": "results"}[self.shape]
        name = "relevance_score" if self.shape == "documents" else "score"
        try:
            listed = in_order(payload if entries is None else payload[entries])
            usage = {} if entries is None else payload.get("usage") or {}
            tokens = int(usage.get("prompt_tokens") or usage.get("total_tokens") or 0)
            return [
                Heard((number(entry[name]),), read=_share(tokens, place, len(listed)))
                for place, entry in enumerate(listed)
            ]
        except ODD as error:
            raise Malformed(f"{type(error).__name__}: {error}") from error


def _share(total: int, place: int, places: int) -> int:
    """Whole tokens of one among equals; the shares sum to the total."""
    return total * (place + 1) // places - total * place // places


RERANKING = ("/score", "/rerank", "/v1/rerank", "/v2/rerank")
PAIRS = (
    Pairs("/score", "score"),
    Pairs("/rerank", "texts", switch=False),
    *(Pairs(path, "documents", switch) for switch in (True, False) for path in RERANKING[1:]),
)
"""The ways to score pairs, the surest to give raw logits first."""
