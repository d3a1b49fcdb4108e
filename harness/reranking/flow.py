"""One query's flow: the requests that its reranker yields, their replies, and its scores."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from ..errors import RerankBenchError, RerankerFault
from ..types import AnyRequest, Candidates, Failure, Flow, Reply, Reranker, Scored, Scores
from .health import equal_scores, observed
from .usage import Usage

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """One query to rerank; `key` is returned with the outcome, `label` names the reranker."""

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
    """Scores in candidate order, what was counted on the way, and what it cost."""

    scores: tuple[float, ...]
    counts: Mapping[str, int]
    usage: Usage


@dataclass(frozen=True)
class Failed:
    """A query with a request that could not be served, and what it had cost by then."""

    reason: str
    usage: Usage


Outcome = Reranked | Failed


class OpenFlow:
    """A flow under way: its open `requests`, what it has `spent`, and in the end its `outcome`.

    Raises RerankerFault, which names job and query, for a reranker that raises or returns anything
    but one finite score per candidate.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.requests: Sequence[AnyRequest] = ()
        self.spent = dict.fromkeys((f.name for f in fields(Usage)), 0.0)
        self.outcome: Outcome | None = None
        self._replies: dict[int, Reply | Failure] = {}
        self._counts: Counter[str] = Counter()
        self._flow: Flow | None = None

    @property
    def usage(self) -> Usage:
        """What this query has cost so far."""
        counts = {name: int(n) for name, n in self.spent.items() if name != "seconds"}
        return Usage(**counts, seconds=self.spent["seconds"])

    def receive(self, place: int, reply: Reply | Failure) -> bool:
        """Store the reply to the request at `place`; return whether all replies are there."""
        self._replies[place] = reply
        if not isinstance(reply, Failure):
            self.spent["prompt_tokens"] += reply.prompt_tokens
            self.spent["output_tokens"] += reply.output_tokens
            self.spent["cached_tokens"] += reply.cached_tokens
            self._counts.update(observed(self.requests[place], reply))
        return len(self._replies) == len(self.requests)

    def advance(self) -> None:
        """Run the reranker to its next requests or its end; a Failure among the replies ends it."""
        failure = next((r for r in self._replies.values() if isinstance(r, Failure)), None)
        if self._flow is None:
            self._start()
        elif failure is None:
            self._send([self._replies[place] for place in range(len(self.requests))])
        else:
            self._flow.close()
            self.requests, self.outcome = (), Failed(failure.reason, self.usage)

    def _start(self) -> None:
        result = self._call(lambda: self.job.reranker.rerank(self.job.candidates))
        if isinstance(result, Generator):
            self._flow = result
            self._send(None)
        else:
            self._finish(result)

    def _send(self, replies: Sequence[Any] | None) -> None:
        assert self._flow is not None  # noqa: S101
        flow = self._flow
        try:
            requests = self._call(
                lambda: _hashable(next(flow) if replies is None else flow.send(replies))
            )
            while not requests:
                requests = self._call(lambda: _hashable(flow.send(())))
        except _Ended as end:
            self._finish(end.scores)
            return
        self.requests, self._replies = requests, {}
        self.spent["calls"] += len(requests)
        self.spent["rounds"] += 1

    def _finish(self, result: Scores) -> None:
        self.requests = ()
        scored = result if isinstance(result, Scored) else Scored(result)
        scores = self._call(lambda: tuple(float(score) for score in scored.scores))
        documents = len(self.job.candidates.documents)
        if len(scores) != documents:
            raise RerankerFault(
                f"{self.job.where}: returned {len(scores)} scores for {documents} candidates"
            )
        bad = next((s for s in scores if not math.isfinite(s)), None)
        if bad is not None:
            raise RerankerFault(f"{self.job.where}: returned a score that is not finite ({bad})")
        calls = int(self.spent["calls"])
        if unsent := self._call(lambda: set(scored.repairs)) - set(range(calls)):
            raise RerankerFault(
                f"{self.job.where}: reported repairs {sorted(unsent, key=str)} of {calls} requests"
            )
        own = self._call(lambda: {str(name): int(n) for name, n in scored.counts.items()})
        equal = equal_scores(self.job.candidates, scores, calls)
        counts = {name: n for name, n in {**own, **self._counts, **equal}.items() if n}
        self.outcome = Reranked(scores, counts, self.usage)

    def _call(self, step: Callable[[], T]) -> T:
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


def _hashable(requests: Sequence[AnyRequest]) -> list[AnyRequest]:
    """Return the yielded requests; a mistake such as labels in a list raises here."""
    for request in (found := list(requests)):
        hash(request)
    return found


class _Ended(Exception):
    """A flow returned; StopIteration itself must not cross a generator."""

    def __init__(self, scores: Scores) -> None:
        super().__init__()
        self.scores = scores
