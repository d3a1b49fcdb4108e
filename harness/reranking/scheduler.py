"""Advance the flows of many queries side by side, so that one engine always sees many requests.

The scheduler is the one place that merges equal requests, looks replies up in the cache, and
charges queries for what they cost. The engine draws requests as it has room (`Engine.stream`). An
engine that answers lists draws all requests that are ready, so its flows advance in rounds; another
one draws a request as soon as it has finished one.
"""

from __future__ import annotations

import functools
import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..engines import Keys, decode
from ..errors import EngineFault, RequestFailed
from ..progress import bar
from ..types import AnyRequest, Candidates, Engine, Failure, Reply, Reranker
from .flow import Job, OpenFlow, Outcome, Reranked

if TYPE_CHECKING:
    from ..engines import ReplyCache

OPEN_REQUESTS = 32_768
"""Unanswered requests held at once, unless one flow alone yields more."""

_FINISHED = 256  # outcomes that are kept at once
_SHUFFLED = 256  # requests among which a shuffled one is chosen, and the mean length of a slice


def drive(
    jobs: Iterable[Job],
    engine: Engine,
    *,
    cache: ReplyCache | None = None,
    keep_going: bool = False,
    open_requests: int = OPEN_REQUESTS,
    shuffle: int | None = None,
    what: str = "reranking",
    queries: int | None = None,
) -> Iterator[tuple[Job, Outcome]]:
    """Rerank all `jobs` and yield each with its outcome as it ends, in any order.

    jobs: drawn only as others end, so that memory does not grow with their number.
    cache: where replies are looked up and stored.
    keep_going: a failed request ends its own query as Failed; otherwise RequestFailed is raised.
    open_requests: most unanswered requests at once.
    shuffle: a seed; requests are sent in random order and in slices of random length.
    what, queries: name of the progress bar, and number of jobs for its estimate.

    Raises RerankerFault for a reranker that raises or returns anything but one finite score per
    candidate, EngineFault for an engine that leaves a request unanswered.
    """
    chosen = None if shuffle is None else random.Random(shuffle)
    with bar(what) as advance:
        scheduler = _Scheduler(
            iter(jobs), engine, cache, keep_going, open_requests, chosen, advance, queries
        )
        yield from scheduler.run()


def rerank_one(reranker: Reranker, candidates: Candidates, engine: Engine) -> Reranked:
    """Rerank one query's candidates; raises what `drive` raises."""
    ((_, outcome),) = drive([Job(None, reranker, candidates, type(reranker).__name__)], engine)
    assert isinstance(outcome, Reranked), "without keep_going a failure raises"  # noqa: S101
    return outcome


def order(scores: Sequence[float]) -> list[int]:
    """Return the indices best first; ties keep first-stage order."""
    return sorted(range(len(scores)), key=lambda index: -scores[index])


@dataclass(eq=False, slots=True)
class _Open:
    """A request without a delivered reply, the flows that wait for it, and its cache key."""

    request: AnyRequest
    waiting: list[tuple[OpenFlow, int]] = field(default_factory=list)
    key: bytes = b""


