"""Calls to one or more equal servers through OpenAI's client, which retries what may pass.

An event loop in a thread of its own runs the calls; all else happens in the caller's thread.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import httpx2
from openai import APIConnectionError, APIStatusError, AsyncOpenAI

from ...errors import BadOption, EngineDied, EngineFault
from ...progress import bar
from ...types import Failure
from .responses import ApiKey, Call, Malformed, Unavailable

if TYPE_CHECKING:
    from . import HttpOptions

K = TypeVar("K")
T = TypeVar("T")

RETRIES = 6
"""Repetitions after 429, 5xx or a broken connection: pauses of 0.5 s to 8 s, or `Retry-After`."""

POLL_SECONDS = 1.0
_HEALTH_SECONDS = _CONNECT_SECONDS = 10.0
_only: ContextVar[str | None] = ContextVar("_only", default=None)
"""The address of the server that the task's calls are for; None for any server."""


@dataclass(eq=False)
class Server:
    """One server: calls under way, and failures since its last good response.

    answered, rests: monotonic times of its last response, and until when others are preferred.
    """

    url: str
    under_way: int = 0
    failures: int = 0
    error: str = ""
    answered: float = 0.0
    rests: float = 0.0

    def failed(self, error: str) -> None:
        """Prefer other servers, for twice as long after each failure in a row."""
        self.failures, self.error = self.failures + 1, error
        self.rests = time.monotonic() + 2.0 ** min(self.failures, 20)


