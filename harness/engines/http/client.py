"""Calls to one or more equal servers: the load shared, failures retried, deadlines kept.

An event loop in a thread of its own holds the connections; everything else of the engine stays in
the caller's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2

from ...errors import EngineDied, EngineFault
from ...types import Failure
from .faults import Judge, Malformed, Trouble

T = TypeVar("T")

PATIENCE = 6.0
"""What the failures of one call may cost together before it is given up."""

MODELS = "/v1/models"
FIRST_PAUSE, LONGEST_PAUSE, POLL_SECONDS = 0.5, 20.0, 1.0
_STRIKES = 3  # failures in a row after which a server's work goes to the others
_CONNECT_SECONDS = _HEALTH_SECONDS = 10.0
_LOOK_SECONDS = 60.0  # for a few tokens at most, of a server that is up
_PROBES = 5
_BUSY = (429, 503)


@dataclass
class Server:
    """One server: calls under way, failures in a row, and, if it is left alone, why."""

    url: str
    under_way: int = 0
    strikes: int = 0
    gone: str | None = None


@dataclass(frozen=True)
class Call:
    """A body to post, and how to read the reply's JSON: `read` raises Malformed to try again."""

    path: str
    body: Mapping[str, Any]
    read: Callable[[Any], Any]


class Client:
    """Posts calls to `urls`, at most `concurrency` at once, each to the server with fewest.

    Retried with jittered, doubling pauses: 429 (no sooner than Retry-After says), 5xx, a reply that
    takes more than `request_seconds`, a broken connection, malformed JSON. No other 4xx is. A
    server that fails three times in a row is left alone while there are others, and even if it is
    the last one where it kept a call waiting in vain: what hangs would do so call after call. So
    hanging ends a run after twice `request_seconds`, or four times where calls go one by one.
    """

    def __init__(
        self, urls: Sequence[str], judge: Judge, *, concurrency: int, request_seconds: float
    ) -> None:
        self.servers = [Server(url) for url in urls]
        self._judge, self._concurrency, self._seconds = judge, concurrency, request_seconds
        self._http = httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {judge.key}"} if judge.key else {},
            timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
            limits=httpx2.Limits(max_keepalive_connections=concurrency),
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    @property
    def there(self) -> list[Server]:
        """The servers that are still used."""
        return [server for server in self.servers if server.gone is None]

    def close(self) -> None:
        """Drop what is under way and close the connections."""
        self.wait(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _shut(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._http.aclose()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` on the client's loop and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def each(self, work: Callable[[Server], Coroutine[Any, Any, T]]) -> dict[str, T]:
        """Run `work` for every server that is used, at once; returns the results by url."""

        async def all_of_them() -> list[T]:
            return await asyncio.gather(*map(work, there))

        there = self.there
        return dict(zip((s.url for s in there), self.wait(all_of_them()), strict=True))

    def run(
        self, calls: Iterator[tuple[int, Call] | None], *, seconds: float | None = None
    ) -> Iterator[tuple[int, Any]]:
        """Yield (number, what was read or Failure) as replies come; draw calls as there is room.

        A None among the calls says that none is ready before another reply is taken. Raises
        EngineFault for what no other request would escape, or when `seconds` are over.
        """
        done: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        under_way: dict[Future[Any], int] = {}
        end = None if seconds is None else time.monotonic() + seconds
        try:
            while True:
                while len(under_way) < self._concurrency and (drawn := next(calls, None)):
                    work = self._call(drawn[1])
                    future = asyncio.run_coroutine_threadsafe(work, self._loop)
                    under_way[future] = drawn[0]
                    future.add_done_callback(done.put)
                if not under_way:
                    return
                future = _first(done, end)
                yield under_way.pop(future), future.result()
        finally:
            for future in under_way:
                future.cancel()

    # One call

    async def _call(self, call: Call) -> Any:
        patience, tried = PATIENCE, Counter[str]()
        while True:
            server = self._choose(tried)
            try:
                return await self._attempt(server, call)
            except Trouble as trouble:
                tried[server.url] += 1
                patience -= trouble.cost
                self._strike(server, trouble)
                if patience <= 0:
                    hangs = trouble.cost > 1 and server.strikes >= _STRIKES
                    if server.gone is None and not hangs and await self._is_up(server):
                        return Failure(f"{server.url}: {trouble}, again and again")
                    server.gone, patience = server.gone or str(trouble), PATIENCE
                elif server.gone is None:
                    await asyncio.sleep(_pause(trouble, tried.total()))

    def _choose(self, tried: Counter[str]) -> Server:
        if not self.there:
            told = "; ".join(f"{server.url}: {server.gone}" for server in self.servers)
            raise EngineDied(f"no server is left: {told}")
        return min(self.there, key=lambda server: (tried[server.url], server.under_way))

    def _strike(self, server: Server, trouble: Trouble) -> None:
        server.strikes += trouble.cost >= 1  # to be busy is no failure
        if server.strikes >= _STRIKES and self.there != [server]:
            server.gone = server.gone or str(trouble)

    async def _attempt(self, server: Server, call: Call) -> Any:
        server.under_way += 1
        try:
            response = await self._exchange(server, call.path, call.body)
            payload = self._judge.payload(server.url + call.path, response)
            found = payload if isinstance(payload, Failure) else call.read(payload)
        except Malformed as error:
            raise Trouble(f"a malformed reply ({self._judge.hidden(str(error))})") from error
        finally:
            server.under_way -= 1
        server.strikes = 0
        return found

    async def _exchange(
        self, server: Server, path: str, body: Any = None, *, seconds: float | None = None
    ) -> httpx2.Response:
        """Post a body, or get where there is none; whatever the status, it is a response."""
        method, content = ("GET", None) if body is None else ("POST", json.dumps(body).encode())
        headers = {"Content-Type": "application/json"} if content else {}
        seconds = seconds or self._seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._http.request(
                    method, server.url + path, content=content, headers=headers
                )
        except TimeoutError:
            raise Trouble(f"no answer within {seconds:g} s (request_seconds)", cost=3) from None
        except httpx2.RequestError as error:
            raise self._judge.broken(server.url, error) from None  # it holds the key's header

    # Outside of calls

    async def ask(self, server: Server, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of one exchange, None where it is none; a busy server is asked again.

        Raises EngineFault for 401, and where the list of models is elsewhere.
        """
        seconds = min(self._seconds, _LOOK_SECONDS)
        for trial in range(1, _PROBES + 1):
            try:
                response = await self._exchange(server, path, body, seconds=seconds)
                if response.status_code not in _BUSY or trial == _PROBES:
                    break
                trouble = Trouble("busy")
            except Trouble as error:
                if trial == _PROBES:
                    raise EngineDied(f"{server.url}{path}: {error}") from None
                trouble = error
            await asyncio.sleep(_pause(trouble, trial))
        if response.status_code == 401:
            raise self._judge.refused(server.url + path, response)
        if response.has_redirect_location and path == MODELS:
            raise self._judge.moved(server.url + path, response)
        with contextlib.suppress(ValueError, RecursionError):
            return response.status_code, response.json()
        return response.status_code, None

    async def await_up(self, server: Server, seconds: float) -> None:
        """Wait up to `seconds` for a server; one that is not up by then is left alone."""
        end = time.monotonic() + seconds
        while not await self._is_up(server):
            if time.monotonic() >= end:
                server.gone = f"not up within {seconds:g} s"
                return
            await asyncio.sleep(POLL_SECONDS)

    async def _is_up(self, server: Server) -> bool:
        """Whether the server answers at all: one without /health says 404, and is up."""
        try:
            response = await self._exchange(server, "/health", seconds=_HEALTH_SECONDS)
        except Trouble:
            return False
        return response.status_code < 500


def _first(done: queue.SimpleQueue[Future[Any]], end: float | None) -> Future[Any]:
    left = None if end is None else max(end - time.monotonic(), 0.0)
    try:
        return done.get(timeout=left)
    except queue.Empty:
        raise EngineFault("run_seconds are over; what was answered until now is kept") from None


def _pause(trouble: Trouble, trial: int) -> float:
    """Seconds before the next attempt: doubling, jittered, and no sooner than the server said."""
    doubled = min(FIRST_PAUSE * 2.0 ** (trial - 1), LONGEST_PAUSE)
    return max(doubled * random.uniform(0.5, 1.0), trouble.wait)