@dataclass
class _Scheduler:
    """Flows that wait for replies, and the requests that they wait for.

    A request is pending until the engine draws it, then sent until the engine answers it, then
    answered until the engine draws again; only then are replies delivered to their flows, so that
    the seconds in between can be shared out.
    """

    jobs: Iterator[Job]
    engine: Engine
    cache: ReplyCache | None
    keep_going: bool
    open_requests: int
    random: random.Random | None
    advance: Callable[..., None]
    queries: int | None
    open: dict[AnyRequest, _Open] = field(default_factory=dict)
    pending: deque[_Open] = field(default_factory=deque)
    sent: dict[int, _Open] = field(default_factory=dict)
    answered: list[tuple[_Open, Reply | Failure]] = field(default_factory=list)
    finished: deque[tuple[Job, Outcome]] = field(default_factory=deque)
    begun: int = 0
    calls: int = 0

    def __post_init__(self) -> None:
        self.clock = _Clock(self.engine)

    def run(self) -> Iterator[tuple[Job, Outcome]]:
        """Yield each job with its outcome."""
        while self.begin() or self.pending or self.finished:
            yield from self.outcomes()
            if self.pending:
                yield from self.answer()

    def begin(self) -> bool:
        """Begin jobs until a request is pending; return False where there is no further job."""
        enough = 1 if self.random is None else _SHUFFLED
        while len(self.pending) < enough:
            if len(self.open) >= self.open_requests or len(self.finished) >= _FINISHED:
                break
            job = next(self.jobs, None)
            if job is None:
                return False
            self.begun += 1
            self.go_on([OpenFlow(job)])
        return True

    def go_on(self, flows: Sequence[OpenFlow]) -> None:
        """Advance flows, and those whose replies are all in the cache further."""
        while flows:
            new: list[_Open] = []
            for flow in flows:
                flow.advance()
                if flow.outcome is not None:
                    self.finished.append((flow.job, flow.outcome))
                for place, request in enumerate(flow.requests):
                    one = self.open.setdefault(request, _Open(request))
                    if not one.waiting:
                        new.append(one)
                    one.waiting.append((flow, place))
            self.calls += sum(len(flow.requests) for flow in flows)
            flows = self.look_up(new)

    def look_up(self, new: Sequence[_Open]) -> list[OpenFlow]:
        """Return the flows that the cache completes; other requests become pending."""
        if self.cache is None:
            self.pending.extend(new)
            return []
        keys = self.keys.of(one.request for one in new)
        known = self.cache.get(keys)
        complete = []
        for one, key in zip(new, keys, strict=True):
            if key in known:
                complete += self.hand_over(one, decode(known[key], one.request), from_cache=1)
            else:
                one.key = key
                self.pending.append(one)
        return complete

    @functools.cached_property
    def keys(self) -> Keys:
        """Cache keys for this engine."""
        return Keys(self.engine.identity)

    def hand_over(
        self, one: _Open, reply: Reply | Failure, *, from_cache: int = 0
    ) -> list[OpenFlow]:
        """Give a reply to all flows that wait for it; return those that have all their replies.

        The first flow is charged for the request; for the others it is merged.
        """
        complete = []
        del self.open[one.request]
        one.waiting[0][0].spent["from_cache"] += from_cache
        for number, (flow, place) in enumerate(one.waiting):
            flow.spent["merged"] += number > 0
            if flow.receive(place, reply):
                complete.append(flow)
        # The total of the progress bar is what the queries so far suggest for all of them.
        total = self.calls * max(self.queries or 0, self.begun) // self.begun
        self.advance(len(one.waiting), total)
        return complete

    def answer(self) -> Iterator[tuple[Job, Outcome]]:
        """Have the engine answer until no request waits; yield what ends meanwhile."""
        try:
            for index, reply in self.engine.stream(self.draw()):
                self.clock.stop()
                self.receive(index, reply)
                yield from self.outcomes()
                self.clock.start()
        finally:
            self.clock.stop()
            if self.cache is not None:
                self.cache.flush()
        if self.sent:
            raise EngineFault(f"{self.engine.name} left {len(self.sent)} requests unanswered")
        self.deliver()

    def draw(self) -> Iterator[AnyRequest | None]:
        """Yield requests to the engine; None where none is ready before another reply."""
        indices = itertools.count()
        while True:
            self.clock.stop()
            self.deliver()
            self.begin()
            if not self.open:
                return
            chosen = self.choose()
            if chosen is not None:
                self.sent[next(indices)] = chosen
            self.clock.start()
            yield None if chosen is None else chosen.request

    def choose(self) -> _Open | None:
        """Remove a pending request: the oldest, or if shuffled any, with a break now and then."""
        if self.random is not None and self.pending:
            if self.sent and self.random.random() < 1 / _SHUFFLED:
                return None
            self.pending.rotate(self.random.randrange(len(self.pending)))
        return self.pending.popleft() if self.pending else None

    def receive(self, index: int, reply: Reply | Failure) -> None:
        """Store a reply; raise RequestFailed for a failure unless `keep_going`."""
        if index not in self.sent:
            raise EngineFault(f"{self.engine.name} answered a request that was not open: {index}")
        one = self.sent.pop(index)
        if isinstance(reply, Failure):
            if not self.keep_going:
                flow, _ = one.waiting[0]
                raise RequestFailed(f"{flow.job.where}: {reply.reason}")
        elif self.cache is not None:
            self.cache.put(one.key, reply)
        self.answered.append((one, reply))

    def deliver(self) -> None:
        """Give all new replies to their flows, with their share of the engine's seconds."""
        answered, self.answered = self.answered, []
        if not answered:
            return
        shares = _shares(self.clock.take(), [reply for _, reply in answered])
        complete = []
        for (one, reply), seconds in zip(answered, shares, strict=True):
            for flow, _ in one.waiting:
                flow.seconds += seconds / len(one.waiting)
            complete += self.hand_over(one, reply)
        self.go_on(complete)

    def outcomes(self) -> Iterator[tuple[Job, Outcome]]:
        """Yield the flows that have ended."""
        while self.finished:
            yield self.finished.popleft()


def _shares(seconds: float, replies: Sequence[Reply | Failure]) -> list[float]:
    """Share seconds out by tokens read and written; evenly where there are none.

    Replies that come together belong to many tasks: short texts must not be charged for long ones.
    """
    tokens = [0 if isinstance(r, Failure) else r.prompt_tokens + r.output_tokens for r in replies]
    whole = sum(tokens)
    if not whole:
        return [seconds / len(replies)] * len(replies)
    return [seconds * own / whole for own in tokens]


class _Clock:
    """Measures the engine's seconds, without those of loading a model."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._seconds = engine, 0.0
        self._started: tuple[float, float] | None = None

    def start(self) -> None:
        """Count from now on."""
        self._started = time.perf_counter(), self._engine.statistics.loading_seconds

    def stop(self) -> None:
        """Count no longer; do nothing where nothing is being counted."""
        if self._started is None:
            return
        since, loaded = self._started
        loading = self._engine.statistics.loading_seconds - loaded
        self._seconds += max(time.perf_counter() - since - loading, 0.0)
        self._started = None

    def take(self) -> float:
        """Return the seconds counted since the last call."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds
