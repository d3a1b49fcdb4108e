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

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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
    """Generated text. `finished` is False when `max_tokens` cut it; `tokens` are ids."""

    text: str
    finished: bool
    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ContinuationScore:
    """Sum of the natural-log probabilities of a continuation's `tokens` tokens."""

    logprob: float
    tokens: int
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """Embeddings, float32, shape (k, dim)."""

    vectors: NDArray[np.float32]
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


class Reply(Protocol):
    """Tokens that the model read and wrote; maybe also `cached_tokens`: those read before."""

    @property
    def prompt_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...


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
class Score:
    """Score one rendered sequence with a classification head."""

    prompt: Prompt

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
class Embed:
    """Ask for vectors. Pooling `tokens` gives one vector per token, the others one in all.

    `eos` appends the tokenizer's end token before pooling, where a model was trained so.
    """

    prompt: Prompt
    pooling: Literal["last", "mean", "cls", "tokens"] = "mean"
    normalise: bool = True
    eos: bool = False

    reply: ClassVar[type[Vectors]] = Vectors


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


class Reranker(Protocol):
    """A method with its options. Model-free methods return their scores outright.

    Optional attributes: `asks` (the request types it may yield), `max_doc_tokens`,
    `max_query_tokens`, `max_pair_tokens`, `max_window_tokens` (budgets of the texts it is given),
    `takes_instruction` (False if it reads none), `fixed_labels` (all labels it may ever ask for, so
    that an engine can load a head for them), `head` (how pairs are scored).
    """

    def rerank(self, candidates: Candidates) -> Flow | Scores: ...


class Engine(Protocol):
    """That which answers requests. Building one is cheap; the model loads at its first use.

    `identity` is everything a reply depends on, flat and printable: it keys the cache. Optional:
    `stream(requests)` answers by index in the order drawn and draws as it has room; a None among
    them means that none is ready before another reply is taken. `startup_seconds`: what loading the
    model has taken so far, kept apart from answering.
    """

    @property
    def name(self) -> str: ...
    @property
    def identity(self) -> Mapping[str, str]: ...
    def supports(self, asks: frozenset[type]) -> bool: ...
    def answer(self, requests: Sequence[AnyRequest]) -> Iterator[tuple[int, Reply | Failure]]: ...
    def fit(self, texts: Sequence[str], max_tokens: int | None) -> list[Fitted]: ...
    def close(self) -> None: ...


R = TypeVar("R", bound=Reply)


def ask(
    requests: Sequence[Request[R]],
) -> Generator[Sequence[Request[R]], Sequence[Any], Sequence[R]]:
    """Yield `requests` and return their replies, in order and typed; of nothing comes nothing."""
    if not requests:
        return ()
    replies: Sequence[R] = yield requests
    return replies
