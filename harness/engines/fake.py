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
from .hardware import machine

Handler = Callable[[Any], Reply | Failure]

_FAKE_DIM = 512
_WORD = re.compile(r"\w+")
_PASSAGE = re.compile(r"^\[(\w+)\]\s?(.*?)(?=^\[\w+\]|\Z)", re.MULTILINE | re.DOTALL)


class FakeEngine:
    """An engine that answers each request with `handler(request)`, one after another.

    It counts nothing as cut and everything as supported, so any reranker can be tried on it. Texts
    are fitted by white-space words. `answered` counts what it was asked.
    """

    is_real = False

    def __init__(self, handler: Handler, *, name: str = "fake") -> None:
        self.name, self.exact_labels = name, True
        self.statistics = Statistics()
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
        """Cut each text behind its first `max_tokens` words, as `str.split` sees words."""
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
        self.identity = {**self.identity, "answers": "word overlap, version 1"}

    def supports(self, kinds: frozenset[type]) -> bool:
        """Return whether all types are built in."""
        return kinds <= _ANSWERS.keys()


def overlap(request: Any) -> Reply | Failure:
    """Answer any built-in request from the words its texts share: its numbers mean nothing.

    Label requests prefer the first label in proportion to the overlap of the prompt's longest line
    with the rest, unless the labels name bracketed passages: then each passage is judged.
    """
    for kind, answer in _ANSWERS.items():
        if isinstance(request, kind):
            return answer(request)
    return Failure(f"the fake engine knows no {type(request).__name__}")


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.casefold()))


def _shared(query: str, document: str) -> float:
    """Share of the query's words that occur in the document, from 0 to 1."""
    wanted = _words(query)
    return len(wanted & _words(document)) / len(wanted) if wanted else 0.0


def _whole(prompt: Prompt) -> str:
    return prompt.text if prompt.text is not None else "\n".join(m.text for m in prompt.messages)


def _length(text: str) -> int:
    return len(text.split())


def _passages(prompt: Prompt) -> dict[str, float]:
    """Overlap of each bracketed passage with the rest of the prompt, by its identifier."""
    whole = _whole(prompt)
    passages = dict(_PASSAGE.findall(whole))
    rest = _PASSAGE.sub("", whole)
    return {name: _shared(text, rest) for name, text in passages.items()}


def _judgement(prompt: Prompt) -> float:
    lines = [line for line in _whole(prompt).splitlines() if line.strip()]
    longest = max(lines, key=len, default="")
    return _shared("\n".join(line for line in lines if line is not longest), longest)


def _pair(request: PairScore) -> Logits:
    return Logits(
        (_shared(request.query, request.document),),
        prompt_tokens=_length(request.query) + _length(request.document),
    )


def _next_token(request: NextToken) -> LabelScores:
    passages = _passages(request.prompt)
    if all(label in passages for label in request.labels):
        weights = {label: math.exp(4 * passages[str(label)]) for label in request.labels}
    else:
        share = _judgement(request.prompt)
        falling = range(len(request.labels), 0, -1)
        weights = {
            label: math.exp(4 * share * step)
            for label, step in zip(request.labels, falling, strict=True)
        }
    whole = sum(weights.values())
    logprob: dict[Label, float] = {label: math.log(w / whole) for label, w in weights.items()}
    logit: dict[Label, float] = {label: math.log(w) for label, w in weights.items()}
    return LabelScores(logprob, logit, prompt_tokens=_length(_whole(request.prompt)))


def _generate(request: Generate) -> Generation:
    passages = _passages(request.prompt)
    ranked = sorted(passages, key=lambda name: -passages[name])
    text = " > ".join(f"[{name}]" for name in ranked)
    text = text.removeprefix(request.prompt.prefill)
    read, written = _length(_whole(request.prompt)), _length(text)
    return Generation(text, finished=True, prompt_tokens=read, output_tokens=written)


def _likelihood(request: Likelihood) -> ContinuationScore:
    whole, tokens = _whole(request.prompt), _length(request.continuation)
    share = _shared(request.continuation, whole)
    return ContinuationScore(tokens * (share - 1.0), tokens, prompt_tokens=_length(whole) + tokens)


def _attend(request: Attend) -> Attention:
    """Weigh each word of a passage by whether the end of the prompt holds it."""

    def weights(prompt: Prompt) -> tuple[tuple[float, ...], ...]:
        end = _whole(prompt).rpartition(PASSAGES)[2]
        return tuple(
            tuple(_shared(word, end) for word in passage.split()) for passage in request.passages
        )

    tokens = sum(map(_length, request.passages)) + sum(_length(_whole(p)) for p in request.prompts)
    return Attention(tuple(weights(prompt) for prompt in request.prompts), prompt_tokens=tokens)


def _fused(prompts: Sequence[Prompt]) -> list[float]:
    """Overlap of what is a prompt's own with what all prompts begin with."""
    texts = [_whole(prompt) for prompt in prompts]
    first, last = min(texts, default=""), max(texts, default="")
    agree = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    shared = "".join(letter for letter, _ in agree)
    return [_shared(shared, text[len(shared) :]) for text in texts]


def _fuse(request: Fuse) -> Generation:
    """Rank the prompts: `[2] > [1]` where they have identifiers in brackets, else the best last."""
    shares = _fused(request.prompts)
    ranked = sorted(range(len(shares)), key=lambda place: -shares[place])
    if "[1]" in _whole(request.prompts[0]):
        text = " > ".join(f"[{place + 1}]" for place in ranked)
    else:
        text = " ".join(str(place + 1) for place in reversed(ranked))
    read = sum(_length(_whole(prompt)) for prompt in request.prompts)
    return Generation(text, finished=True, prompt_tokens=read, output_tokens=_length(text))


def _fuse_score(request: FuseScore) -> Logits:
    read = sum(_length(_whole(prompt)) for prompt in request.prompts)
    return Logits(tuple(_fused(request.prompts)), prompt_tokens=read)


def _embed(request: Embed) -> Vectors:
    """Count the words before each named token, or of the whole text, in 512 numbers."""
    import numpy as np

    whole = _whole(request.prompt)
    parts = [whole]
    if not isinstance(request.pooling, str):
        parts = re.split("|".join(map(re.escape, request.pooling)), whole)[:-1]
    found = np.zeros((max(len(parts), 1), _FAKE_DIM), dtype=np.float32)
    for row, part in zip(found, parts, strict=False):
        row[[zlib.crc32(word.encode()) % _FAKE_DIM for word in sorted(_words(part))]] = 1
    return Vectors.of(found, prompt_tokens=_length(whole))


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
