"""Queries of runs with their texts, requests and replies, each text once."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ..text import plain
from .pack import Packed, table

OPENING = 32
"""Characters by which a document is found in a request, which may hold only a part of it."""

_TEXTS = ("query", "failed")
_VALUES = ("first_stage", "natural")
_FLAGS = ("round", "repaired", "known")
_KEPT = frozenset("\n\r\t\u00ad\u061c\u200b\u200c\u200d\u200e\u200f")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


class Document(Protocol):
    """A candidate: the fields that the page reads."""

    @property
    def doc_id(self) -> str:
        """The id in the corpus."""

    @property
    def text(self) -> str:
        """The uncut text of the corpus."""


class Exchange(Protocol):
    """A request and its reply."""

    @property
    def request(self) -> str:
        """The type of the request."""

    @property
    def prompt(self) -> str:
        """What the model was given."""

    @property
    def reply(self) -> str:
        """What the model returned."""


class View(Protocol):
    """One query of one run, with the fields of `rerank_bench.inspect.replay.QueryView`."""

    @property
    def reranker(self) -> str:
        """The label of the reranker."""

    @property
    def query_id(self) -> str:
        """The id of the query."""

    @property
    def documents(self) -> Sequence[Document]:
        """The candidates in finished order."""

    @property
    def exchanges(self) -> Sequence[Exchange]:
        """Requests and replies in the order they were made."""

    @property
    def counts(self) -> Mapping[str, int]:
        """What the reranker counted."""

    @property
    def notes(self) -> Sequence[str]:
        """What could not be shown, and why."""


def texts_block(views: Sequence[View]) -> dict[str, Any]:
    """Return the views, with the texts of their documents in one list."""
    texts: dict[str, int] = {}
    packed = [_view(view, texts) for view in views]
    return {"texts": [visible(text) for text in texts], "views": packed}


def _view(view: View, texts: dict[str, int]) -> dict[str, Any]:
    return {
        "reranker": plain(view.reranker),
        **{name: visible(getattr(view, name) or "") for name in _TEXTS},
        **{name: getattr(view, name) for name in _VALUES},
        "notes": [visible(note) for note in view.notes],
        "counts": {plain(name): n for name, n in view.counts.items()},
        "documents": _documents(view.documents, texts),
        "exchanges": [_exchange(exchange, view.documents) for exchange in view.exchanges],
    }


def _documents(documents: Sequence[Document], texts: dict[str, int]) -> Packed:
    places = [texts.setdefault(document.text, len(texts)) for document in documents]
    fields = ("doc_id", "before", "after", "score", "grade", "positive", "safeguard")
    return table(documents, fields, text=places)


def _exchange(exchange: Exchange, documents: Sequence[Document]) -> dict[str, Any]:
    return {
        **{name: getattr(exchange, name) for name in _FLAGS},
        "request": plain(exchange.request),
        "prompt": visible(exchange.prompt),
        "reply": visible(exchange.reply),
        "about": about(exchange, [document.text for document in documents]),
    }


def about(exchange: Exchange, texts: Sequence[str]) -> list[int]:
    """Return the indices of the `texts` that a request holds, in its order.

    Where several texts begin alike, the one that agrees longest counts; a text within another one
    does not count.
    """
    prompt = exchange.prompt
    if exchange.request == "PairScore":  # a query may be equal to a document
        prompt = prompt[max(prompt.find("\ndocument: "), 0) :]
    best: dict[int, tuple[int, int]] = {}
    for index, text in enumerate(texts):
        for start in _starts(prompt, text[:OPENING].strip()):
            length = _agreement(prompt[start : start + len(text)], text.lstrip())
            if length > best.get(start, (0, 0))[0]:
                best[start] = length, index
    found, end = [], 0
    for start, (length, index) in sorted(best.items()):
        if start >= end:
            found.append(index)
            end = start + length
    return found


def _starts(text: str, part: str) -> list[int]:
    """Return all places at which `text` holds `part`; none for an empty part."""
    found = []
    start = text.find(part) if part else -1
    while start >= 0:
        found.append(start)
        start = text.find(part, start + len(part))
    return found


def _agreement(one: str, other: str) -> int:
    """Return how many characters two texts have in common from their start."""
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def visible(text: str) -> str:
    """Return a text with control characters and direction overrides as their codes.

    Line ends, joiners and direction marks stay: honest text needs them.
    """
    hidden = {c for c in set(text) - _KEPT if unicodedata.category(c) in _HIDDEN}
    return text.translate({ord(c): plain(c) for c in hidden}) if hidden else text
