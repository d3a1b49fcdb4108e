"""Every way in which a language model reranks, run on real texts, and how two engines compare.

Replies are compared request by request: numbers may differ by the noise that `doctor` allows for
float32. Two engines may go on differently only behind a reply that is undecided: labels, or the two
tokens at which texts part, whose log-probabilities lie within twice the noise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from rerank_bench import Candidates, Flow, PoolRow, Task, drive
from rerank_bench.engines import ReplyCache
from rerank_bench.engines.local import TransformersEngine
from rerank_bench.inspect.doctor_checks import TOLERANCES, kendall
from rerank_bench.rerankers import pairwise, setwise
from rerank_bench.reranking import (
    Budget,
    Defaults,
    Fitting,
    Job,
    Reranked,
    choose,
    label_probability,
)
from rerank_bench.types import (
    Attend,
    Attention,
    Embed,
    Engine,
    Generate,
    Likelihood,
    NextToken,
    Scores,
    Vectors,
)

NOISE = TOLERANCES["float32"]
KINDS = frozenset({NextToken, Generate, Likelihood, Attend, Embed})
"""What a plain language model can be asked."""

LISTED: dict[str, list[str]] = {
    "acurank": ["window=4,max_calls=2"],
    "bi-encoder": ["pooling=mean"],
    "dual-end": ["k=2"],
    "duo": ["prompt=prp,k=3"],
    "e2rank": ["feedback=4"],
    "ecorank": ["budget=400"],
    "first": ["window=4"],
    "groupwise": ["group=4,repeats=1,temperature=0,max_tokens=64"],
    "in-context": [""],
    "insertrank": [""],
    "listwise": ["window=4", "orders=2"],
    "pairwise": [
        *(f"sort={sort},k=2" for sort in pairwise.SORTS),
        "sort=heap,k=1,answer=generate,max_tokens=4",
    ],
    "pointwise": [
        *("", "prompt=graded,graded=true", "prompt=zerank,raw=true"),
        "prompt=rank1,thought_tokens=12",
    ],
    "query-likelihood": [""],
    "rating": [f"prompt={Path(__file__).with_name('rating.toml')},max_tokens=1"],
    "setwise": [
        *(f"sort={sort},k=2" for sort in setwise.SORTS),
        "permutations=2,k=1",
        "prompt=setwise,answer=generate,k=1,max_tokens=4",
        "prompt=rank-r1,answer=tagged,k=1,max_tokens=12",
    ],
    "tourrank": [""],
}
"""Method -> the options with which it is run, as on the command line."""

NOT_HERE = {"jina-listwise": "reads positions of tokens that only its own checkpoint has"}
"""Methods that ask a language model for what no plain one has, and why."""

NAMES = [f"{method}:{options}".strip(":") for method, every in LISTED.items() for options in every]
RAW = next(name for name in NAMES if "raw=true" in name)


@dataclass
class Watched:
    """A reranker that keeps what it asked and what it was told, in order."""

    reranker: Any
    exchanges: list[tuple[Any, Any]] = field(default_factory=list)

    def rerank(self, candidates: Candidates) -> Flow:
        flow, replies = self.reranker.rerank(candidates), None
        while True:
            try:
                requests = flow.send(replies)
            except StopIteration as end:
                scores: Scores = end.value
                return scores
            replies = yield requests
            self.exchanges += zip(requests, replies, strict=True)


@dataclass(frozen=True)
class Outcome:
    """One query: requests with their replies, scores, and what the reranker counted."""

    exchanges: Sequence[tuple[Any, Any]]
    scores: Sequence[float]
    counts: Mapping[str, int]


def reranker(name: str) -> Any:
    return choose(name, Defaults(engine="fake")).reranker


def run(
    engine: Engine,
    names: Sequence[str],
    task: Task,
    rows: Sequence[PoolRow],
    *,
    tokens: int,
    cache: ReplyCache | None = None,
) -> dict[str, list[Outcome]]:
    """Rerank rows of a pool, with so many tokens of each document; all is asked together."""
    jobs = []
    for name in names:
        made = reranker(name)
        fitting = Fitting(task, engine, Budget.of(made, engine, doc_tokens=tokens))
        fitting.prepare(rows)
        for number, row in enumerate(rows):
            jobs.append(Job((name, number), Watched(made), fitting.candidates(row), name))
    found = {}
    for job, outcome in drive(jobs, engine, cache=cache):
        assert isinstance(outcome, Reranked)
        watched: Any = job.reranker
        found[job.key] = Outcome(watched.exchanges, outcome.scores, outcome.counts)
    return {name: [found[name, number] for number in range(len(rows))] for name in names}


class Plain:
    """The model of a transformers engine in one plain forward pass: no batch, padding or cache."""

    def __init__(self, engine: TransformersEngine) -> None:
        self._preparer = engine._preparer
        source = engine.checkpoint.place.source
        self._model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()

    def logprobs(self, request: Any, written: Sequence[int] = ()) -> torch.Tensor:
        """Log-probabilities behind each token of the prompt and of what was written behind it."""
        with torch.inference_mode():
            ids = torch.tensor([[*self.prepared(request).ids, *written]])
            found: torch.Tensor = self._model(ids).logits[0].log_softmax(-1)
        return found

    def prepared(self, request: Any) -> Any:
        ((one,), _) = self._preparer.prepare([(0, request)])
        return one

    def check(self, request: Any, reply: Any) -> None:
        """Assert that a reply is what the model says, and greedy where it is a text."""
        one = self.prepared(request)
        if isinstance(request, Generate):
            n = len(one.ids)
            rows = self.logprobs(request, reply.tokens[:-1])[n - 1 :]
            mine = rows.gather(1, torch.tensor(reply.tokens)[:, None])[:, 0]
            assert near(mine.tolist(), reply.logprobs)
            assert float((rows.amax(1) - mine).max()) <= NOISE, "not the most probable token"
        elif isinstance(request, Likelihood):
            rows = self.logprobs(request)
            places = range(len(one.ids) - one.ending, len(one.ids))
            total = sum(float(rows[place - 1, one.ids[place]]) for place in places)
            assert abs(total - reply.logprob) <= NOISE * one.ending
        else:
            last = self.logprobs(request)[-1]
            assert near([float(last[i]) for i in one.labels.values()], reply.logprob.values())


def noise(one: Outcome, other: Outcome) -> float:
    """The largest difference of two scores of a document."""
    return max(abs(a - b) for a, b in zip(one.scores, other.scores, strict=True))


def near(some: Iterable[float], others: Iterable[float]) -> bool:
    return all(abs(a - b) <= NOISE for a, b in zip(some, others, strict=True))


def decides_the_same(request: Any, one: Any, other: Any, plain: Plain) -> bool:
    """Assert that two replies differ by noise only; say whether a reranker must go on alike."""
    assert one.prompt_tokens == other.prompt_tokens
    if isinstance(request, Likelihood):
        assert one.tokens == other.tokens
        assert abs(one.logprob - other.logprob) <= NOISE * one.tokens
        return True
    if isinstance(request, NextToken):
        assert near(one.logprob.values(), other.logprob.values())
        ranked = [sorted(reply.logprob, key=reply.logprob.get) for reply in (one, other)]
        return ranked[0] == ranked[1]
    if isinstance(request, Generate):
        return _same_text(request, one, other, plain)
    assert near(*(numbers(reply) for reply in (one, other)))
    return True


def numbers(reply: Attention | Vectors) -> list[float]:
    if isinstance(reply, Vectors):
        return [float(value) for value in reply.array.ravel()]
    return [value for prompt in reply.weights for passage in prompt for value in passage]


def _same_text(request: Generate, one: Any, other: Any, plain: Plain) -> bool:
    """Texts may part only where the two tokens are equally probable, within twice the noise."""
    pairs = list(zip(one.tokens, other.tokens, strict=False))
    place = next((n for n, (a, b) in enumerate(pairs) if a != b), len(pairs))
    assert near(one.logprobs[:place], other.logprobs[:place])
    if one.tokens == other.tokens:
        assert (one.text, one.finished, one.pieces) == (other.text, other.finished, other.pieces)
        return True
    assert place < len(pairs), "one text ends where the other goes on"
    behind = plain.logprobs(request, one.tokens[:place])[-1]
    a, b = (float(behind[token]) for token in pairs[place])
    assert abs(a - b) <= 2 * NOISE, f"texts part at token {place}, {abs(a - b):.1e} apart"
    return False


def compare(one: Outcome, other: Outcome, plain: Plain) -> bool:
    """Assert that two engines led a query the same way; False where an undecided reply parted it.

    Up to there requests are the same. Without one so are the scores, within the noise, and the
    order of all documents whose scores lie further apart.
    """
    for (asked, reply), (also, answer) in zip(one.exchanges, other.exchanges, strict=False):
        assert asked == also
        if not decides_the_same(asked, reply, answer, plain):
            return False
    assert len(one.exchanges) == len(other.exchanges)
    counted = [{**outcome.counts, "label_probability": 0} for outcome in (one, other)]
    assert counted[0] == counted[1]
    told = [label_probability(outcome.counts) or 0.0 for outcome in (one, other)]
    assert near(told[:1], told[1:])
    assert near(one.scores, other.scores)
    assert kendall(one.scores, other.scores, noise=NOISE) in (1.0, None)
    return True
