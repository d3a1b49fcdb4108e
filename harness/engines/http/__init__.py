"""The engine that asks servers: vLLM, or others that speak as OpenAI's, Jina's, Cohere's or TEI."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from ...errors import BadOption, EngineFault
from ...types import (
    AnyRequest,
    Embed,
    Failure,
    Fitted,
    Likelihood,
    NextToken,
    PairScore,
    Reply,
    Score,
)
from ..batches import Answer
from ..feed import Feed, Queued
from ..loading import end_ids
from ..pairs import output_names
from ..reading import Reading
from ..works import Works
from .client import Call
from .dialects import AT_ONCE, PATHS
from .faults import Refused
from .fit import ServerFit
from .replies import Reader, next_chunk
from .site import Site, open_site

if TYPE_CHECKING:
    from .. import EngineOptions

FORMAT = 2
"""Version of the replies; it is raised when an equal request would be answered differently."""

HEADS = ("classifier",)


class HttpEngine:
    """Answers requests with one model behind one or more servers that share the load.

    Nothing is contacted before the first use; then the servers are waited for, and asked once what
    they can do. Prompts are the token ids that the transformers engine would feed. `capabilities`
    tells what was found. A label that a server tells by rank only may be missing in a reply, and
    vectors are pooled as the server was told to, which nothing here can see.
    """

    name = "http"

    def __init__(self, options: EngineOptions) -> None:
        if options.head is not None and options.head not in HEADS:
            raise BadOption(f"head {options.head!r} is none of {', '.join(HEADS)}")
        self.options = options
        self.startup_seconds = 0.0
        self._opened: Site | None = None
        self._answering = 0.0

    def supports(self, asks: frozenset[type]) -> bool:
        """Whether all types are known; whether the server answers them shows at the first use."""
        return asks <= AT_ONCE.keys()

    @property
    def identity(self) -> Mapping[str, str]:
        """Everything a reply depends on, as far as the servers tell."""
        told = {key: value for key, value in self._site.identity.items() if value}
        return {"engine": self.name, "format": str(FORMAT), **told}

    @property
    def capabilities(self) -> Mapping[str, Mapping[str, str]]:
        """Per server its model, version, endpoints and dialect, or why it is no longer used."""
        return self._site.capabilities

    @property
    def in_effect(self) -> Mapping[str, Mapping[str, str]]:
        """What a manifest tells of the servers that answered."""
        return self.capabilities if self._opened is not None else {}

    def fit(self, texts: Sequence[str], max_tokens: int | None) -> list[Fitted]:
        """Cut texts with the model's tokenizer, here where it can be opened, else at the server."""
        site = self._site
        counts = max_tokens is None or "/tokenize" in site.looks[0].paths
        if site.checkpoint is None and counts:
            return ServerFit(site.client, site.model).fit(texts, max_tokens)
        return site.tokens.fit(texts, max_tokens)

    def answer(self, requests: Sequence[AnyRequest]) -> Iterator[tuple[int, Reply | Failure]]:
        """Yield (index, reply or failure) as they come."""
        return self.stream(iter(requests))

    def stream(
        self, requests: Iterator[AnyRequest | None]
    ) -> Iterator[tuple[int, Reply | Failure]]:
        """Yield (index, reply or failure), drawing requests as the servers have room.

        One kind is answered before the next is asked: vLLM's V1 runner mixes up the rows of label
        and other requests in one batch. Raises EngineFault for what no request can cure.
        """
        site = self._site
        # Where there is no tokenizer, nothing but pairs gets past the check.
        works = cast("Works", None)
        if site.checkpoint:
            # servers write one token at least
            works = Works(site.tokens, site.context, site.route.template, written=1)
        unprepared = frozenset() if site.route.prepared else frozenset({PairScore})
        feed = Feed(self._checked(site, requests), works, unprepared=unprepared)
        while (kind := feed.next_kind()) is not None or not feed.ended:
            if kind is not None:
                yield from self._serve(site, feed, kind)
            yield from feed.settled()
        yield from feed.settled()

    def close(self) -> None:
        """Close the connections; the next use would open them anew."""
        if self._opened is not None:
            self._opened.client.close()
        self._opened = None

    @property
    def _site(self) -> Site:
        if self._opened is None:
            self._opened, waited = open_site(self.options)
            self.startup_seconds += waited
        return self._opened

    # What can be asked at all

    def _checked(
        self, site: Site, requests: Iterator[AnyRequest | None]
    ) -> Iterator[AnyRequest | None]:
        known: set[type] = set()
        for request in requests:
            if request is not None and type(request) not in known:
                self._require(site, type(request))
                known.add(type(request))
            if isinstance(request, Embed) and request.pooling == "tokens":
                raise EngineFault(
                    "a server gives no vectors of tokens; use --engine transformers or vllm"
                )
            yield request

    def _require(self, site: Site, kind: type) -> None:
        """Raise EngineFault unless the servers can answer `kind`."""
        if kind is PairScore:
            return site.route.require()
        if kind not in AT_ONCE:
            raise EngineFault(f"the http engine cannot answer {kind.__name__}")
        site.require(PATHS[kind], kind)
        tokenizer = site.tokens.name
        words = site.dialect.completions
        if (kind is NextToken and not words.labels) or (
            kind is Likelihood and not words.likelihood
        ):
            raise EngineFault(
                f"{site.looks[0].url} cannot answer {kind.__name__}: its /v1/completions takes no "
                f"token ids of {tokenizer} or tells no log-probabilities of them"
            )
        return None

    # Answering

    def _serve(self, site: Site, feed: Feed, kind: type) -> Iterator[tuple[int, Answer]]:
        """Answer what comes of one kind; a call that is refused is asked again in halves.

        What no half would escape, a server that hangs or is broken, is not asked for again.
        """
        as_ids = kind is PairScore and site.route.as_ids
        reader = Reader(Score if as_ids else kind, self._reading(site))
        asked: dict[int, list[Queued]] = {}
        again: deque[list[Queued]] = deque()
        numbers = itertools.count()

        def calls() -> Iterator[tuple[int, Call] | None]:
            while (chunk := again.popleft() if again else next_chunk(feed, kind)) or asked:
                if not chunk:
                    yield None
                    continue
                number = next(numbers)
                asked[number] = chunk
                asks = [reader.ask(queued) for queued in chunk]
                yield number, site.dialect.call(reader.kind, asks)

        for number, heard in self._timed(site, calls()):
            chunk = asked.pop(number)
            if not isinstance(heard, Failure):
                for queued, one in zip(chunk, reader.counted(chunk, heard), strict=True):
                    yield queued.index, reader.reply(queued, one)
            elif len(chunk) > 1 and isinstance(heard, Refused):
                middle = len(chunk) // 2
                again.extend((chunk[:middle], chunk[middle:]))
            else:
                yield from ((queued.index, heard) for queued in chunk)
            yield from feed.settled()

    def _reading(self, site: Site) -> Reading | None:
        if site.checkpoint is None:
            return None
        ends = tuple(sorted(end_ids(site.checkpoint)))
        return Reading(site.tokens, ends, names=output_names(site.checkpoint))

    def _timed(
        self, site: Site, calls: Iterator[tuple[int, Call] | None]
    ) -> Iterator[tuple[int, Any]]:
        """Run calls within what is left of `run_seconds`, which all answering shares."""
        limit, started = self.options.run_seconds, time.monotonic()
        left = None if limit is None else max(limit - self._answering, 0.0)
        try:
            yield from site.client.run(calls, seconds=left)
        finally:
            self._answering += time.monotonic() - started
