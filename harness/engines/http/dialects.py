"""The dialects of servers: which requests each answers, where, and in which form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ...types import Generate, Likelihood, NextToken, PairScore
from ..prepare import Prepared
from . import pairs
from .completions import COMPLETIONS, Completions
from .responses import Call, Made

_LANGUAGE = frozenset({NextToken, Likelihood, Generate})
KINDS: Mapping[str, frozenset[type]] = {
    "vllm": _LANGUAGE | {PairScore},
    "openai": _LANGUAGE,
    "tei": frozenset({PairScore}),
    "jina": frozenset({PairScore}),
    "cohere": frozenset({PairScore}),
}
"""Dialect -> the request types that a server of it can answer."""

AT_ONCE: Mapping[type, int] = {NextToken: 16, Likelihood: 16, Generate: 1, PairScore: 100}
"""Requests in one call. A text has a call of its own, so that it does not wait for a longer one."""


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
        if kind is PairScore and as_ids:
            path, made = pairs.CLASSIFY, pairs.token_ids(batch, self.outputs)
        elif kind is PairScore:
            way = pairs.PAIRS[self.name]
            path, made = way.path, pairs.texts(batch, way)
        else:
            path, made = COMPLETIONS, self._complete(kind)(batch)
        body, read = made
        return Call(path, {"model": self.model, **body}, read)

    def _complete(self, kind: type) -> Callable[[Sequence[Prepared]], Made]:
        made = self.completions
        assert made is not None  # noqa: S101 - nothing is prepared without a tokenizer
        return {NextToken: made.labels, Likelihood: made.likelihoods, Generate: made.text}[kind]
