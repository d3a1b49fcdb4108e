"""One query's flow: the requests that its reranker yields, their replies, scores and cost."""

from __future__ import annotations

import math
import traceback
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import RerankBenchError, RerankerFault
from ..types import AnyRequest, Candidates, Failure, Reply, Reranker, Scored, Scores
from .health import equal_scores, observed


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts for one query, or a sum over queries.

    `calls`, `rounds` and the tokens are those of the requests a reranker yielded, before merging
    and cache, so they are equal cold, warm or resumed. `rounds` is the sequential depth.
    `cached_tokens` are those of the prompt tokens that an engine's prefix cache held already.
    `merged` requests were equal to one under way; `from_cache` were answered before. `seconds` is
    engine wall time without the loading of a model: a slice's is shared out by tokens over what it
    asked, a streamed reply's is the time since the reply before it, and a request's is shared by
    all who asked it. Sums over a run are exact; a single query's part is a share of what went on.
    """

    calls: int = 0
    rounds: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    merged: int = 0
    from_cache: int = 0
    seconds: float = 0.0
    cached_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def total(usages: Iterable[Usage]) -> Usage:
    """Sum usages; rounds are summed too, so divide by the number of queries for a mean."""
    return sum(usages, Usage())


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
    """A flow under way: its open `requests`, its `usage`, and in the end its `outcome`.

    `spent` counts all of the usage but the engine's `seconds`.

    Raises RerankerFault, which names job and query, for a reranker that raises or returns anything
    but one finite score per candidate.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.requests: Sequence[AnyRequest] = ()
        self.spent: Counter[str] = Counter()
        self.seconds = 0.0
        self.outcome: Outcome | None = None
        self._replies: dict[int, Reply | Failure] = {}
        self._counts: Counter[str] = Counter()
        self._flow = _run(job)

    @property
    def usage(self) -> Usage:
        """What this query has cost so far."""
        return Usage(**self.spent, seconds=self.seconds)

    def receive(self, place: int, reply: Reply | Failure) -> bool:
        """Store the reply to the request at `place`; return whether all replies are there."""
        self._replies[place] = reply
        if not isinstance(reply, Failure):
            self.spent["prompt_tokens"] += reply.prompt_tokens
            self.spent["output_tokens"] += reply.output_tokens
            self.spent["cached_tokens"] += reply.cached_tokens
            for name, count in observed(self.requests[place], reply).items():
                self._counts[name] += count
        return len(self._replies) == len(self.requests)

    def advance(self) -> None:
        """Run the reranker to its next requests or its end; a Failure among the replies ends it."""
        replies = [self._replies[place] for place in range(len(self.requests))]
        failure = next((r for r in replies if isinstance(r, Failure)), None)
        self.requests, self._replies = (), {}
        if failure is not None:
            self._flow.close()
            self.outcome = Failed(failure.reason, self.usage)
            return
        try:
            self.requests = self._flow.send(replies if self.spent["rounds"] else None)
            self.spent["calls"] += len(self.requests)
            self.spent["rounds"] += 1
        except StopIteration as end:
            self.outcome = self._finished(end.value)
        except RerankBenchError:
            raise
        except Exception as error:
            raise self._fault(f"raised {type(error).__name__}{_place(error)}: {error}") from error

    def _finished(self, scored: Scored) -> Reranked:
        """Check what the reranker returned, and add what was counted."""
        documents, calls = len(self.job.candidates.documents), self.spent["calls"]
        scores = tuple(scored.scores)
        if len(scores) != documents:
            raise self._fault(f"returned {len(scores)} scores for {documents} candidates")
        bad = next((s for s in scores if not math.isfinite(s)), None)
        if bad is not None:
            raise self._fault(f"returned a score that is not finite ({bad})")
        if unsent := set(scored.repairs) - set(range(calls)):
            raise self._fault(f"reported repairs {sorted(unsent, key=str)} of {calls} requests")
        equal = equal_scores(self.job.candidates, scores, calls)
        counts = {**scored.counts, **self._counts, **equal}
        return Reranked(scores, {k: n for k, n in counts.items() if n}, self.usage)

    def _fault(self, what: str) -> RerankerFault:
        return RerankerFault(f"{self.job.where}: {what}")


def _place(error: Exception) -> str:
    """Return the line of the reranker's own code that an error came from."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f.filename != __file__ and Path(f.filename).is_file()]
    return f" in {Path(own[0].filename).name}, line {own[0].lineno}" if own else ""


def _run(job: Job) -> Generator[list[AnyRequest], Sequence[Any] | None, Scored]:
    """Run all of a reranker's own code: yield requests that are not empty, return typed scores."""
    result = job.reranker.rerank(job.candidates)
    if isinstance(result, Generator):
        result = yield from _requests(result)
    scored = result if isinstance(result, Scored) else Scored(result)
    return Scored(
        tuple(float(score) for score in scored.scores),
        {str(name): int(n) for name, n in scored.counts.items()},
        tuple(set(scored.repairs)),
    )


def _requests(
    flow: Generator[Sequence[AnyRequest], Any, Scores],
) -> Generator[list[AnyRequest], Sequence[Any] | None, Scores]:
    replies: Sequence[Any] | None = None
    while True:
        try:
            requests = list(flow.send(replies))
        except StopIteration as end:
            scores: Scores = end.value
            return scores
        for request in requests:
            hash(request)  # a mistake such as labels in a list raises here
        replies = (yield requests) if requests else ()
