"""One query's requests and replies, told again: answered from the reply cache, and from it alone.

The reranker's own flow runs once more, so what is shown is what was asked, in its rounds; nothing
is sent to a model.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from ..engines import Keys, decode
from ..errors import RerankBenchError
from ..reranking import Job, OpenFlow, Outcome, Reranked
from ..types import (
    AnyRequest,
    ContinuationScore,
    Engine,
    Failure,
    Fitted,
    Generate,
    Generation,
    LabelScores,
    Logits,
    PairScore,
    Prompt,
    Reply,
    Vectors,
)

if TYPE_CHECKING:
    from ..engines import ReplyCache

NOT_CACHED = "this reply is not in the cache"
_MENDED = ("repaired", "unparsable")
_MOST_ANSWERS = 200  # beyond them it is not found out which were repaired: the cost is quadratic
_BLANK = Generation("", finished=True)


@dataclass(frozen=True)
class Exchange:
    """A request and its reply, as text. `round` counts from 1; `request` is the request's type.

    prompt: messages stand under their roles. reply: where it is not `known`, why not. repaired: the
    reranker counted this answer as repaired or unusable.
    """

    round: int
    request: str
    prompt: str
    reply: str
    repaired: bool = False
    known: bool = True


@dataclass(frozen=True)
class Conversation:
    """All that one flow asked and was told, in order and with its round, and how it ended."""

    asked: tuple[tuple[int, AnyRequest, Reply | Failure], ...]
    outcome: Outcome

    def exchanges(self, mended: Iterable[int] = ()) -> tuple[Exchange, ...]:
        """Write it as text; `mended` are the places of answers that were repaired."""
        places = set(mended)
        return tuple(
            Exchange(
                number,
                type(request).__name__,
                prompt_text(request),
                reply_text(reply),
                repaired=place in places,
                known=not isinstance(reply, Failure),
            )
            for place, (number, request, reply) in enumerate(self.asked)
        )


@dataclass(frozen=True)
class ReplayEngine:
    """Answers what `cache` knows of an engine with this `identity`, and fails the rest.

    `cut` is the `fit` of an engine with the run's tokenizer.
    """

    identity: Mapping[str, str]
    cut: Callable[[Sequence[str], int | None], list[Fitted]]
    cache: ReplyCache
    name: str = "replay"

    def supports(self, asks: frozenset[type]) -> bool:
        """Say yes: what is not in the cache is a Failure."""
        return True

    def answer(self, requests: Sequence[AnyRequest]) -> Iterator[tuple[int, Reply | Failure]]:
        """Answer in order."""
        keys = Keys(self.identity).of(requests)
        found = self.cache.get(list(dict.fromkeys(keys)))
        for index, (request, key) in enumerate(zip(requests, keys, strict=True)):
            known = key in found
            yield index, decode(found[key], request) if known else Failure(NOT_CACHED)

    def fit(self, texts: Sequence[str], max_tokens: int | None) -> list[Fitted]:
        """Cut texts as `cut` does."""
        return self.cut(texts, max_tokens)

    def close(self) -> None:
        """Do nothing: the cache is its owner's."""


def converse(job: Job, engine: Engine) -> Conversation:
    """Run one flow and keep what is said; raises RerankerFault as `drive` does.

    A round with a Failure is the last, and its other replies are kept.
    """
    flow = OpenFlow(job)
    asked: list[tuple[int, AnyRequest, Reply | Failure]] = []
    number = 0
    while flow.outcome is None:
        number += 1
        replies = dict(engine.answer(flow.asked))
        for place, request in enumerate(flow.asked):
            asked.append((number, request, replies[place]))
            flow.tell(place, replies[place])
        flow.resume()
    return Conversation(tuple(asked), flow.outcome)


