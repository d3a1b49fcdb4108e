"""The engine that sends requests to servers: vLLM, or another of a declared dialect."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from ...errors import BadOption, EngineFault, unknown
from ...types import Answers, AnyRequest, Failure, Fitted, NextToken, PairScore, Statistics
from ..feed import Feed, Queued
from ..works import Works
from .dialects import AT_ONCE, COMPLETIONS, KINDS, Call
from .failures import Refused

if TYPE_CHECKING:
    from .. import EngineOptions
    from .service import Service

FORMAT = 2
"""Version of the replies; it is raised when an equal request would be answered differently."""

HEADS = ("classifier",)


class HttpEngine:
    """Answers requests with one model behind one or more equal servers that share the load.

    No server is contacted before the first use; then the servers are waited for and checked once.
    Prompts are the token ids that the transformers engine would feed. A label may be missing in a
    reply where the dialect reports the most probable tokens only.
    """

    name = "http"
    is_real = True

    def __init__(self, options: EngineOptions) -> None:
        if options.head is not None and options.head not in HEADS:
            raise BadOption(f"head {options.head!r} is none of {', '.join(HEADS)}")
        if options.dialect not in KINDS:
            raise unknown("dialect", options.dialect, KINDS)
        self.options = options
        self.exact_labels = options.dialect == "vllm"
        self._opened: Service | None = None
        self._waited = self._answering = 0.0

    @property
    def hardware(self) -> Mapping[str, Any]:
        """How many servers there are."""
        return {"servers": len((self.options.base_url or "").split(","))}

    @property
    def identity(self) -> Mapping[str, str]:
        """Everything a reply depends on, as far as the servers report it."""
        found = {key: value for key, value in self._service.identity.items() if value}
        return {"engine": self.name, "format": str(FORMAT), **found}

    @property
    def statistics(self) -> Statistics:
        """Seconds of waiting for the servers, and what was found of each of them."""
        in_effect = self._opened.in_effect if self._opened else {}
        return Statistics(loading_seconds=self._waited, in_effect=in_effect)

    def supports(self, kinds: frozenset[type]) -> bool:
        """Return whether the dialect has all of the types."""
        return kinds <= KINDS[self.options.dialect]

    def fit(self, texts: Sequence[str], max_tokens: int | None) -> list[Fitted]:
        """Cut texts with the model's tokenizer, here where it can be opened, else at the server."""
        service = self._service
        counts = max_tokens is None or self.options.dialect in ("vllm", "tei")
        if service.checkpoint is None and counts:
            from .fit import fit_at_server

            return fit_at_server(service.client, service.model, texts, max_tokens)
        return service.tokens.fit(texts, max_tokens)

    def stream(self, requests: Iterator[AnyRequest | None]) -> Answers:
        """Yield (index, reply or Failure), drawing requests as the servers have room.

        One kind is answered before the next is sent: vLLM's V1 runner mixes up the rows of label
        and other requests in one batch. Raises EngineFault for what fails every request.
        """
        service = self._service
        # Where there is no tokenizer, nothing but pairs gets past the check.
        works = cast("Works", None)
        if service.checkpoint:
            # servers write one token at least
            works = Works(service.tokens, service.context, service.pair_template, written=1)
        unprepared = frozenset() if service.pairs_known_here else frozenset({PairScore})
        feed = Feed(_required(service, requests), works, unprepared=unprepared)
        while (kind := feed.next_kind()) is not None or not feed.ended:
            if kind is not None:
                yield from self._answered(service, feed, kind)
            yield from feed.settled()
        yield from feed.settled()

    def forget(self) -> None:
        """Nothing is kept here."""

    def close(self) -> None:
        """Close the connections; a later request opens them again."""
        if self._opened is not None:
            self._opened.client.close()
        self._opened = None

    @property
    def _service(self) -> Service:
        if self._opened is None:
            from .opening import open_service

            self._opened, waited = open_service(self.options)
            self._waited += waited
        return self._opened

    def _answered(self, service: Service, feed: Feed, kind: type) -> Answers:
        """Answer what comes of one kind; a call that is refused is sent again in halves."""
        sent: dict[int, list[Queued]] = {}
        halves: deque[list[Queued]] = deque()
        numbers = itertools.count()

        def calls() -> Iterator[tuple[int, Call] | None]:
            while (chunk := halves.popleft() if halves else _next_chunk(feed, kind)) or sent:
                if not chunk:
                    yield None
                    continue
                sent[number := next(numbers)] = chunk
                works = [queued.work for queued in chunk]
                yield number, service.dialect.call(kind, works, as_ids=service.pairs_as_ids)

        for number, replies in self._timed(service, calls()):
            chunk = sent.pop(number)
            if isinstance(replies, Refused) and len(chunk) > 1:
                middle = len(chunk) // 2
                halves.extend((chunk[:middle], chunk[middle:]))
            elif isinstance(replies, Failure):
                yield from ((queued.index, replies) for queued in chunk)
            else:
                yield from zip((queued.index for queued in chunk), replies, strict=True)
            yield from feed.settled()

    def _timed(
        self, service: Service, calls: Iterator[tuple[int, Call] | None]
    ) -> Iterator[tuple[int, Any]]:
        """Run calls within what is left of `run_seconds`, which all answering shares."""
        limit, started = self.options.run_seconds, time.monotonic()
        left = None if limit is None else max(limit - self._answering, 0.0)
        try:
            yield from service.client.run(calls, seconds=left)
        finally:
            self._answering += time.monotonic() - started


def _required(
    service: Service, requests: Iterator[AnyRequest | None]
) -> Iterator[AnyRequest | None]:
    """Yield the requests. Raises EngineFault for a kind that the servers cannot answer."""
    known: set[type] = {type(None)}
    for request in requests:
        if (kind := type(request)) not in known:
            if kind not in KINDS[service.options.dialect]:
                raise EngineFault(
                    f"dialect={service.options.dialect} cannot answer {kind.__name__}"
                )
            if kind is PairScore:
                service.require_pairs()
            else:
                service.require(COMPLETIONS, kind)
            known.add(kind)
        yield request


def _next_chunk(feed: Feed, kind: type) -> list[Queued]:
    """Take what comes next of `kind` and fits one call; nothing where nothing is ready now."""
    chunk: list[Queued] = []

    def fits(next_kind: type) -> bool:
        return next_kind is kind and len({_shared(q) for q in [*chunk[:1], feed.peek()]}) == 1

    for queued in feed.take(fits):
        if queued is None:
            break
        chunk.append(queued)
        if len(chunk) == AT_ONCE[kind]:
            break
    return chunk


def _shared(queued: Queued) -> Any:
    """Return what all requests of one call have in common: the labels, or the query."""
    request = queued.work.request
    if queued.kind is NextToken:
        return tuple(request.values())
    return request.query if queued.kind is PairScore else None
