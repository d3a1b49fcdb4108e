"""The dialects of servers: which requests each answers, where, and in which form.

Pairs are posted as two texts that the server joins, in the form of each dialect, or to vLLM's
`/classify` as token ids.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...errors import EngineFault
from ...types import Embed, Generate, Likelihood, Logits, NextToken, PairScore
from ..prepare import Prepared, sound
from .completions import Completions
from .embeddings import embeddings
from .responses import Call, Replies, in_order, number, usage

CLASSIFY = "/classify"
_LANGUAGE = frozenset({NextToken, Likelihood, Generate, Embed})
KINDS: Mapping[str, frozenset[type]] = {
    "vllm": _LANGUAGE | {PairScore},
    "openai": _LANGUAGE,
    "tei": frozenset({PairScore}),
    "jina": frozenset({PairScore}),
    "cohere": frozenset({PairScore}),
}
"""Dialect -> the request types that a server of it can answer."""

COUNTS_TOKENS = frozenset({"vllm", "tei"})
"""Dialects whose servers count the tokens of a text."""

AT_ONCE: Mapping[type, int] = {
    NextToken: 16, Likelihood: 16, Generate: 1, PairScore: 100, Embed: 16,
}  # fmt: skip
"""Requests in one call. A text has a call of its own, so that it does not wait for a longer one."""

_ROUNDING = 2e-7
"""How far off 1 the sum of a row of float32 probabilities is."""

_COARSE_ROUNDING = 4e-3
"""The same for probabilities in bfloat16, looked for in several rows at once."""


class PairFormat(NamedTuple):
    """The path and the field names for a query and its documents, and those of their scores.

    raw: the field that asks for raw scores. top: the field for how many documents to return.
    """

    path: str
    query: str
    documents: str
    entries: str | None
    score: str
    raw: Mapping[str, Any]
    top: str | None = None


_COHERE = PairFormat(
    "/v2/rerank", "query", "documents", "results", "relevance_score", raw={}, top="top_n"
)
PAIRS: Mapping[str, PairFormat] = {
    "vllm": PairFormat("/score", "text_1", "text_2", "data", "score", {"use_activation": False}),
    "tei": PairFormat("/rerank", "query", "texts", None, "score", {"raw_scores": True}),
    "jina": _COHERE._replace(path="/v1/rerank"),
    "cohere": _COHERE,
}


@dataclass(frozen=True)
class Dialect:
    """Makes calls to servers that serve `model`, in the dialect `name`.

    completions: how a language model is called, where its tokenizer is known. outputs: the names
    of the outputs of a classification head.
    """

    name: str
    model: str
    completions: Completions | None = None
    outputs: tuple[str, ...] = ()

    def call(self, kind: type, batch: Sequence[Prepared], *, as_ids: bool = False) -> Call:
        """Make one call of `batch`, requests of one kind; `as_ids`: pairs as token ids."""
        if kind is PairScore:
            call = self._classify(batch) if as_ids else self._pairs(batch)
        elif kind is Embed:
            call = embeddings(batch)
        else:
            assert self.completions  # noqa: S101 - nothing is prepared without a tokenizer
            call = self.completions.call(kind, batch)
        return Call(call.path, {"model": self.model, **call.body}, call.read)

    def _pairs(self, batch: Sequence[Prepared]) -> Call:
        """Post one query with its documents."""
        way = PAIRS[self.name]
        documents = [one.request.document for one in batch]
        body = {way.query: batch[0].request.query, way.documents: documents, **way.raw}
        body |= {way.top: len(batch)} if way.top else {}

        def read(payload: Any) -> Replies:
            entries = in_order(payload if way.entries is None else payload[way.entries], batch)
            values = [number(entry[way.score]) for entry in entries]
            tokens = _tokens_read(batch, usage(payload, "prompt_tokens", "total_tokens"))
            both = zip(values, tokens, strict=True)
            return [sound((value,), Logits((value,), count)) for value, count in both]

        return Call(way.path, body, read)

    def _classify(self, batch: Sequence[Prepared]) -> Call:
        def read(payload: Any) -> Replies:
            rows = [tuple(map(number, e["probs"])) for e in in_order(payload["data"], batch)]
            require_raw(rows)
            both = zip(rows, batch, strict=True)
            return [sound(row, Logits(row, len(one.ids), names=named(row))) for row, one in both]

        def named(row: Sequence[float]) -> tuple[str, ...]:
            return self.outputs if len(self.outputs) == len(row) else ()

        body = {"input": [list(one.ids) for one in batch], "use_activation": False}
        return Call(CLASSIFY, body, read)


def _tokens_read(batch: Sequence[Prepared], total: int) -> list[int]:
    """Return the tokens of each pair: the tokenizer's, where they sum to the server's total.

    A server that puts pairs into a template reads more; each pair then has an equal share.
    """
    own, count = [len(one.ids) for one in batch], len(batch)
    if all(own) and total in (0, sum(own)):
        return own
    return [total * (i + 1) // count - total * i // count for i in range(count)]


def require_raw(rows: Sequence[Sequence[float]]) -> None:
    """Raise EngineFault where the outputs of a head, a row for each text, are probabilities.

    Raw outputs may sum to 1 by chance, so a sum that is only nearly 1 must be found in all of
    several rows.
    """
    tolerance = _COARSE_ROUNDING if len(rows) > 1 else _ROUNDING
    if rows and all(_sums_to_one(row, tolerance) for row in rows):
        raise EngineFault(
            "the server's /classify returns probabilities instead of raw outputs: it ignored "
            "use_activation=false; serve the model with vLLM 0.31 or later"
        )


def _sums_to_one(outputs: Sequence[float], tolerance: float) -> bool:
    shares = len(outputs) > 1 and all(0 <= value <= 1 for value in outputs)
    return shares and abs(math.fsum(outputs) - 1) <= tolerance
