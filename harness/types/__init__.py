"""The types of rerank-bench: frozen values that import nothing but the standard library.

For one query a reranker yields requests, is sent the replies in the same order, and at the end
returns one score per candidate. It does no input or output and owns no model:

    class YesNo:
        def rerank(self, candidates: Candidates) -> Flow:
            prompts = [self.prompt(candidates.query, d.text) for d in candidates.documents]
            replies = yield from ask([NextToken(p, ("Yes", "No")) for p in prompts])
            return [r.logprob["Yes"] - r.logprob["No"] for r in replies]
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeAlias, TypeVar, runtime_checkable

from .engine import Answers, Engine, Fitted, Statistics, batched, ready
from .replies import (
    AnyRequest,
    Attention,
    ContinuationScore,
    Failure,
    Generation,
    LabelScores,
    Logits,
    Reply,
    Request,
    Vectors,
)
from .texts import Candidates, Document, Label, Message, Prompt

__all__ = [
    "PASSAGES", "Answers", "AnyRequest", "Attend", "Attention", "Candidates",
    "ContinuationScore", "Document", "Embed", "Engine", "Failure", "Fitted", "Flow", "Fuse",
    "FuseScore", "Generate", "Generation", "Label", "LabelScores", "Likelihood", "Logits",
    "Message", "NextToken", "PairScore", "Pooling", "Prompt", "Reply", "Request", "Reranker",
    "Scored", "Scores", "Statistics", "Vectors", "ask", "batched", "ready",
]  # fmt: skip

# Requests are in this module, as its name is part of their keys in the reply cache.


@dataclass(frozen=True, slots=True)
class PairScore:
    """Score a query and a document together with a model's own pair head.

    query_language, document_language: codes for a model that has an adapter for each language.
    """

    query: str
    document: str
    query_language: str | None = None
    document_language: str | None = None

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


Pooling: TypeAlias = str | tuple[str, ...]
"""`saved`, `last`, `mean`, `cls`, or the special tokens whose positions are read."""


@dataclass(frozen=True, slots=True)
class Embed:
    """Ask for the vectors of a prompt, which is read with the tokenizer's own tokens around it.

    pooling: which last hidden states become vectors: the mean of all, that of the first (`cls`) or
        last token, what the checkpoint was saved with (`saved`), or those of all positions that
        hold one of several special tokens, in their order: a vector each. What the checkpoint
        projects its vectors with is applied.
    normalise: scale each vector to length 1.
    """

    prompt: Prompt
    pooling: Pooling = "saved"
    normalise: bool = True

    reply: ClassVar[type[Vectors]] = Vectors


PASSAGES = "\ue000passages\ue000"
"""Where a prompt of `Attend` holds its passages: private characters that no text contains."""


@dataclass(frozen=True, slots=True)
class Attend:
    """Ask how much the end of each prompt attends to the tokens of passages before it.

    prompts: equal up to `PASSAGES`, in whose place the passages are read, once for all prompts; the
        end of a prompt is what follows.
    passages: texts, tokenised one by one. separator: the text before, between and after them.
    heads: (layer, head) pairs, numbered from 0, that count; by default all.
    """

    prompts: tuple[Prompt, ...]
    passages: tuple[str, ...]
    separator: str = "\n\n"
    heads: tuple[tuple[int, int], ...] = ()

    reply: ClassVar[type[Attention]] = Attention


@dataclass(frozen=True, slots=True)
class Fuse:
    """Ask for text that a decoder writes after an encoder has read each prompt alone.

    The decoder reads all of them at once (fusion-in-decoder, Izacard & Grave 2021,
    arXiv:2007.01282).
    """

    prompts: tuple[Prompt, ...]
    max_tokens: int

    reply: ClassVar[type[Generation]] = Generation


@dataclass(frozen=True, slots=True)
class FuseScore:
    """Ask for one score of each prompt, compared with all prompts that an encoder has read alone.

    views: of each prompt the encoder's vectors at its first `views` tokens are used. For each view
    a decoder reads the vectors of all prompts and writes one vector, the anchor; the score of a
    prompt is the mean over the views of the product of its vector and the anchor.
    """

    prompts: tuple[Prompt, ...]
    views: int

    reply: ClassVar[type[Logits]] = Logits


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


R = TypeVar("R", bound=Reply)


def ask(
    requests: Sequence[Request[R]],
) -> Generator[Sequence[Request[R]], Sequence[Any], Sequence[R]]:
    """Yield `requests` and return their replies, in order and typed; of nothing comes nothing."""
    if not requests:
        return ()
    replies: Sequence[R] = yield requests
    return replies
