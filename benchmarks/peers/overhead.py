"""What the harness adds to an engine of a fixed speed, for flows of several forms.

The engine answers 1,000 requests a second in steps of 64, by sleeping. Either it computes in this
process, as engine transformers does, so all that the harness does comes on top; or elsewhere, as a
server does, which goes on with what it has been sent. The peer is the same engine, given the same
requests as a list. So the ratio is the share of the time in which the engine is at work.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import click
from side_by_side import Equality, Found, Match, Row, Way, case, rounds, side_by_side

from rerank_bench import (
    Candidates,
    Document,
    FakeEngine,
    Generate,
    Generation,
    Job,
    LabelScores,
    Logits,
    Message,
    NextToken,
    PairScore,
    Prompt,
    Reply,
    ask,
    drive,
)
from rerank_bench.engines import ReplyCache
from rerank_bench.reranking import choose
from rerank_bench.types import Answers, AnyRequest

RATE, STEP, IN_FLIGHT = 1000, 64, 512
AIM = 0.97
PERMUTATION = " > ".join(f"[{i}]" for i in range(20, 0, -1))
FORMS = {
    # name: queries, documents, whether replies are kept on disk, requests in flight
    "cross-encoder": (50, 100, False, STEP),
    "cross-encoder, cached": (50, 100, True, STEP),
    "pointwise, cached": (50, 100, True, STEP),
    "pointwise, cached, of a server": (50, 100, True, IN_FLIGHT),
    "listwise, cached, of a server": (555, 100, True, IN_FLIGHT),
    "all pairs, of a server": (4, 50, False, IN_FLIGHT),
}


class AllPairs:
    """Asks every unordered pair at once: the most requests a flow can hold."""

    asks = frozenset({NextToken})

    def rerank(self, candidates: Candidates) -> Any:
        """Score each document by its wins."""
        pairs = list(combinations(range(len(candidates.documents)), 2))
        texts = [d.text for d in candidates.documents]
        asked = [
            NextToken(Prompt((Message("user", f"{texts[a]}\n{texts[b]}"),)), ("A", "B"))
            for a, b in pairs
        ]
        replies = yield from ask(asked)
        wins = [0.0] * len(texts)
        for (a, b), reply in zip(pairs, replies, strict=True):
            wins[a if reply.logprob["A"] >= reply.logprob["B"] else b] += 1
        return wins


def answer(request: Any) -> Reply:
    """Answer always the same, so that what takes time is the pace."""
    if isinstance(request, PairScore):
        return Logits((0.5,), prompt_tokens=9)
    if isinstance(request, Generate):
        return Generation(PERMUTATION, finished=True, prompt_tokens=9, output_tokens=9)
    scores = {label: -1.0 - place for place, label in enumerate(request.labels)}
    return LabelScores(scores, prompt_tokens=9)


class Paced(FakeEngine):
    """Answers `rate` requests a second, in steps; `seen` is what it was asked since it was cleared.

    in_flight: requests that it takes before it has answered the first; as many as one step for an
        engine that computes in this process.
    """

    def __init__(self, in_flight: int, rate: float = RATE) -> None:
        super().__init__(answer, name="paced")
        self.in_flight, self.rate = in_flight, rate
        self.seen: list[AnyRequest] = []

    def clear(self) -> None:
        """Forget what it was asked; the way before may still hold the list."""
        self.seen = []

    def stream(self, requests: Iterator[AnyRequest | None]) -> Answers:
        """Yield the replies of a step when the time that it takes is over."""
        steps: deque[tuple[float, list[int]]] = deque()
        free = 0.0  # when the last step that was begun will be over
        ended = False
        while steps or not ended:
            while not ended and len(steps) * STEP < self.in_flight:
                step, ended = self._draw(requests)
                if not step:
                    break
                free = max(free, time.perf_counter()) + len(step) / self.rate
                steps.append((free, step))
            if steps:
                due, step = steps.popleft()
                time.sleep(max(0.0, due - time.perf_counter()))
                yield from ((index, answer(self.seen[index])) for index in step)

    def _draw(self, requests: Iterator[AnyRequest | None]) -> tuple[list[int], bool]:
        """Take what is ready, up to a step, and say whether that was all there is."""
        step: list[int] = []
        while len(step) < STEP:
            try:
                request = next(requests)
            except StopIteration:
                return step, True
            if request is None:
                break
            step.append(len(self.seen))
            self.seen.append(request)
        return step, False


def jobs(form: str) -> Iterator[Job]:
    """Yield one job per query, as a suite does."""
    queries, depth, *_ = FORMS[form]
    method, _, _ = form.partition(",")
    reranker: Any = (
        AllPairs() if method == "all pairs" else choose(f"{method}:engine=fake").reranker
    )
    words = "the quick brown fox jumps over the lazy dog and runs into the dark wood " * 5
    for q in range(queries):
        documents = tuple(Document(f"d{q}-{i}", f"{i} of {q}: {words}") for i in range(depth))
        yield Job(q, reranker, Candidates("bench", str(q), f"query {q}", documents), form)


def harness_way(form: str, engine: Paced) -> Way[Sequence[AnyRequest]]:
    """Drive the flows of a form; the output is what the engine was asked."""

    def run() -> Sequence[AnyRequest]:
        with tempfile.TemporaryDirectory() as folder:
            cache = ReplyCache(Path(folder)) if FORMS[form][2] else None
            for _ in drive(jobs(form), engine, cache=cache):
                pass
            if cache is not None:
                cache.close()
        return engine.seen

    return Way(form, run, before=engine.clear)


def engine_way(form: str, engine: Paced) -> Way[Sequence[AnyRequest]]:
    """Ask the engine for all that the flows of a form ask for, as one list."""
    asked = Paced(STEP, rate=math.inf)
    for _ in drive(jobs(form), asked):
        pass

    def run() -> Sequence[AnyRequest]:
        for _ in engine.stream(iter(asked.seen)):
            pass
        return engine.seen

    return Way("the engine alone", run, before=engine.clear)


def in_any_order(ours: Sequence[AnyRequest], peer: Sequence[AnyRequest]) -> Equality:
    """Count the requests that only one side sent."""
    left, right = Counter(ours), Counter(peer)
    differ = (left - right).total() + (right - left).total()
    return Equality("requests", len(ours), differ, 0)


@case("overhead")
@click.option("--form", "forms", multiple=True, type=click.Choice(list(FORMS)), help="Only these.")
@rounds(2)
def overhead(forms: Sequence[str], rounds: int) -> Found:
    """What the harness adds at 1,000 requests a second."""
    rows: list[Row] = []
    for form in forms or FORMS:
        engine = Paced(FORMS[form][3])
        match = Match(harness_way(form, engine), engine_way(form, engine), AIM)
        rows += side_by_side([match], in_any_order, rounds)
    for row in rows:
        row["overhead"] = 1 / row["ratio"] - 1
    return Found(rows, {"requests_per_second": RATE, "step": STEP, "in_flight": IN_FLIGHT})
