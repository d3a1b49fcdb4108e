"""Engines without a model: any function as an engine, and one that answers from word overlap."""

from __future__ import annotations

import itertools
import math
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..types import (
    PASSAGES,
    Answers,
    Attend,
    Attention,
    ContinuationScore,
    Embed,
    Failure,
    Fitted,
    Fuse,
    FuseScore,
    Generate,
    Generation,
    Label,
    LabelScores,
    Likelihood,
    Logits,
    NextToken,
    PairScore,
    Prompt,
    Reply,
    Statistics,
    Vectors,
    batched,
)
from .fake_answers import answer_text, full_text, overlap_share, passages, query_overlap, words
from .hardware import machine

Handler = Callable[[Any], Reply | Failure]

_FAKE_DIM = 512
_PIECE = re.compile(r"\w+|\W")
_LOGPROB = math.log(0.9)


class FakeEngine:
    """An engine that answers each request with `handler(request)`, one after another.

    It counts nothing as cut and everything as supported, so any reranker can be tried on it. Texts
    are fitted by white-space words. `answered` counts what it was asked.
    """

    is_real = False

    def __init__(self, handler: Handler, *, name: str = "fake") -> None:
        self.name, self.exact_labels = name, True
        self.statistics = Statistics()
        self.pair_tokens: int | None = None
        self.hardware: Mapping[str, Any] = machine()
        self.identity: Mapping[str, str] = {"engine": name}
        self.answered = 0
        self._handler = handler

    def supports(self, kinds: frozenset[type]) -> bool:
        """Return True: a handler returns a Failure for what it cannot answer."""
        return True

    @batched
    def stream(self, requests: Sequence[Any]) -> Answers:
        """Answer what is ready, in order."""
        return self.answer(requests)

    def answer(self, requests: Sequence[Any]) -> Answers:
        """Answer in order; each reply is yielded before the next request is looked at."""
        for index, request in enumerate(requests):
            self.answered += 1
            yield index, self._handler(request)

    def fit(self, texts: Sequence[str], max_tokens: int | None) -> list[Fitted]:
        """Cut each text after its first `max_tokens` words, as `str.split` sees words."""
        return [_cut(text, max_tokens) for text in texts]

    def forget(self) -> None:
        """Do nothing: nothing is kept."""

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


def _cut(text: str, max_tokens: int | None) -> Fitted:
    if max_tokens is None:
        return Fitted(text)
    ends = [match.end() for match in re.finditer(r"\S+", text)]
    if len(ends) <= max_tokens:
        return Fitted(text, tokens=len(ends))
    kept = text[: ends[max_tokens - 1]] if max_tokens else ""
    return Fitted(kept, truncated=True, tokens=max_tokens)


@dataclass(frozen=True)
class FakeOptions:
    """Options of engine fake. model, adapter: may be named, and are ignored."""

    model: str | None = None
    adapter: str | None = None


class OverlapEngine(FakeEngine):
    """Word overlap, without a model: to try a reranker, not to judge one."""

    Options = FakeOptions

    def __init__(self, options: FakeOptions) -> None:
        super().__init__(overlap)
        self.identity = {**self.identity, "answers": "word overlap, version 2"}

    def supports(self, kinds: frozenset[type]) -> bool:
        """Return whether all types are built in."""
        return kinds <= _ANSWERS.keys()


def overlap(request: Any) -> Reply | Failure:
    """Answer any built-in request from the words its texts share: its numbers mean nothing.

    Labels that name passages of the prompt, or are as many, are judged by these; else the first
    label, or the last of grades, is preferred in proportion to the overlap of query and document.
    Texts are written in the form that the prompt asks for.
    """
    for kind, answer in _ANSWERS.items():
        if isinstance(request, kind):
            return answer(request)
    return Failure(f"the fake engine knows no {type(request).__name__}")


def _length(text: str) -> int:
    return len(text.split())


def _pair(request: PairScore) -> Logits:
    return Logits(
        (overlap_share(request.query, request.document),),
        prompt_tokens=_length(request.query) + _length(request.document),
    )


def _next_token(request: NextToken) -> LabelScores:
    weights = _weights(request)
    whole_weight = sum(weights.values())
    logprob: dict[Label, float] = {x: math.log(w / whole_weight) for x, w in weights.items()}
    logit: dict[Label, float] = {x: math.log(w) for x, w in weights.items()}
    return LabelScores(logprob, logit, prompt_tokens=_length(full_text(request.prompt)))


