"""Many flows, one engine: queries advance together, so the engine always sees many requests.

A reranker yields what it wants to know about one query. Here the open requests of many queries, of
any number of tasks and profiles, go to the engine side by side, and each flow is resumed with its
own replies. Merging, caching and counting happen here and nowhere else. An engine that can
`stream` is fed continuously: a query's next question does not wait for the other queries' replies.
Another is asked in lock-step, one large slice per round.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from ..errors import EngineFault
from ..progress import bar
from ..types import AnyRequest, Candidates, Engine, Failure, Reply, Reranker
from .desk import Desk
from .flow import Failed, Job, OpenFlow, Outcome, Reranked

if TYPE_CHECKING:
    from ..engines import ReplyCache

__all__ = [
    "OPEN_REQUESTS", "Failed", "Job", "Outcome", "Reranked", "drive", "order", "rerank_one",
]  # fmt: skip

OPEN_REQUESTS = 32_768
"""Unanswered requests held at once, unless one flow alone asks for more."""


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
    """Rerank all `jobs`, yielding each as it ends, which need not be in order.

    Jobs are drawn only as others end, so memory does not grow with their number. A request that
    the engine fails raises RequestFailed, or with `keep_going` ends its query alone as Failed.
    Raises RerankerFault for a reranker that raises or returns anything but one finite score per
    candidate. With the seed `shuffle` requests go to the engine in another order and in other
    slices than they came. `queries`, the number of jobs, is for the progress bar alone.
    """
    desk = Desk(engine, cache, keep_going=keep_going, shuffle=shuffle)
    source = _Source(iter(jobs), desk, open_requests)
    if hasattr(engine, "stream"):
        return _streamed(source, desk, what, queries)
    return _in_rounds(source, desk, what)


def rerank_one(reranker: Reranker, candidates: Candidates, engine: Engine) -> Reranked:
    """Rerank one query's candidates; raises what `drive` raises."""
    ((_, outcome),) = drive([Job(None, reranker, candidates, type(reranker).__name__)], engine)
    assert isinstance(outcome, Reranked), "without keep_going a failure raises"  # noqa: S101
    return outcome


def order(scores: Sequence[float]) -> list[int]:
    """Return the indices best first; ties keep first-stage order."""
    return sorted(range(len(scores)), key=lambda index: -scores[index])


class _Source:
    """Jobs that have not begun; they begin as there is room for what they ask."""

    def __init__(self, jobs: Iterator[Job], desk: Desk, open_requests: int) -> None:
        self._jobs, self._desk, self._limit = jobs, desk, open_requests

    def admit(self, *, at_most: int | None = None) -> bool:
        """Begin jobs until the limit, or until `at_most` requests are fresh; False at their end.

        At least one begins while there is room. One that asks nothing takes room by its size, so
        that its outcome is soon let go.
        """
        room = self._limit - self._desk.waiting
        while room > 0 and (at_most is None or len(self._desk.fresh) < at_most):
            job = next(self._jobs, None)
            if job is None:
                return False
            flow = OpenFlow(job)
            room -= len(flow.asked) or len(job.candidates.documents) + 1
            self._desk.take([flow])
        return True


def _in_rounds(source: _Source, desk: Desk, what: str) -> Iterator[tuple[Job, Outcome]]:
    """Ask in slices: everything that is open, and then everything that follows from it."""
    number = 0
    while source.admit() or desk.fresh or desk.finished:
        yield from desk.outcomes()
        if desk.fresh:
            number += 1
            _one_round(desk, f"{what}, round {number}")
    yield from desk.outcomes()


def _one_round(desk: Desk, what: str) -> None:
    """Ask one slice; its seconds are shared out by tokens, those of loading a model left out."""
    requests = desk.slice()
    replies: dict[int, Reply | Failure] = {}
    clock = _Clock(desk.engine)
    try:
        with bar(what, total=len(requests)) as advance:
            for index, reply in desk.engine.answer(requests):
                desk.keep(requests[index], reply)
                replies[index] = reply
                advance(1)
    finally:
        desk.flush()
    _require_none([r for i, r in enumerate(requests) if i not in replies], desk.engine)
    parts = _parts(clock.lap(), list(replies.values()))
    for (index, reply), part in zip(replies.items(), parts, strict=True):
        desk.tell(requests[index], reply, part)


def _parts(seconds: float, replies: Sequence[Reply | Failure]) -> list[float]:
    """Share seconds out by tokens read and written; evenly where no reply tells any.

    A slice holds queries of many tasks: short texts are not to pay for long ones.
    """
    tokens = [0 if isinstance(r, Failure) else r.prompt_tokens + r.output_tokens for r in replies]
    if not any(tokens):
        return [seconds / len(replies)] * len(replies)
    whole = sum(tokens)
    return [seconds * own / whole for own in tokens]


def _streamed(
    source: _Source, desk: Desk, what: str, queries: int | None
) -> Iterator[tuple[Job, Outcome]]:
    """Feed the engine as it has room; a reply's seconds are those since the reply before it."""
    sent: dict[int, AnyRequest] = {}
    clock = _Clock(desk.engine)

    def requests() -> Iterator[AnyRequest | None]:
        """What the engine may take next; None while there is nothing before it has answered."""
        numbers = itertools.count()
        while True:
            started = time.perf_counter()
            more = bool(desk.fresh) or source.admit(at_most=1)
            clock.leave_out(time.perf_counter() - started)
            if desk.fresh:
                request = desk.fresh.popleft()
                sent[next(numbers)] = request
                yield request
            elif desk.waiting:
                yield None
            elif not more or desk.finished:
                return

    with bar(what, total=queries) as advance:
        while source.admit(at_most=1) or desk.fresh or desk.finished:
            yield from _counted(desk.outcomes(), advance)
            try:
                for index, reply in desk.engine.stream(requests()):  # type: ignore[attr-defined]
                    assert index in sent, "an engine answers a request once"  # noqa: S101
                    request = sent.pop(index)
                    seconds = clock.lap()
                    desk.keep(request, reply)
                    desk.tell(request, reply, seconds)
                    yield from _counted(desk.outcomes(), advance)
                    clock.restart()
            finally:
                desk.flush()
            _require_none(list(sent.values()), desk.engine)
        yield from _counted(desk.outcomes(), advance)


def _require_none(unanswered: Sequence[AnyRequest], engine: Engine) -> None:
    if unanswered:
        raise EngineFault(f"{engine.name} left {len(unanswered)} requests unanswered")


def _counted(
    outcomes: Iterable[tuple[Job, Outcome]], advance: Callable[[int], None]
) -> Iterator[tuple[Job, Outcome]]:
    for outcome in outcomes:
        advance(1)
        yield outcome


class _Clock:
    """Engine seconds between laps, those of loading a model and of our own work left out."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._last = engine, time.perf_counter()
        self._loading = self._loaded()

    def leave_out(self, seconds: float) -> None:
        """Do not count `seconds` of the lap under way."""
        self._last += seconds

    def restart(self) -> None:
        """Begin a lap now."""
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the lap before."""
        now, loaded = time.perf_counter(), self._loaded()
        passed = now - self._last - (loaded - self._loading)
        self._last, self._loading = now, loaded
        return max(passed, 0.0)

    def _loaded(self) -> float:
        return float(getattr(self._engine, "startup_seconds", 0.0))
