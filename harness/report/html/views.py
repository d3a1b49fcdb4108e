"""Queries of runs with their texts, requests and replies, each text once."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from ..text import plain
from .pack import pack_records

OPENING = 32
"""Characters by which a document is found in a request, which may contain only a part of it."""

_KEPT = frozenset("\n\r\t\u00ad\u061c\u200b\u200c\u200d\u200e\u200f")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

View = Any
"""A query of a run: a `QueryView` of the folder inspect, which this folder must not import."""


def texts_block(views: Sequence[View]) -> dict[str, Any]:
    """Return the views, with the texts of their documents in one list."""
    texts: dict[str, int] = {}
    packed = [_view(view, texts) for view in views]
    return {"texts": [visible(text) for text in texts], "views": packed}


def _view(view: View, texts: dict[str, int]) -> dict[str, Any]:
    return {
        "reranker": plain(view.reranker),
        "query": visible(view.query),
        "failed": visible(view.failed or ""),
        "first_stage": view.first_stage,
        "natural": view.natural,
        "notes": [visible(note) for note in view.notes],
        "counts": {plain(name): n for name, n in view.counts.items()},
        "documents": pack_records(
            view.documents,
            ("doc_id", "before", "after", "score", "grade", "positive", "safeguard"),
            text=lambda document: texts.setdefault(document.text, len(texts)),
        ),
        "exchanges": [_exchange(one, view.documents) for one in view.exchanges],
    }


def _exchange(exchange: Any, documents: Sequence[Any]) -> dict[str, Any]:
    return {
        "round": exchange.round,
        "repaired": exchange.repaired,
        "known": exchange.known,
        "request": plain(exchange.request),
        "prompt": visible(exchange.prompt),
        "reply": visible(exchange.reply),
        "about": about(exchange, [document.text for document in documents]),
    }


def about(exchange: Any, texts: Sequence[str]) -> list[int]:
    """Return the indices of the `texts` that a request contains, in its order.

    Where several texts begin alike, the one that agrees longest counts; a text within another one
    does not count.
    """
    prompt = exchange.prompt
    if exchange.request == "PairScore":  # a query may be equal to a document
        prompt = prompt[max(prompt.find("\ndocument: "), 0) :]
    best: dict[int, tuple[int, int]] = {}
    for index, text in enumerate(texts):
        part = text[:OPENING].strip()
        for match in re.finditer(re.escape(part), prompt) if part else ():
            start = match.start()
            length = _agreement(prompt[start : start + len(text)], text.lstrip())
            if length > best.get(start, (0, 0))[0]:
                best[start] = length, index
    found, end = [], 0
    for start, (length, index) in sorted(best.items()):
        if start >= end:
            found.append(index)
            end = start + length
    return found


def _agreement(one: str, other: str) -> int:
    """Return how many characters two texts have in common from their start."""
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def visible(text: str) -> str:
    """Return a text with control characters and direction overrides as their codes.

    Line ends, joiners and direction marks stay: ordinary text needs them.
    """
    hidden = {c for c in set(text) - _KEPT if unicodedata.category(c) in _HIDDEN}
    return text.translate({ord(c): plain(c) for c in hidden}) if hidden else text
