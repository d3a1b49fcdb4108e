"""The nouns of rerank-bench: frozen values that import nothing but the standard library.

A reranker is a conversation. For one query it yields requests, is sent the replies in the same
order, and at the end returns one score per candidate. It does no input or output and owns no model:

    class YesNo:
        def rerank(self, candidates: Candidates) -> Flow:
            prompts = [self.prompt(candidates.query, d.text) for d in candidates.documents]
            replies = yield from ask([NextToken(p, ("Yes", "No")) for p in prompts])
            return [r.logprob["Yes"] - r.logprob["No"] for r in replies]
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias, TypeVar, runtime_checkable

Label: TypeAlias = str | int
"""An answer that is one token in its context: its text, or its token id."""


@dataclass(frozen=True, slots=True)
class Document:
    """One candidate's text. `language` is a BCP 47 or FLORES code where the task knows it."""

    doc_id: str
    text: str
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Candidates:
    """One query and its candidates in first-stage order, best first.

    `signals` maps a name to one float per document: `first_stage` where the first stage's scores
    are known. Texts are cut to the reranker's budget; `instruction` is the task's, if asked for.
    """

    task: str
    query_id: str
    query: str
    documents: tuple[Document, ...]
    instruction: str | None = None
    query_language: str | None = None
    signals: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


class Message(NamedTuple):
    """One turn of a chat: role `system`, `user` or `assistant`, and its text."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a language model reads: chat messages, or plain text.

    messages: rendered by the model's chat template, with a generation prompt.
    text: tokenised with special tokens parsed; a BOS token is added only if the tokenizer adds one.
    prefill: the beginning of the answer, appended verbatim.
    thinking: let a reasoning model think first; otherwise its think block is closed before the
        answer.
    joints: character offsets in `text` at which it is split; the parts are tokenised apart, so that
        no token spans a joint.
    """

    messages: tuple[Message, ...] = ()
    text: str | None = None
    prefill: str = ""
    thinking: bool = False
    joints: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Logits:
    """The raw outputs of a scoring head, before any activation; usually one number.

    names: what the checkpoint calls its outputs (`id2label`), where there are two or more.
    """

    logits: tuple[float, ...]
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelScores:
    """Natural-log probabilities of the labels at the next position.

    Taken over the whole vocabulary at temperature 1 with nothing masked: differences are those of
    logits. `logit` is None where an engine only knows probabilities. A label that an engine could
    not find is not there; `bound` is the most that its log-probability can be. An engine that was
    given a head for the labels alone takes the probabilities over them, and says so in
    `over_labels`; the differences are the same.
    """

    logprob: Mapping[Label, float]
    logit: Mapping[Label, float] | None = None
    prompt_tokens: int = 0
    output_tokens: int = 1
    cached_tokens: int = 0
    over_labels: bool = False
    bound: float | None = None

    def of(self, label: Label) -> float:
        """Return the log-probability of `label`, or the upper bound of a label that is missing.

        Where nothing is known of a missing label, it is less than any that was found: -10,000.
        """
        missing = _LEAST_LOGPROB if self.bound is None else self.bound
        return max(self.logprob.get(label, missing), _LEAST_LOGPROB)


_LEAST_LOGPROB = -1e4


@dataclass(frozen=True, slots=True)
class Generation:
    """Generated text.

    finished: False when `max_tokens` cut it.
    tokens, pieces, logprobs: ids, texts and natural-log probabilities of the generated tokens;
        empty where an engine does not report them. A piece may hold part of a character.
    """

    text: str
    finished: bool
    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    pieces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ContinuationScore:
    """Sum of the natural-log probabilities of a continuation's `tokens` tokens."""

    logprob: float
    tokens: int
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


class Reply(Protocol):
    """A frozen dataclass that answers a request, with the tokens that the model spent on it.

    prompt_tokens: tokens read. output_tokens: tokens written. cached_tokens: those of the tokens
    read that a prefix cache held.
    """

    @property
    def prompt_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def cached_tokens(self) -> int: ...


T_co = TypeVar("T_co", bound=Reply, covariant=True)


class Request(Protocol[T_co]):
    """A frozen, hashable value that an engine can answer; `reply` is the type of the answer."""

    @property
    def reply(self) -> type[T_co]: ...


AnyRequest: TypeAlias = Request[Any]


@dataclass(frozen=True, slots=True)
class PairScore:
    """Score a query and a document together with a model's own pair head."""

    query: str
    document: str

    reply: ClassVar[type[Logits]] = Logits


@dataclass(frozen=True, slots=True)
class NextToken:
    """Ask how probable each label is as the next token after the prompt."""

    prompt: Prompt
    labels: tuple[Label, ...]

    reply: ClassVar[type[LabelScores]] = LabelScores


@dataclass(frozen=True, slots=True)
class Generate:
    """Ask for text, greedily at temperature 0. Another `sample` asks the same once more.

    `pattern` is a regular expression that the text must match, for engines that can force it.
    """

    prompt: Prompt
    max_tokens: int
    stop: tuple[str, ...] = ()
    pattern: str | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    sample: int = 0

    reply: ClassVar[type[Generation]] = Generation


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Ask how probable a continuation is; the two are tokenised apart and joined."""

    prompt: Prompt
    continuation: str

    reply: ClassVar[type[ContinuationScore]] = ContinuationScore


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that could not be served, and why. Never a reply, never text to be parsed."""

    reason: str


