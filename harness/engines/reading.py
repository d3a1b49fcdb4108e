"""Requests into what a served model is asked, and what it told into replies."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import EngineFault
from ..types import (
    ContinuationScore,
    Embed,
    Failure,
    Generate,
    Generation,
    Label,
    LabelScores,
    Likelihood,
    Logits,
    NextToken,
    PairScore,
    Score,
    Vectors,
)
from .asks import MOST_LABELS, Ask, Told
from .batches import Answer, Work, sound
from .tokens import Tokens


@dataclass(frozen=True)
class Reading:
    """What is needed beside a work.

    tokens: the tokenizer. ends: the end tokens. label_head: token ids of a head for labels alone.
    names: what the checkpoint calls the outputs of its classification head.
    """

    tokens: Tokens
    ends: tuple[int, ...] = ()
    label_head: tuple[int, ...] = ()
    names: tuple[str, ...] = ()

    def ask(self, kind: type, work: Work) -> Ask:
        """What the worker is asked for a work of `kind`."""
        return _ASKS[kind](self, work)

    def reply(self, kind: type, work: Work, told: Told | str) -> Answer:
        """The reply to a work of `kind`; a string is the reason of a failure."""
        if isinstance(told, str):
            return Failure(told)
        return sound(told.values, _REPLIES[kind](self, work, told))


def _ask_labels(reading: Reading, work: Work) -> Ask:
    if reading.label_head:
        strangers = set(work.request.values()) - set(reading.label_head)
        if strangers:
            raise EngineFault(
                f"token {min(strangers)} is no label of the head: leave out head=labels"
            )
        return Ask("logits", work.ids)
    if len(work.request) > MOST_LABELS:
        raise EngineFault(f"{len(work.request)} labels, but vLLM reads {MOST_LABELS} at once")
    return Ask("labels", work.ids, labels=tuple(work.request.values()))


def _ask_text(reading: Reading, work: Work) -> Ask:
    request: Generate = work.request
    return Ask(
        "text",
        work.ids,
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        seed=seed_of(request),
        stop=request.stop,
        stop_ids=reading.ends,
        pattern=request.pattern,
    )


def seed_of(request: Generate) -> int | None:
    """A seed that is the request's own, so that neither batch nor neighbours matter."""
    if request.temperature == 0:
        return None
    return int.from_bytes(hashlib.sha256(repr(request).encode()).digest()[:8]) >> 1


def _ask_likelihood(reading: Reading, work: Work) -> Ask:
    return Ask("likelihood", work.ids, ending=len(work.request))


def _ask_logits(reading: Reading, work: Work) -> Ask:
    types = work.types
    return Ask("logits", work.ids, second=None if types is None else second_segment(types))


def second_segment(types: Sequence[int]) -> int:
    """Where the second segment begins; the length where there is none."""
    return list(types).index(1) if 1 in types else len(types)


def _ask_vectors(reading: Reading, work: Work) -> Ask:
    # Works for late interaction ask for all tokens and have no request.
    return Ask("vectors", work.ids, pooling=getattr(work.request, "pooling", "tokens"))


def _labels(reading: Reading, work: Work, told: Told) -> LabelScores:
    found: Mapping[Label, int] = work.request
    if not reading.label_head:
        logprob = dict(zip(found, told.values, strict=True))
        return LabelScores(logprob, None, len(work.ids), 1, told.cached)
    logits = dict(zip(reading.label_head, told.values, strict=True))
    logit = {label: logits[token] for label, token in found.items()}
    return LabelScores(_log_softmax(logit), logit, len(work.ids), 1, told.cached, over_labels=True)


def _log_softmax(logit: Mapping[Label, float]) -> dict[Label, float]:
    import numpy as np

    whole = float(np.logaddexp.reduce(list(logit.values())))
    return {label: value - whole for label, value in logit.items()}


def _generation(reading: Reading, work: Work, told: Told) -> Generation:
    text = reading.tokens.text(told.tokens, stop=work.request.stop)
    read, written = len(work.ids), len(told.tokens)
    return Generation(text, told.finished, told.tokens, told.values, read, written, told.cached)


def _continuation(reading: Reading, work: Work, told: Told) -> ContinuationScore:
    (total,) = told.values
    return ContinuationScore(total, len(work.request), len(work.ids), 0, told.cached)


def _logits(reading: Reading, work: Work, told: Told) -> Logits:
    names = reading.names if len(told.values) == len(reading.names) else ()
    return Logits(told.values, len(work.ids), 0, told.cached, names)


def _vectors(reading: Reading, work: Work, told: Told) -> Vectors:
    import numpy as np

    vectors = told.vectors
    if getattr(work.request, "normalise", False):
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return Vectors(vectors, len(work.ids), 0, told.cached)


_ASKS: Mapping[type, Callable[[Reading, Work], Ask]] = {
    NextToken: _ask_labels,
    Generate: _ask_text,
    Likelihood: _ask_likelihood,
    PairScore: _ask_logits,
    Score: _ask_logits,
    Embed: _ask_vectors,
}
_REPLIES: Mapping[type, Callable[[Reading, Work, Told], Any]] = {
    NextToken: _labels,
    Generate: _generation,
    Likelihood: _continuation,
    PairScore: _logits,
    Score: _logits,
    Embed: _vectors,
}
