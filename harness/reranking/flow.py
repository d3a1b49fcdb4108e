"""A reranker's conversation about one query, from its first question to its scores."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ..errors import RerankBenchError, RerankerFault
from ..types import AnyRequest, Candidates, Failure, Flow, Reply, Reranker, Scored, Scores
from .health import equal_scores, observed
from .usage import Usage


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
    """A flow under way: what it asks now, what it has been told, what it has cost.

    Raises RerankerFault, which names job and query, for a reranker that raises or returns anything
    but one finite score per candidate.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.asked: Sequence[AnyRequest] = ()
        self.open = 0
        self.spent = dict.fromkeys((f.name for f in fields(Usage)), 0.0)
        self.outcome: Outcome | None = None
        self._replies: list[Reply | Failure | None] = []
        self._seen: Counter[str] = Counter()
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

    def tell(self, place: int, reply: Reply | Failure) -> bool:
        """Take the reply to the request at `place`; say whether all have come."""
        self._replies[place] = reply
        self.open -= 1
        if not isinstance(reply, Failure):
            self.spent["prompt_tokens"] += reply.prompt_tokens
            self.spent["output_tokens"] += reply.output_tokens
            self.spent["cached_tokens"] += getattr(reply, "cached_tokens", 0)
            self._seen.update(observed(self.asked[place], reply))
        return self.open == 0

    def resume(self) -> None:
        """Hand the replies in and let the flow go on to its next question or its end."""
        failure = next((r for r in self._replies if isinstance(r, Failure)), None)
        if failure is None:
            self._advance(self._replies)
        else:
            assert self._flow is not None  # noqa: S101
            self._flow.close()
            self.asked = ()
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
        self.asked, self.open = asked, len(asked)
        self._replies = [None] * len(asked)
        self.spent["calls"] += len(asked)
        self.spent["rounds"] += 1

    def _finish(self, result: Scores) -> None:
        self.asked = ()
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
        equal = equal_scores(self.job.candidates, scores, int(self.spent["calls"]))
        told = {name: n for name, n in {**counts, **self._seen, **equal}.items() if n}
        self.outcome = Reranked(scores, told, self.usage)

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