def _weights(request: NextToken) -> dict[Label, float]:
    """Weigh labels by the passages that they name, or that are as many, else by a judgement.

    A judgement prefers the first label, as `Yes` of Yes and No, and the last one of grades.
    """
    labels, found = request.labels, passages(request.prompt)
    named = {passage.label: passage.share for passage in found}
    if all(str(label).strip() in named for label in labels):
        shares = [named[str(label).strip()] for label in labels]
    elif len(found) == len(labels):
        shares = [passage.share for passage in found]
    else:
        share = query_overlap(request.prompt)
        shares = [share * step for step in range(1, len(labels) + 1)]
        if not _are_grades(labels):
            shares.reverse()
    return {label: math.exp(4 * share) for label, share in zip(labels, shares, strict=True)}


def _are_grades(labels: Sequence[Label]) -> bool:
    """Return whether labels are written numbers that rise, such as `0`, `1` and `2`."""
    numbers = [int(x) for x in labels if isinstance(x, str) and x.strip().isdecimal()]
    return len(numbers) == len(labels) and numbers == sorted(numbers)


def _generate(request: Generate) -> Generation:
    text = answer_text(request.prompt).removeprefix(request.prompt.prefill)
    return _generation(text, _length(full_text(request.prompt)))


def _generation(text: str, read: int) -> Generation:
    """Return a text whose tokens are words and single other characters, all as probable."""
    pieces = tuple(_PIECE.findall(text))
    return Generation(
        text,
        finished=True,
        logprobs=(_LOGPROB,) * len(pieces),
        prompt_tokens=read,
        output_tokens=len(pieces),
        pieces=pieces,
    )


def _likelihood(request: Likelihood) -> ContinuationScore:
    text, tokens = full_text(request.prompt), _length(request.continuation)
    share = overlap_share(request.continuation, text)
    return ContinuationScore(tokens * (share - 1.0), tokens, prompt_tokens=_length(text) + tokens)


def _attend(request: Attend) -> Attention:
    """Weigh each word of a passage by whether the end of the prompt holds it."""

    def weights(prompt: Prompt) -> tuple[tuple[float, ...], ...]:
        end = full_text(prompt).rpartition(PASSAGES)[2]
        return tuple(
            tuple(overlap_share(word, end) for word in passage.split())
            for passage in request.passages
        )

    tokens = sum(map(_length, request.passages)) + sum(
        _length(full_text(p)) for p in request.prompts
    )
    return Attention(tuple(weights(prompt) for prompt in request.prompts), prompt_tokens=tokens)


def _fused(prompts: Sequence[Prompt]) -> list[float]:
    """Overlap of what is a prompt's own with what all prompts begin with."""
    texts = [full_text(prompt) for prompt in prompts]
    first, last = min(texts, default=""), max(texts, default="")
    agree = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    start = "".join(letter for letter, _ in agree)
    return [overlap_share(start, text[len(start) :]) for text in texts]


def _fuse(request: Fuse) -> Generation:
    """Rank the prompts: `[2] > [1]` where they have identifiers in brackets, else the best last."""
    shares = _fused(request.prompts)
    ranked = sorted(range(len(shares)), key=lambda place: -shares[place])
    if "[1]" in full_text(request.prompts[0]):
        text = " > ".join(f"[{place + 1}]" for place in ranked)
    else:
        text = " ".join(str(place + 1) for place in reversed(ranked))
    read = sum(_length(full_text(prompt)) for prompt in request.prompts)
    return _generation(text, read)


def _fuse_score(request: FuseScore) -> Logits:
    read = sum(_length(full_text(prompt)) for prompt in request.prompts)
    return Logits(tuple(_fused(request.prompts)), prompt_tokens=read)


def _embed(request: Embed) -> Vectors:
    """Count the words before each named token, or of the whole text, in 512 numbers."""
    import numpy as np

    text = full_text(request.prompt)
    parts = [text]
    if not isinstance(request.pooling, str):
        parts = re.split("|".join(map(re.escape, request.pooling)), text)[:-1]
    found = np.zeros((max(len(parts), 1), _FAKE_DIM), dtype=np.float32)
    for row, part in zip(found, parts, strict=False):
        row[[zlib.crc32(word.encode()) % _FAKE_DIM for word in sorted(words(part))]] = 1
    return Vectors.of(found, prompt_tokens=_length(text))


_ANSWERS: Mapping[type, Callable[[Any], Reply]] = {
    PairScore: _pair,
    NextToken: _next_token,
    Generate: _generate,
    Likelihood: _likelihood,
    Attend: _attend,
    Fuse: _fuse,
    FuseScore: _fuse_score,
    Embed: _embed,
}
