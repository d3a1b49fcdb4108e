"""Cutting texts where only the server has the tokenizer: it counts their tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import EngineFault
from ...types import Failure, Fitted
from .client import Client
from .responses import Call


def fit_at_server(
    client: Client, model: str, texts: Sequence[str], max_tokens: int | None
) -> list[Fitted]:
    """Cut each text to `max_tokens` as `/tokenize` of vLLM or text-embeddings-inference counts.

    A beginning within the budget is found by bisection, for all texts at once. It may end inside a
    word, whose part can have more tokens than the whole, so it is not always the longest. Special
    tokens are not neutralised: their names are not known here, and a server that scores pairs
    keeps them apart by itself or not at all.
    """
    if max_tokens is None:
        return [Fitted(text) for text in texts]
    tokens = _count(client, model, {text: len(text) for text in texts})
    low = {text: len(text) if tokens[text] <= max_tokens else 0 for text in texts}
    kept = {text: tokens[text] if low[text] else 0 for text in texts}
    high = {text: len(text) for text in texts if low[text] < len(text)}
    while middle := {t: (low[t] + high[t]) // 2 for t in high if high[t] - low[t] > 1}:
        for text, count in _count(client, model, middle).items():
            if count <= max_tokens:
                low[text], kept[text] = middle[text], count
            else:
                high[text] = middle[text]
    return [Fitted(t[: low[t]], low[t] < len(t), tokens=kept[t]) for t in texts]


def added_tokens(client: Client, model: str) -> int:
    """Return how many tokens of its own the server's tokenizer puts around one text."""
    alone, framed = (_count(client, model, {"a": 1}, added=own)["a"] for own in (False, True))
    return framed - alone


def _count(
    client: Client, model: str, ends: Mapping[str, int], *, added: bool = False
) -> dict[str, int]:
    """Return the tokens of each text up to its end, in characters; with the tokenizer's `added`."""
    counts: dict[str, int] = {}
    calls = ((text, _call(model, text[:end], added=added)) for text, end in ends.items())
    for text, found in client.run(calls):
        if isinstance(found, Failure):
            raise EngineFault(f"the server counts no tokens ({found.reason})")
        (counts[text],) = found
    return counts


def _call(model: str, text: str, *, added: bool) -> Call:
    # vLLM reads `prompt`, text-embeddings-inference `inputs`
    body = {"model": model, "prompt": text, "inputs": text, "add_special_tokens": added}
    return Call("/tokenize", body, _counted)


def _counted(payload: Any) -> list[Any]:
    return [int(payload["count"]) if isinstance(payload, dict) else len(payload[0])]
