"""Many flows, one engine: queries advance together, so every round is one large slice.

A reranker yields what it wants to know about one query. Here the open requests of many queries, of
any number of tasks and profiles, go to the engine side by side, and each flow is resumed with its
own replies. Merging, caching and counting happen here and nowhere else.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from .engines.cache import Keys, decode
from .errors import EngineFault, RequestFailed, RerankBenchError, RerankerFault
from .progress import bar
from .types import AnyRequest, Candidates, Engine, Failure, Flow, Reply, Reranker, Scored, Scores
from .usage import Usage

if TYPE_CHECKING:
    from .engines.cache import ReplyCache

OPEN_REQUESTS = 32_768
"""Unanswered requests held at once, unless one flow alone asks for more."""


@dataclass(frozen=True)
class Job:
    """One query to rerank; `key` is handed back with the outcome, `label` names the reranker."""

    key: Any
    reranker: Reranker
    candidates: Candidates
    label: str = "reranker"

    @property
    def where(self) -> str:
        """How an error names this job."""
        return f"{self.label}, task {self.candidates.task}, query {self.candidates.query_id}"


@dataclass(frozen=True)
class Reranked:
    """Scores in candidate order, what the flow counted, and what it cost."""

    scores: tuple[float, ...]
    counts: Mapping[str, int]
    usage: Usage


@dataclass(frozen=True)
class Failed:
    """A query with a request that could not be served, and what it had cost by then."""

    reason: str
    usage: Usage


Outcome = Reranked | Failed


def drive(
    jobs: Iterable[Job],
    engine: Engine,
    *,
    cache: ReplyCache | None = None,
    keep_going: bool = False,
    open_requests: int = OPEN_REQUESTS,
    what: str = "reranking",
) -> Iterator[tuple[Job, Outcome]]:
    """Rerank all `jobs`, yielding each as it ends, which need not be in order.

    Jobs are drawn only as others end, so memory does not grow with their number. A request that
    the engine fails raises RequestFailed, or with `keep_going` ends its query alone as Failed.
    Raises RerankerFault for a reranker that raises or returns anything but one finite score per
    candidate.
    """
    waiting = iter(jobs)
    flows: list[_Open] = []
    slices = _Slices(engine, cache, keep_going, what)
    while True:
        flows += _admit(waiting, open_requests - sum(len(f.asked) for f in flows))
        if not flows:
            return
        slices.answer([f for f in flows if f.outcome is None])
        for flow in flows:
            flow.resume()
        for flow in flows:
            if flow.outcome is not None:
                yield flow.job, flow.outcome
        flows = [f for f in flows if f.outcome is None]


def rerank_one(reranker: Reranker, candidates: Candidates, engine: Engine) -> Reranked:
    """Rerank one query's candidates; raises what `drive` raises."""
    ((_, outcome),) = drive([Job(None, reranker, candidates, type(reranker).__name__)], engine)
    assert isinstance(outcome, Reranked), "without keep_going a failure raises"  # noqa: S101
    return outcome


def order(scores: Sequence[float]) -> list[int]:
    """Return the indices best first; ties keep first-stage order."""
    return sorted(range(len(scores)), key=lambda index: -scores[index])


def _admit(waiting: Iterator[Job], room: int) -> list[_Open]:
    """Start jobs until their first requests fill `room`; at least one while there is room."""
    started: list[_Open] = []
    while room > 0:
        job = next(waiting, None)
        if job is None:
            break
        started.append(_Open(job))
        # A flow that asks for nothing takes room by its size, so that its outcome is soon let go.
        room -= len(started[-1].asked) or len(job.candidates.documents) + 1
    return started