def find_mended(job: Job, engine: Engine, conversation: Conversation, *, total: int) -> list[int]:
    """Return the places of the `total` answers that the reranker counted as repaired or unusable.

    A reranker tells such counts of a whole query alone. So it is asked again and again, each time
    with one more of its answers as it was and blank text for all later ones. A blank is unusable,
    which is known; what else a further answer adds to the counts is that answer's own. Raises
    RerankBenchError where this does not add up to `total`, or beyond 200 answers.
    """
    answers = [p for p, (_, request, _) in enumerate(conversation.asked) if _written(request)]
    if len(answers) > _MOST_ANSWERS:
        raise RerankBenchError(f"there are more than {_MOST_ANSWERS}")
    sums = [_with_blanks(job, engine, kept) for kept in range(len(answers) + 1)]
    steps = [after - before for before, after in itertools.pairwise(sums)]
    if sums[0] != 0 or sums[-1] != total or not set(steps) <= {0, 1}:
        raise RerankBenchError("the counts do not add up answer by answer")
    return [place for place, step in zip(answers, steps, strict=True) if step]


def _with_blanks(job: Job, engine: Engine, kept: int) -> int:
    """Count mended answers where only the first `kept` are as they were, blanks not counted."""
    blanking = _Blanking(engine, kept)
    outcome = converse(job, blanking).outcome
    if not isinstance(outcome, Reranked):
        raise RerankBenchError(outcome.reason)
    return count_mended(outcome.counts) - blanking.blanks


def count_mended(counts: Mapping[str, int]) -> int:
    """How many answers a reranker had to repair, or could not use."""
    return sum(counts.get(name, 0) for name in _MENDED)


def _written(request: AnyRequest) -> bool:
    return isinstance(request, Generate)


class _Blanking:
    """An engine whose answers in words are blank after the first `kept`."""

    name = "blanking"

    def __init__(self, engine: Engine, kept: int) -> None:
        self.identity = engine.identity
        self.blanks = 0
        self._engine, self._kept = engine, kept

    def supports(self, asks: frozenset[type]) -> bool:
        return True

    def answer(self, requests: Sequence[AnyRequest]) -> Iterator[tuple[int, Reply | Failure]]:
        for index, reply in self._engine.answer(requests):
            if not _written(requests[index]):
                yield index, reply
            elif self._kept > 0:
                self._kept -= 1
                yield index, reply
            else:
                self.blanks += 1
                yield index, _BLANK

    def fit(self, texts: Sequence[str], max_tokens: int | None) -> list[Fitted]:
        return self._engine.fit(texts, max_tokens)

    def close(self) -> None:
        pass


# Writing requests and replies as text


def prompt_text(request: AnyRequest) -> str:
    """Write what a request asks: its prompt, or the texts it is about, field by field."""
    if isinstance(request, PairScore):
        return f"query: {request.query}\ndocument: {request.document}"
    prompt = getattr(request, "prompt", None)
    if not isinstance(prompt, Prompt):
        return _fields(request)
    continuation = getattr(request, "continuation", None)
    whole = _prompt(prompt)
    return whole if continuation is None else f"{whole}\n\ncontinuation:\n{continuation}"


def _prompt(prompt: Prompt) -> str:
    if prompt.text is not None:
        return prompt.text + prompt.prefill
    parts = [f"{message.role}:\n{message.text}" for message in prompt.messages]
    parts += [f"assistant:\n{prompt.prefill}"] if prompt.prefill else []
    return "\n\n".join(parts)


def _fields(value: Any) -> str:
    """Write a request or reply that came with somebody's own engine."""
    if not is_dataclass(value):
        return repr(value)
    return "\n".join(f"{f.name}: {getattr(value, f.name)}" for f in fields(value))


def reply_text(reply: Reply | Failure) -> str:
    """Write a reply: its text, its logits, or its labels with their natural-log probabilities."""
    match reply:
        case Failure():
            return reply.reason
        case Generation():
            return reply.text if reply.finished else f"{reply.text}\n{_cut_off(reply)}"
        case LabelScores():
            return "  ".join(f"{label} {value:.4f}" for label, value in reply.logprob.items())
        case Logits():
            return "  ".join(f"{value:.4f}" for value in reply.logits)
        case ContinuationScore():
            return f"{reply.logprob:.4f} over {reply.tokens} tokens"
        case Vectors():
            return " x ".join(map(str, reply.vectors.shape)) + " float32"
        case _:
            return _fields(reply)


def _cut_off(reply: Generation) -> str:
    return f"(not finished: cut off after {reply.output_tokens} tokens)"