class _Balanced(httpx2.AsyncClient):
    """Sends every attempt of a call to the server that has the fewest under way.

    Only our own headers are sent: the library adds what OPENAI_CUSTOM_HEADERS and the like hold.
    """

    def __init__(self, servers: Sequence[Server], key: ApiKey, seconds: float) -> None:
        timeout = httpx2.Timeout(seconds, connect=_CONNECT_SECONDS, pool=None)
        super().__init__(timeout=timeout, limits=httpx2.Limits(max_connections=None))
        self._servers, self._key = servers, key

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send a request to the server that the task is for, or to the least busy one."""
        now, only = time.monotonic(), _only.get()
        candidates = [server for server in self._servers if only in (None, server.url)]
        server = min(candidates, key=lambda s: (now < s.rests, s.under_way))
        server.under_way += 1
        try:
            response = await super().send(self._addressed(request, server), **options)
        except httpx2.TransportError as error:
            server.failed(self._key.redacted(str(error)) or type(error).__name__)
            raise
        finally:
            server.under_way -= 1
        server.answered = time.monotonic()
        if response.status_code == httpx2.codes.NOT_IMPLEMENTED:
            response.headers["x-should-retry"] = "false"  # else OpenAI's client would retry
        if response.is_server_error and not _is_final(response.status_code):
            server.failed(self._key.error(response))
        else:
            server.failures, server.rests = 0, 0.0
        response.extensions["server"] = server.url
        return response

    def _addressed(self, request: httpx2.Request, server: Server) -> httpx2.Request:
        headers = {"Accept": "application/json", "User-Agent": "rerank-bench"}
        headers |= {"Content-Type": "application/json"} if request.content else {}
        headers |= {"Authorization": f"Bearer {self._key.value}"} if self._key.value else {}
        return httpx2.Request(
            request.method,
            server.url + request.url.path,
            headers=headers,
            content=request.content,
            extensions=request.extensions,
        )


class Client:
    """Sends calls to equal servers, at most `concurrency` at once, each to the least busy one.

    A call that takes twice `request_seconds`, retries included, is a Failure; if no server has
    answered anything meanwhile, EngineDied is raised.
    """

    def __init__(self, options: HttpOptions) -> None:
        self.servers = [Server(url) for url in _urls(options.base_url)]
        self.key = ApiKey.of(options.api_key_env)
        self._concurrency, self._seconds = options.concurrency, options.request_seconds
        # Without a key of its own the library would take one from the environment.
        self._api = AsyncOpenAI(
            api_key="-",
            base_url="http://servers",
            max_retries=RETRIES,
            http_client=_Balanced(self.servers, self.key, self._seconds),
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Cancel what is under way and close the connections."""
        self._wait(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _shut(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._api.close()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def each(self, work: Callable[[str], Coroutine[Any, Any, T]]) -> dict[str, T]:
        """Run `work(url)` for every server at once; return the results by url."""

        async def all_of_them() -> list[T]:
            return await asyncio.gather(*map(work, urls))

        urls = [server.url for server in self.servers]
        return dict(zip(urls, self._wait(all_of_them()), strict=True))

    def run(
        self, calls: Iterator[tuple[K, Call] | None], *, seconds: float | None = None
    ) -> Iterator[tuple[K, list[Any] | Failure]]:
        """Yield (key, replies or Failure) as responses come; draw calls as there is room.

        calls: (key, call), or None where none is ready before another result is taken; a None while
        no call is under way ends them. seconds: the time for all of them; EngineFault is raised
        when it is over.
        """
        done: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        under_way: dict[Future[Any], K] = {}
        end = None if seconds is None else time.monotonic() + seconds
        try:
            while True:
                while len(under_way) < self._concurrency and (drawn := next(calls, None)):
                    key, call = drawn
                    future = asyncio.run_coroutine_threadsafe(self._answer(call), self._loop)
                    under_way[future] = key
                    future.add_done_callback(done.put)
                if not under_way:
                    return
                future = _first(done, end)
                yield under_way.pop(future), future.result()
        finally:
            for future in under_way:
                future.cancel()

    async def _answer(self, call: Call) -> list[Any] | Failure:
        try:
            response = await self.exchange(call.path, call.body)
            where = response.extensions["server"] + call.path
            payload = self.key.payload(where, response)
            return payload if isinstance(payload, Failure) else call.replies(payload)
        except Malformed as error:
            return Failure(f"{where}: a malformed response ({self.key.redacted(str(error))})")
        except Unavailable as error:
            return Failure(f"{call.path}: {error}")

    async def exchange(
        self, path: str, body: Mapping[str, Any] | None = None, *, url: str | None = None
    ) -> httpx2.Response:
        """Post a body, or get where there is none; return the response of any final status.

        url: the one server to use. Raises Unavailable for 429, 5xx other than 501, a broken
        connection or a deadline after all retries; EngineDied where no server has answered
        anything meanwhile.
        """
        started = time.monotonic()
        _only.set(url)
        try:
            async with asyncio.timeout(2 * self._seconds):
                if body is None:
                    return await self._api.get(path, cast_to=httpx2.Response)
                return await self._api.post(path, body=body, cast_to=httpx2.Response)
        except TimeoutError:
            reason = f"no result within twice {self._seconds:g} s (request_seconds)"
        except APIStatusError as error:
            if _is_final(error.status_code):
                return error.response
            reason = f"{self.key.error(error.response)}, again and again"
        except APIConnectionError as error:
            reason = f"{self.key.broken_connection(error)}, again and again"
        if url is not None or all(server.answered < started for server in self.servers):
            where = url or ", ".join(server.url for server in self.servers)
            raise EngineDied(f"no answer from {where}: {reason}")
        raise Unavailable(reason)

    def await_up(self, seconds: float) -> float:
        """Wait up to `seconds` for the servers; one that is not up by then is not used.

        Return the seconds of waiting. Raises EngineFault where none is up.
        """
        started, urls = time.monotonic(), ", ".join(server.url for server in self.servers)

        async def wait(url: str) -> bool:
            while not await self._is_up(url):
                if time.monotonic() >= started + seconds:
                    return False
                await asyncio.sleep(POLL_SECONDS)
            return True

        with bar(f"waiting for {urls}"):
            up = self.each(wait)
        self.servers[:] = [server for server in self.servers if up[server.url]]
        if not self.servers:
            raise EngineFault(
                f"{urls}: not up within {seconds:g} s; start it, or check base_url and wait_seconds"
            )
        return time.monotonic() - started

    async def _is_up(self, url: str) -> bool:
        """Return whether a server answers at all: one without /health answers 404, and is up."""
        _only.set(url)
        once = self._api.with_options(max_retries=0, timeout=_HEALTH_SECONDS)
        try:
            await once.get("/health", cast_to=httpx2.Response)
        except APIStatusError as error:
            return error.status_code < 500
        except APIConnectionError as error:
            self.key.broken_connection(error)
            return False
        return True


def _is_final(status: int) -> bool:
    """Return whether a call that was answered so would be answered so again."""
    codes = httpx2.codes
    return status == codes.NOT_IMPLEMENTED or (status < 500 and status != codes.TOO_MANY_REQUESTS)


def _urls(base_url: str | None) -> list[str]:
    """Return the addresses without a final /v1, with which the paths begin that are posted to."""
    given = [url.strip().rstrip("/") for url in (base_url or "").split(",") if url.strip()]
    if not given:
        raise BadOption("engine http needs --base-url URL")
    for url in given:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadOption(f"base_url {parts.hostname or url!r} is no http:// or https:// address")
        if parts.username is not None:
            raise BadOption("base_url must not hold a name or password: use api_key_env")
    return list(dict.fromkeys(url.removesuffix("/v1") for url in given))


def _first(done: queue.SimpleQueue[Future[Any]], end: float | None) -> Future[Any]:
    left = None if end is None else max(end - time.monotonic(), 0.0)
    try:
        return done.get(timeout=left)
    except queue.Empty:
        raise EngineFault("run_seconds are over; the replies so far are cached") from None
