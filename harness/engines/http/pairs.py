"""Pairs as servers score them: as texts in the form of each dialect, or as token ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ...types import Logits
from ..prepare import Prepared, sound
from .numbers import require_raw
from .responses import Made, Replies, in_order, number, usage

CLASSIFY = "/classify"


class PairFormat(NamedTuple):
    """How a query and its documents are posted, and where their scores stand in the response.

    raw: the field that asks for raw scores. top: the field for how many documents to return.
    """

    path: str
    query: str
    documents: str
    entries: str | None
    score: str
    raw: Mapping[str, Any]
    top: str | None = None


PAIRS: Mapping[str, PairFormat] = {
    "vllm": PairFormat("/score", "text_1", "text_2", "data", "score", {"use_activation": False}),
    "tei": PairFormat("/rerank", "query", "texts", None, "score", {"raw_scores": True}),
    "jina": PairFormat(
        "/v1/rerank", "query", "documents", "results", "relevance_score", {}, "top_n"
    ),
    "cohere": PairFormat(
        "/v2/rerank", "query", "documents", "results", "relevance_score", {}, "top_n"
    ),
}


def texts(batch: Sequence[Prepared], way: PairFormat) -> Made:
    """Post one query with its documents, which the server joins."""
    documents = [one.request.document for one in batch]
    body = {way.query: batch[0].request.query, way.documents: documents, **way.raw}
    body |= {way.top: len(batch)} if way.top else {}

    def read(payload: Any) -> Replies:
        entries = in_order(payload if way.entries is None else payload[way.entries], batch)
        values = [number(entry[way.score]) for entry in entries]
        tokens = _tokens_read(batch, usage(payload, "prompt_tokens", "total_tokens"))
        both = zip(values, tokens, strict=True)
        return [sound((value,), Logits((value,), count)) for value, count in both]

    return body, read


def token_ids(batch: Sequence[Prepared], outputs: Sequence[str]) -> Made:
    """Post token ids to vLLM's `/classify`. outputs: the names of the head's outputs."""

    def read(payload: Any) -> Replies:
        rows = [tuple(map(number, e["probs"])) for e in in_order(payload["data"], batch)]
        require_raw(rows)
        both = zip(rows, batch, strict=True)
        return [sound(row, Logits(row, len(one.ids), names=named(row))) for row, one in both]

    def named(row: Sequence[float]) -> tuple[str, ...]:
        return tuple(outputs) if len(outputs) == len(row) else ()

    return {"input": [list(one.ids) for one in batch], "use_activation": False}, read


def _tokens_read(batch: Sequence[Prepared], total: int) -> list[int]:
    """Return the tokens of each pair: the tokenizer's, where they sum to the server's total.

    A server that puts pairs into a template reads more; each pair then has an equal share.
    """
    own, count = [len(one.ids) for one in batch], len(batch)
    if all(own) and total in (0, sum(own)):
        return own
    return [total * (i + 1) // count - total * i // count for i in range(count)]
