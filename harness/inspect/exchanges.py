"""Record the requests and replies of flows that are run again, and write them as text.

Replies come from the reply cache alone; nothing is sent to a model.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from ..engines import FakeEngine, Keys, decode
from ..types import (
    PASSAGES,
    Answers,
    AnyRequest,
    Attend,
    Candidates,
    ContinuationScore,
    Failure,
    Fitted,
    Flow,
    Fuse,
    FuseScore,
    Generation,
    LabelScores,
    Likelihood,
    Logits,
    Prompt,
    Reply,
    Reranker,
    Scored,
    Scores,
    Vectors,
)

if TYPE_CHECKING:
    from ..engines import ReplyCache
    from .restore import Cut

NOT_CACHED = "this reply is not in the cache"


@dataclass(frozen=True)
class Exchange:
    """A request and its reply as text.

    round: from 1. request: the name of the request's type. prompt: messages under their roles.
    reply: the reason of the failure if it is not `known`. repaired: the reranker reported that it
    repaired the reply or could not use it. stage: the label of a cascade's stage; else empty.
    """

    round: int
    request: str
    prompt: str
    reply: str
    repaired: bool = False
    known: bool = True
    stage: str = ""


class ReplayEngine(FakeEngine):
    """An engine that answers from the reply cache and fails every request not in it.

    identity: of the engine that ran, which is part of the cache keys. cut: the `fit` of that
    engine. pair_tokens: those that it had. replies: all replies so far.
    """

    def __init__(
        self,
        identity: Mapping[str, str],
        cut: Cut,
        cache: ReplyCache,
        pair_tokens: int | None = None,
    ) -> None:
        super().__init__(lambda request: Failure(NOT_CACHED), name="replay")
        self.pair_tokens = pair_tokens
        self.identity = identity
        self.replies: dict[AnyRequest, Reply | Failure] = {}
        self._cut, self._cache = cut, cache

    def answer(self, requests: Sequence[AnyRequest]) -> Answers:
        """Yield the replies in the order of the requests."""
        keys = Keys(self.identity).of(requests)
        found = self._cache.get(list(dict.fromkeys(keys)))
        for index, (request, key) in enumerate(zip(requests, keys, strict=True)):
            known = key in found
            reply = decode(found[key], request) if known else Failure(NOT_CACHED)
            self.replies[request] = reply
            yield index, reply

    def fit(self, texts: Sequence[str], max_tokens: int | None) -> list[Fitted]:
        """Cut texts as the engine that ran did."""
        return self._cut(texts, max_tokens)


class Recorder:
    """A reranker that records the rounds of requests of another, and the repairs it reports."""

    def __init__(self, reranker: Reranker) -> None:
        self.rounds: list[Sequence[AnyRequest]] = []
        self.repairs: Sequence[int] = ()
        self._reranker = reranker

    def rerank(self, candidates: Candidates) -> Flow:
        """Run the other reranker."""
        result = self._reranker.rerank(candidates)
        scores = (yield from self._record(result)) if isinstance(result, Generator) else result
        self.repairs = scores.repairs if isinstance(scores, Scored) else ()
        return scores

    def _record(self, flow: Flow) -> Flow:
        replies: Any = None  # a generator is started by sending it None
        while True:
            try:
                requests = list(flow.send(replies))
            except StopIteration as end:
                scores: Scores = end.value
                return scores
            if requests:
                self.rounds.append(requests)
            replies = yield requests

    def exchanges(
        self, replies: Mapping[AnyRequest, Reply | Failure], *, stage: str = ""
    ) -> Iterator[Exchange]:
        """Yield all requests in order with their `replies`."""
        place = itertools.count()
        for number, requests in enumerate(self.rounds, 1):
            for request in requests:
                yield Exchange(
                    number,
                    type(request).__name__,
                    prompt_text(request),
                    _reply_text(replies[request]),
                    repaired=next(place) in self.repairs,
                    known=not isinstance(replies[request], Failure),
                    stage=stage,
                )


# Texts


def prompt_text(request: AnyRequest) -> str:
    """Return a request's prompt, with its continuation if it has one, or its fields."""
    match request:
        case Likelihood():
            return f"{_prompt(request.prompt)}\n\ncontinuation:\n{request.continuation}"
        case Attend():
            return "\n\n".join(_attended(request))
        case Fuse() | FuseScore():
            return "\n\n".join(map(_prompt, request.prompts))
        case object(prompt=Prompt() as prompt):
            return _prompt(prompt)
        case _:
            return _fields(request)


def _attended(request: Attend) -> Iterator[str]:
    """Yield the first prompt with its passages, and what follows them in the others."""
    between = request.separator
    passages = between + between.join(request.passages) + between
    first, *others = map(_prompt, request.prompts)
    yield first.replace(PASSAGES, passages)
    for number, prompt in enumerate(others, 2):
        yield f"the end of prompt {number}:\n{prompt.rpartition(PASSAGES)[2]}"
    if request.heads:
        yield f"heads: {request.heads}"


def _prompt(prompt: Prompt) -> str:
    if prompt.text is not None:
        return prompt.text + prompt.prefill
    parts = [f"{message.role}:\n{message.text}" for message in prompt.messages]
    parts += [f"assistant:\n{prompt.prefill}"] if prompt.prefill else []
    return "\n\n".join(parts)


def _fields(value: Any) -> str:
    """Return the fields of a request or reply that are set, one per line."""
    if not is_dataclass(value):
        return repr(value)
    found = {f.name: getattr(value, f.name) for f in fields(value)}
    return "\n".join(f"{name}: {what}" for name, what in found.items() if what is not None)


def _reply_text(reply: Reply | Failure) -> str:
    """Return a reply's text, its logits, or its labels with natural-log probabilities."""
    match reply:
        case Failure():
            return reply.reason
        case Generation():
            cut_off = f"\n(not finished: cut off after {reply.output_tokens} tokens)"
            return reply.text + ("" if reply.finished else cut_off)
        case LabelScores():
            return "  ".join(f"{label} {value:.4f}" for label, value in reply.logprob.items())
        case Logits():
            return "  ".join(f"{value:.4f}" for value in reply.logits)
        case ContinuationScore():
            return f"{reply.logprob:.4f} over {reply.tokens} tokens"
        case Vectors():
            return f"vectors, shape {reply.array.shape}"
        case _:
            return _fields(reply)
