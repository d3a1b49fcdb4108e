"""Cutting texts where only the server has the tokenizer: it is asked how long they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import EngineFault
from ...types import Failure, Fitted
from .client import Call, Client
from .faults import Malformed


@dataclass(frozen=True)
class ServerFit:
    """Fits texts by `/tokenize` of vLLM or text-embeddings-inference; none is cut by characters.

    The longest beginning that the server counts within the budget is found by bisection, for all
    texts at once. Special tokens are not made harmless: their names are not known here, and a
    server that scores pairs keeps them apart by itself or not at all.
    """

    client: Client
    model: str

    def fit(self, texts: Sequence[str], max_tokens: int | None) -> list[Fitted]:
        """Cut each text to `max_tokens`."""
        if max_tokens is None:
            return [Fitted(text) for text in texts]
        distinct = list(dict.fromkeys(texts))
        counts = dict(zip(distinct, self._count(distinct), strict=True))
        fits = {t: (len(t), counts[t]) for t in distinct if counts[t] <= max_tokens}
        fits |= self._longest([t for t in distinct if t not in fits], max_tokens)
        return [
            Fitted(text[:end], end < len(text), tokens=tokens)
            for text, (end, tokens) in ((text, fits[text]) for text in texts)
        ]

    def _longest(self, texts: Sequence[str], max_tokens: int) -> dict[str, tuple[int, int]]:
        """Characters of each text that make at most `max_tokens` tokens, and those tokens."""
        low = dict.fromkeys(texts, 0)
        high = {text: len(text) for text in texts}
        tokens = dict.fromkeys(texts, 0)
        while open_ := [text for text in texts if high[text] - low[text] > 1]:
            middle = {text: (low[text] + high[text]) // 2 for text in open_}
            counts = self._count([text[: middle[text]] for text in open_])
            for text, count in zip(open_, counts, strict=True):
                if count <= max_tokens:
                    low[text], tokens[text] = middle[text], count
                else:
                    high[text] = middle[text]
        return {text: (low[text], tokens[text]) for text in texts}

    def _count(self, texts: Sequence[str]) -> list[int]:
        calls = ((i, self._call(text)) for i, text in enumerate(texts))
        found = dict(self.client.run(calls))
        refused = next((x for x in found.values() if isinstance(x, Failure)), None)
        if refused is not None:
            raise EngineFault(f"the server does not count tokens ({refused.reason})")
        return [found[i] for i in range(len(texts))]

    def _call(self, text: str) -> Call:
        # vLLM reads `prompt`, text-embeddings-inference `inputs`.
        body = {"model": self.model, "prompt": text, "inputs": text, "add_special_tokens": False}
        return Call("/tokenize", body, _counted)


def _counted(payload: Any) -> int:
    if isinstance(payload, Mapping) and isinstance(payload.get("count"), int):
        return int(payload["count"])
    if isinstance(payload, list) and payload and isinstance(payload[0], list):
        return len(payload[0])
    raise Malformed("no count of tokens")
