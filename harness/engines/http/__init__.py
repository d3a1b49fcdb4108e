"""The engine that sends requests to servers: vLLM, or another of a declared dialect."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from ...errors import BadOption, unknown
from ...types import Answers, AnyRequest, Failure, Fitted, PairScore, Statistics, ready
from ..feed import Feed
from ..options import option
from ..pooling import POOLINGS
from ..prepare import Prepared
from .dialects import AT_ONCE, COUNTS_TOKENS, KINDS
from .responses import Call, Refused

if TYPE_CHECKING:
    from .service import Service

Calls: TypeAlias = Iterator[tuple[list[Prepared], Call] | None]

FORMAT = 2
"""Version of the replies; it is raised when an equal request would be answered differently."""


@dataclass(frozen=True, kw_only=True)
class HttpOptions:
    """Options of engine http.

    base_url: comma separated servers that share the load.
    dialect: their API, `vllm`, `openai`, `tei`, `jina` or `cohere`.
    top_logprobs: how many of the most probable tokens a server of dialect `openai` reports.
    model: the name it is served by; by default the only one that is served.
    revision, dtype: of the served model; only written down.
    adapter: a LoRA adapter, by the name it is served by.
    head: `classifier`: pairs are scored by the served model's classification head.
    pair_template: how a query and a document become one text for that head.
    server_pooling: how the server was told to pool vectors, `last`, `mean` or `cls`; by default as
        the checkpoint was saved, or by vLLM's last token of a decoder.
    max_model_len: a context shorter than the server's, in tokens.
    trust_remote_code: run code that comes with the model's tokenizer.
    api_key_env: the environment variable that holds the key.
    tokenizer: the model's own, hub id or folder; by default what the server says it serves.
    concurrency: requests under way at once.
    request_seconds, run_seconds: deadlines, of one attempt at a request and of all answering.
    wait_seconds: for the server to come up.
    """

    base_url: str | None = None
    dialect: str = "vllm"
    top_logprobs: int = option(20, least=1)
    model: str | None = None
    revision: str | None = option(None, in_label=True)
    adapter: str | None = option(None, in_label=True)
    dtype: str | None = option(None, in_label=True)
    head: str | None = option(None, in_label=True)
    pair_template: str | None = option(None, in_label=True)
    server_pooling: str | None = option(None, in_label=True)
    max_model_len: int | None = option(None, least=1, in_label=True)
    trust_remote_code: bool = False
    api_key_env: str | None = None
    tokenizer: str | None = None
    concurrency: int = option(32, least=1)
    request_seconds: float = 300.0
    run_seconds: float | None = None
    wait_seconds: float = 300.0


class HttpEngine:
    """A model behind servers of vLLM, or of another dialect, that share the load.

    No server is contacted before the first use; then the servers are waited for and checked once.
    Prompts are the token ids that the transformers engine would feed. A label may be missing in a
    reply where the dialect reports the most probable tokens only.
    """

    Options = HttpOptions
    name = "http"
    is_real = True

    def __init__(self, options: HttpOptions) -> None:
        if options.head not in {None, "classifier"}:
            raise BadOption(f"head {options.head!r} is not classifier")
        if options.dialect not in KINDS:
            raise unknown("dialect", options.dialect, KINDS)
        told = options.server_pooling
        if told not in {None, *POOLINGS}:
            raise BadOption(f"server_pooling {told!r} is none of {', '.join(POOLINGS)}")
        self.options = options
        self.exact_labels = options.dialect == "vllm"
        self._opened: Service | None = None
        self._waited = self._answering = 0.0

    @property
    def hardware(self) -> Mapping[str, Any]:
        """The servers' addresses: what they run on is not known."""
        return {"servers": list(self._service.listed)}

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

    @property
    def pair_tokens(self) -> int | None:
        """The tokens of both texts of a pair that the servers read."""
        return self._service.pair_tokens

    def fit(self, texts: Sequence[str], max_tokens: int | None) -> list[Fitted]:
        """Cut texts with the model's tokenizer, here where it can be opened, else at the server."""
        service = self._service
        counts = max_tokens is None or self.options.dialect in COUNTS_TOKENS
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
        feed = Feed(requests, service.prepare)
        yield from feed.answers(lambda one: self._answered(service, feed, type(one.request)))

    def forget(self) -> None:
        """Drop the token ids of texts that were read before."""
        if self._opened is not None and self._opened.checkpoint is not None:
            self._opened.tokens.forget()

    def close(self) -> None:
        """Close the connections; a later request opens them again."""
        if self._opened is not None:
            self._opened.client.close()
        self._opened = None

    @property
    def _service(self) -> Service:
        if self._opened is None:
            from .client import Client
            from .service import Service

            client = Client(self.options)
            try:
                self._waited += client.await_up(self.options.wait_seconds)
                self._opened = Service.open(self.options, client)
            except BaseException:
                client.close()
                raise
        return self._opened

    def _answered(self, service: Service, feed: Feed, kind: type) -> Answers:
        """Answer what comes of one kind; a call that is refused is sent again in halves."""
        halves: deque[list[Prepared]] = deque()

        def calls() -> Calls:
            while True:
                chunk = halves.popleft() if halves else _next_chunk(feed, kind)
                as_ids = service.pairs_as_ids
                yield (chunk, service.dialect.call(kind, chunk, as_ids=as_ids)) if chunk else None

        for chunk, replies in self._timed(service, calls()):
            if isinstance(replies, Refused) and len(chunk) > 1:
                middle = len(chunk) // 2
                halves.extend((chunk[:middle], chunk[middle:]))
            elif isinstance(replies, Failure):
                yield from ((one.index, replies) for one in chunk)
            else:
                yield from zip((one.index for one in chunk), replies, strict=True)

    def _timed(self, service: Service, calls: Calls) -> Iterator[tuple[list[Prepared], Any]]:
        """Run calls within what is left of `run_seconds`, which all answering shares."""
        limit, started = self.options.run_seconds, time.monotonic()
        left = None if limit is None else max(limit - self._answering, 0.0)
        try:
            yield from service.client.run(calls, seconds=left)
        finally:
            self._answering += time.monotonic() - started


def _next_chunk(feed: Feed, kind: type) -> list[Prepared]:
    """Take what comes next of `kind` and fits one call; nothing where nothing is ready now."""
    first = feed.peek()
    if first is None or type(first.request) is not kind:
        return []
    shared = _shared(first)
    taken = feed.take(lambda one: type(one.request) is kind and _shared(one) == shared)
    return list(itertools.islice(ready(taken), AT_ONCE[kind]))


def _shared(one: Prepared) -> Any:
    """Return what all requests of one call have in common: the labels, or the query."""
    if isinstance(one.request, PairScore):
        return one.request.query
    return tuple(one.labels.values())