@dataclass(frozen=True, slots=True)
class Fitted:
    """A text cut to a budget, special tokens made harmless; `tokens` of it are left, if counted."""

    text: str
    truncated: bool = False
    neutralised: int = 0
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores with what the flow counted.

    counts: `repaired`, `unparsable`, `missing_labels`, `escaped_ids`, ….
    repairs: indices, from 0 and over all rounds, of the flow's requests whose replies were repaired
        or unparsable.
    """

    scores: Sequence[float]
    counts: Mapping[str, int] = field(default_factory=dict)
    repairs: Sequence[int] = ()


Scores: TypeAlias = Sequence[float] | Scored
Flow: TypeAlias = Generator[Sequence[AnyRequest], Sequence[Any], Scores]


@runtime_checkable
class Reranker(Protocol):
    """A method with its options. Model-free methods return their scores outright.

    Its optional attributes are those of `rerank_bench.reranking.Declared`.
    """

    def rerank(self, candidates: Candidates) -> Flow | Scores: ...


@dataclass(frozen=True, slots=True)
class Statistics:
    """What an engine has measured since it was opened, and what it runs with.

    loading_seconds: wall time of loading models and waiting for servers; not part of answering.
    work_seconds: wall time of the busiest process that answers; 0 where it is not measured.
    in_effect: the settings in effect, as JSON values; a run's manifest stores them as `engine`.
    config: the model's `config.json`, from which the operations of a call are computed; None where
        it is not known or does not determine them.
    leading_tokens: how many tokens the tokenizer puts before a text; None where not known.
    """

    loading_seconds: float = 0.0
    work_seconds: float = 0.0
    in_effect: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] | None = None
    leading_tokens: int | None = None


Answers: TypeAlias = Iterator[tuple[int, Reply | Failure]]
"""Replies by the index of their request."""


class Engine(Protocol):
    """Answers requests. Opening one is cheap; the model is loaded at the first request.

    name: the name it is chosen by.
    is_real: False for a stand-in whose numbers mean nothing.
    exact_labels: True if a reply to `NextToken` always holds all labels; False for a server that
        reports its most probable tokens only.
    hardware: what the model runs on, as JSON values, for the manifest: `gpu` (name), `gpus`
        (number in use), `processor`, `cores`, or `servers`.
    identity: everything that a reply depends on, as printable text; it keys the reply cache.
    statistics: times and settings so far. It is read after every reply, so it must be cheap.
    """

    @property
    def name(self) -> str: ...
    @property
    def is_real(self) -> bool: ...
    @property
    def exact_labels(self) -> bool: ...
    @property
    def hardware(self) -> Mapping[str, Any]: ...
    @property
    def identity(self) -> Mapping[str, str]: ...
    @property
    def statistics(self) -> Statistics: ...

    def supports(self, kinds: frozenset[type]) -> bool:
        """Return whether all of these request types can be answered; load no model for it."""
        ...

    def fit(self, texts: Sequence[str], max_tokens: int | None) -> list[Fitted]:
        """Neutralise special tokens in `texts` and cut each text to `max_tokens` tokens."""
        ...

    def stream(self, requests: Iterator[AnyRequest | None]) -> Answers:
        """Answer requests, each as soon as its reply is known, in any order.

        requests: drawn one by one, as the engine has room; the first has index 0. A None, which has
            no index, means that no request is ready before the engine yields another reply.

        Every request is answered once, by a reply or a Failure. Raises EngineFault for an error
        that would fail every request of its kind.
        """
        ...

    def forget(self) -> None:
        """Drop what was kept of earlier requests: a repeated run must cost what the first did."""
        ...

    def close(self) -> None:
        """Release all memory and processes; a later request starts the engine again."""
        ...


E = TypeVar("E")


def batched(
    answer: Callable[[E, Sequence[AnyRequest]], Answers],
) -> Callable[[E, Iterator[AnyRequest | None]], Answers]:
    """Make `Engine.stream` of a method that answers a list of requests.

    answer: a method that takes the requests that are ready and yields (index in the list, reply).
    """

    @functools.wraps(answer)
    def stream(self: E, requests: Iterator[AnyRequest | None]) -> Answers:
        first = 0
        while batch := list(ready(requests)):
            for index, reply in answer(self, batch):
                yield first + index, reply
            first += len(batch)

    return stream


def ready(requests: Iterator[E | None]) -> Iterator[E]:
    """Yield the requests of `Engine.stream` that are ready now."""
    for request in requests:
        if request is None:
            return
        yield request


R = TypeVar("R", bound=Reply)


def ask(
    requests: Sequence[Request[R]],
) -> Generator[Sequence[Request[R]], Sequence[Any], Sequence[R]]:
    """Yield `requests` and return their replies, in order and typed; of nothing comes nothing."""
    if not requests:
        return ()
    replies: Sequence[R] = yield requests
    return replies
