"""What an engine must have, and what makes one of a method that answers a list."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypeVar

from .replies import AnyRequest, Failure, Reply


@dataclass(frozen=True, slots=True)
class Fitted:
    """A text cut to a budget, special tokens made harmless; `tokens` of it are left, if counted."""

    text: str
    truncated: bool = False
    neutralised: int = 0
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Statistics:
    """What an engine has measured since it was opened, and what it runs with.

    loading_seconds: wall time of loading models and waiting for servers; not part of answering.
    work_seconds: wall time of the busiest process that answers; 0 where it is not measured.
    in_effect: the settings in effect, as JSON values; a run's manifest stores them as `engine`.
    config: the model's `config.json`, from which the operations of a call are computed; None where
        it is not known or does not determine them.
    leading_tokens: how many tokens a model reads besides those of a text; None where not known.
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
    is_real: False for an engine whose numbers mean nothing.
    exact_labels: True if a reply to `NextToken` always has all labels; False for a server that
        reports its most probable tokens only.
    hardware: what the model runs on, as JSON values, for the manifest: `gpu` (name), `gpus`
        (number in use), `processor`, `cores`, or `servers`.
    identity: everything that a reply depends on, as printable text; it keys the reply cache.
    statistics: times and settings so far. It is read after every reply, so it must be cheap.
    pair_tokens: the most tokens of a query and a document together that the model's context holds
        besides the tokenizer's own; None where nothing limits them, or a model reads them apart. It
        is read only for a reranker whose `max_pair_tokens` is 0.
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
    @property
    def pair_tokens(self) -> int | None: ...

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