class _Open:
    """A flow under way: what it asks now, what it has been told, what it has cost."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.asked: Sequence[AnyRequest] = ()
        self.replies: list[Reply | Failure | None] = []
        self.spent = dict.fromkeys((f.name for f in fields(Usage)), 0.0)
        self.outcome: Outcome | None = None
        self._flow: Flow | None = None
        result = self._guard(lambda: job.reranker.rerank(job.candidates))
        if isinstance(result, Generator):
            self._flow = result
            self._advance(None)
        else:
            self._finish(result)

    @property
    def usage(self) -> Usage:
        """What this query has cost so far."""
        counts = {name: int(n) for name, n in self.spent.items() if name != "seconds"}
        return Usage(**counts, seconds=self.spent["seconds"])

    def resume(self) -> None:
        """Hand the replies in and let the flow go on to its next question or its end."""
        if self.outcome is not None:
            return
        failure = next((r for r in self.replies if isinstance(r, Failure)), None)
        if failure is None:
            self._advance(self.replies)
        else:
            assert self._flow is not None  # noqa: S101
            self._flow.close()
            self.outcome = Failed(failure.reason, self.usage)

    def _advance(self, replies: Sequence[Any] | None) -> None:
        flow = self._flow
        assert flow is not None  # noqa: S101
        try:
            asked = self._guard(lambda: _requests(flow.send(replies)))  # type: ignore[arg-type]
            while not asked:
                asked = self._guard(lambda: _requests(flow.send(())))
        except _Ended as end:
            self._finish(end.scores)
            return
        self.asked = asked
        self.replies = [None] * len(asked)
        self.spent["calls"] += len(asked)
        self.spent["rounds"] += 1

    def _finish(self, result: Scores) -> None:
        scored = result if isinstance(result, Scored) else Scored(result)
        scores = self._guard(lambda: tuple(float(score) for score in scored.scores))
        documents = len(self.job.candidates.documents)
        if len(scores) != documents:
            raise RerankerFault(
                f"{self.job.where}: returned {len(scores)} scores for {documents} candidates"
            )
        bad = next((s for s in scores if not math.isfinite(s)), None)
        if bad is not None:
            raise RerankerFault(f"{self.job.where}: returned a score that is no number ({bad})")
        counts = self._guard(lambda: {str(name): int(n) for name, n in scored.counts.items()})
        self.outcome = Reranked(scores, counts, self.usage)

    def _guard(self, step: Any) -> Any:
        """Run a step of the reranker's own code and name the query if it raises."""
        try:
            return step()
        except StopIteration as stop:
            raise _Ended(stop.value) from None
        except RerankBenchError:
            raise
        except Exception as error:
            raise RerankerFault(
                f"{self.job.where}: raised {type(error).__name__}: {error}"
            ) from error


def _requests(asked: Sequence[AnyRequest]) -> list[AnyRequest]:
    """The yielded requests; a mistake such as labels in a list shows here, where it has a name."""
    for request in (requests := list(asked)):
        hash(request)
    return requests


class _Ended(Exception):
    """A flow returned; StopIteration itself must not cross a generator."""

    def __init__(self, scores: Scores) -> None:
        super().__init__()
        self.scores = scores


@dataclass
class _Slices:
    """Answers the open requests of all flows: once each, from the cache where it can."""

    engine: Engine
    cache: ReplyCache | None
    keep_going: bool
    what: str
    round: int = 0
    _keys: Keys | None = field(default=None, init=False)

    def answer(self, flows: Sequence[_Open]) -> None:
        """Fill in every flow's replies, and charge it for them."""
        askers: dict[AnyRequest, list[tuple[_Open, int]]] = {}
        for flow in flows:
            for place, request in enumerate(flow.asked):
                askers.setdefault(request, []).append((flow, place))
        if not askers:
            return
        self.round += 1
        fresh = self._recall(askers)
        if fresh:
            self._ask(fresh, askers)

    def _recall(self, askers: _Askers) -> dict[AnyRequest, bytes]:
        """Deliver what the cache knows; return the other requests with their keys."""
        requests = list(askers)
        if self.cache is None:
            return dict.fromkeys(requests, b"")
        self._keys = self._keys or Keys(self.engine.identity)
        keys = self._keys.of(requests)
        known = self.cache.get(keys)
        for request, key in zip(requests, keys, strict=True):
            if key in known:
                _deliver(decode(known[key], request), askers[request], from_cache=1)
        return {r: k for r, k in zip(requests, keys, strict=True) if k not in known}

    def _ask(self, fresh: Mapping[AnyRequest, bytes], askers: _Askers) -> None:
        requests = list(fresh)
        unanswered = set(range(len(requests)))
        start = time.perf_counter()
        try:
            with bar(f"{self.what}, round {self.round}", total=len(requests)) as advance:
                for index, reply in self.engine.answer(requests):
                    request = requests[index]
                    unanswered.discard(index)
                    self._keep(fresh[request], reply, askers[request][0][0].job)
                    _deliver(reply, askers[request])
                    advance(1)
        finally:
            if self.cache is not None:
                self.cache.flush()
        if unanswered:
            raise EngineFault(f"{self.engine.name} left {len(unanswered)} requests unanswered")
        each = (time.perf_counter() - start) / len(requests)
        for request in requests:
            for flow, _ in askers[request]:
                flow.spent["seconds"] += each / len(askers[request])

    def _keep(self, key: bytes, reply: Reply | Failure, job: Job) -> None:
        if isinstance(reply, Failure):
            if not self.keep_going:
                raise RequestFailed(f"{job.where}: {reply.reason}")
        elif self.cache is not None:
            self.cache.put(key, reply)


_Askers = Mapping[AnyRequest, Sequence[tuple[_Open, int]]]


def _deliver(
    reply: Reply | Failure, askers: Sequence[tuple[_Open, int]], *, from_cache: int = 0
) -> None:
    """Hand one reply to all who asked for it; the first of them is charged for the asking."""
    read = written = 0
    if not isinstance(reply, Failure):
        read, written = reply.prompt_tokens, reply.output_tokens
    for position, (flow, place) in enumerate(askers):
        flow.replies[place] = reply
        flow.spent["prompt_tokens"] += read
        flow.spent["output_tokens"] += written
        flow.spent["merged"] += position > 0
        flow.spent["from_cache"] += from_cache if position == 0 else 0
