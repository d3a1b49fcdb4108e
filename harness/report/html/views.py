"""The queries that can be looked into: texts told once, however many rerankers saw them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from .columns import Packed, columns

_VIEW = (
    "task", "profile", "reranker", "query_id", "query", "failed", "first_stage", "natural", "notes",
)  # fmt: skip
_DOCUMENT = ("doc_id", "before", "after", "score", "grade", "positive", "safeguard")
_EXCHANGE = ("round", "request", "prompt", "reply", "repaired", "known")


class Document(Protocol):
    """A candidate, with the fields of `rerank_bench.inspect.replay.ViewDocument`."""

    @property
    def text(self) -> str:
        """As the data set has it, uncut."""


class View(Protocol):
    """One query of one run, with the fields of `rerank_bench.inspect.replay.QueryView`."""

    @property
    def documents(self) -> Sequence[Document]:
        """The candidates in finished order."""

    @property
    def exchanges(self) -> Sequence[object]:
        """What was asked and answered, in order."""

    @property
    def counts(self) -> Mapping[str, int]:
        """What was counted on the way."""


def views_block(views: Sequence[View]) -> dict[str, Any]:
    """Return the views with all their documents in one list of texts."""
    texts: dict[str, int] = {}
    told = [_view(view, texts) for view in views]
    return {"texts": list(texts), "views": told}


def _view(view: View, texts: dict[str, int]) -> dict[str, Any]:
    return {
        **{name: getattr(view, name) for name in _VIEW},
        "counts": dict(view.counts),
        "documents": _documents(view.documents, texts),
        "exchanges": columns(view.exchanges, _EXCHANGE),
    }


def _documents(documents: Sequence[Document], texts: dict[str, int]) -> Packed:
    packed = columns(documents, _DOCUMENT)
    packed["col"]["text"] = {"list": [texts.setdefault(d.text, len(texts)) for d in documents]}
    return packed
