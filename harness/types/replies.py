"""What requests and replies have in common, the built-in replies, and what takes their place."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from .texts import Label

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Attention:
    """Attention weights by prompt, passage and token of the passage: `weights[p][d][t]`.

    A weight is the attention that the token gets from the tokens of the prompt after the passages:
    the mean over those, summed over heads and layers.
    """

    weights: tuple[tuple[tuple[float, ...], ...], ...]
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


class Reply(Protocol):
    """A frozen dataclass that answers a request, with the tokens that the model spent on it.

    prompt_tokens: tokens read. output_tokens: tokens written. cached_tokens: those of the tokens
    read that a prefix cache held, or that were computed for another request.
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


@dataclass(frozen=True, slots=True)
class Vectors:
    """Vectors of one text.

    data: their float32 numbers, little-endian and row by row, in base64. dim: numbers of a vector.
    """

    data: str
    dim: int
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0

    @classmethod
    def of(
        cls, vectors: NDArray[np.floating[Any]], *, prompt_tokens: int = 0, cached_tokens: int = 0
    ) -> Vectors:
        """Return the reply that holds `vectors`, shape (count, dim)."""
        data = base64.b64encode(vectors.astype("<f4").tobytes()).decode()
        return cls(data, vectors.shape[1], prompt_tokens, cached_tokens=cached_tokens)

    @property
    def array(self) -> NDArray[np.float32]:
        """The vectors as an array of shape (count, dim), which cannot be written to."""
        import numpy as np

        found = np.frombuffer(base64.b64decode(self.data), dtype="<f4")
        return found.reshape(-1, self.dim)


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that could not be served, and why. Never a reply, never text to be parsed."""

    reason: str
