"""Run a run's flows again, query by query, and return their requests and replies as text.

Replies come from the reply cache alone; nothing is sent to a model.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from ..engines import NO_ENGINE, FakeEngine, Keys, decode
from ..errors import BadData, EngineFault, RerankBenchError
from ..evaluation import first_stage
from ..pools import PoolRow
from ..reranking import TASK, Budget, Fitting, Job, Reranked, drive
from ..runs import Variant
from ..types import (
    Answers,
    AnyRequest,
    Candidates,
    ContinuationScore,
    Failure,
    Fitted,
    Flow,
    Fuse,
    FuseScore,
    Generation,
    LabelScores,
    Likelihood,
    Logits,
    Prompt,
    Reply,
    Reranker,
    Scored,
    Scores,
)
from .restore import Cut, find_cut, find_reranker

if TYPE_CHECKING:
    from ..engines import ReplyCache
    from ..reranking import Choice
    from ..runs import QueryResult
    from ..tasks import Task

NOT_CACHED = "this reply is not in the cache"


@dataclass(frozen=True)
class Exchange:
    """A request and its reply as text.

    round: from 1. request: the name of the request's type. prompt: messages under their roles.
    reply: the reason of the failure if it is not `known`. repaired: the reranker reported that it
    repaired the reply or could not use it.
    """

    round: int
    request: str
    prompt: str
    reply: str
    repaired: bool = False
    known: bool = True


class ReplayEngine(FakeEngine):
    """An engine that answers from the reply cache and fails every request not in it.

    identity: of the engine that ran, which is part of the cache keys. cut: the `fit` of that
    engine. replies: all replies so far.
    """

    def __init__(self, identity: Mapping[str, str], cut: Cut, cache: ReplyCache) -> None:
        super().__init__(lambda request: Failure(NOT_CACHED), name="replay")
        self.identity = identity
        self.replies: dict[AnyRequest, Reply | Failure] = {}
        self._cut, self._cache = cut, cache

    def answer(self, requests: Sequence[AnyRequest]) -> Answers:
        """Yield the replies in the order of the requests."""
        keys = Keys(self.identity).of(requests)
        found = self._cache.get(list(dict.fromkeys(keys)))
        for index, (request, key) in enumerate(zip(requests, keys, strict=True)):
            known = key in found
            reply = decode(found[key], request) if known else Failure(NOT_CACHED)
            self.replies[request] = reply
            yield index, reply

    def fit(self, texts: Sequence[str], max_tokens: int | None) -> list[Fitted]:
        """Cut texts as the engine that ran did."""
        return self._cut(texts, max_tokens)


class _Recorder:
    """A reranker that records the rounds of requests of another, and the repairs it reports."""

    def __init__(self, reranker: Reranker) -> None:
        self.rounds: list[Sequence[AnyRequest]] = []
        self.repairs: Sequence[int] = ()
        self._reranker = reranker

    def rerank(self, candidates: Candidates) -> Flow:
        result = self._reranker.rerank(candidates)
        scores = (yield from self._record(result)) if isinstance(result, Generator) else result
        self.repairs = scores.repairs if isinstance(scores, Scored) else ()
        return scores

    def _record(self, flow: Flow) -> Flow:
        replies: Any = None  # a generator is started by sending it None
        while True:
            try:
                requests = list(flow.send(replies))
            except StopIteration as end:
                scores: Scores = end.value
                return scores
            if requests:
                self.rounds.append(requests)
            replies = yield requests

    def exchanges(self, replies: Mapping[AnyRequest, Reply | Failure]) -> Iterator[Exchange]:
        """Yield all requests in order with their `replies`."""
        place = itertools.count()
        for number, requests in enumerate(self.rounds, 1):
            for request in requests:
                yield Exchange(
                    number,
                    type(request).__name__,
                    _prompt_text(request),
                    _reply_text(replies[request]),
                    repaired=next(place) in self.repairs,
                    known=not isinstance(replies[request], Failure),
                )


@dataclass(frozen=True)
class Flows:
    """Runs the flow of any query of a run again."""

    choice: Choice
    engine: ReplayEngine
    fitting: Fitting
    depth: int | None
    instruction: str | None

    def exchanges(self, result: QueryResult) -> tuple[tuple[Exchange, ...], list[str]]:
        """Return the exchanges of a query in order, and notes about them.

        The round of the first request that is not in the cache is the last one.
        """
        doc_ids = tuple(first_stage(result))
        if result.safeguard is not None:
            doc_ids = (*doc_ids, result.safeguard)
        # A run does not store the scores of the first stage.
        row = PoolRow(result.query_id, doc_ids, result.safeguard).first(self.depth)
        self.fitting.prepare([row])
        candidates = self.fitting.candidates(row, instruction=self.instruction)
        recorder = _Recorder(self.choice.reranker)
        job = Job(None, recorder, candidates, self.choice.label)
        try:
            ((_, outcome),) = drive([job], self.engine, keep_going=True)
        except RerankBenchError as error:
            return (), [f"the replay ended: {error}"]
        exchanges = tuple(recorder.exchanges(self.engine.replies))
        recorded = dict(zip(result.doc_ids, result.scores, strict=True))
        scores = tuple(recorded[doc_id] for doc_id in row.doc_ids)
        others = isinstance(outcome, Reranked) and outcome.scores != scores
        return exchanges, list(_notes(result, exchanges, other_scores=others))


def _notes(
    result: QueryResult, exchanges: Sequence[Exchange], *, other_scores: bool
) -> Iterator[str]:
    """Yield in which respects the exchanges may not be those of the run."""
    if missing := sum(not exchange.known for exchange in exchanges):
        last = exchanges[-1].round
        yield f"the replay ends in round {last}: {missing} of its replies are not in the cache"
    if other_scores:
        yield "the cached replies lead to other scores than the run's: it had other replies"
    repaired = sum(result.counts.get(name, 0) for name in ("repaired", "unparsable"))
    if repaired and not any(exchange.repaired for exchange in exchanges):
        yield f"{repaired} replies were repaired or unusable; which ones is not known"


def open_flows(
    manifest: Mapping[str, Any], task: Task, cache: ReplyCache
) -> tuple[Flows, list[str]]:
    """Return the flows of a finished run, and notes on what has changed since.

    Raises BadData for a variant, which does not use the cache, and what `find_reranker` does.
    """
    settings = manifest["settings"]
    if not Variant.of(settings).is_main:
        raise BadData("repeats, other input orders and single-query runs do not use the cache")
    choice, notes = find_reranker(settings["reranker"])
    identity = {key: value for key, value in settings["engine"].items() if key != "name"}
    chars, tokens = settings["max_doc_chars"], settings.get("max_doc_tokens")
    budget = Budget.of(choice.reranker, doc_tokens=tokens, doc_chars=chars)
    try:
        cut = find_cut(identity, manifest.get("engine", {}))
    except EngineFault as error:
        notes.append(f"texts are not cut as in the run, so requests may differ: {error}")
        cut, budget = NO_ENGINE.open().fit, Budget(doc_chars=chars)
    engine = ReplayEngine(identity, cut, cache)
    fitting = Fitting(task, engine, budget)
    instruction = _instruction(settings["reranker"], task)
    return Flows(choice, engine, fitting, settings["depth"], instruction), notes


def _instruction(described: Mapping[str, Any], task: Task) -> str | None:
    """Return the instruction of the candidates; runs that did not record it used the task's."""
    if "instruction" not in described:
        return task.instruction
    recorded = described["instruction"] or {}
    return recorded.get("text") if recorded.get("source") == TASK else None


# Texts


def _prompt_text(request: AnyRequest) -> str:
    """Return a request's prompt, with its continuation if it has one, or its fields."""
    match request:
        case Likelihood():
            return f"{_prompt(request.prompt)}\n\ncontinuation:\n{request.continuation}"
        case Fuse() | FuseScore():
            return "\n\n".join(map(_prompt, request.prompts))
        case object(prompt=Prompt() as prompt):
            return _prompt(prompt)
        case _:
            return _fields(request)


def _prompt(prompt: Prompt) -> str:
    if prompt.text is not None:
        return prompt.text + prompt.prefill
    parts = [f"{message.role}:\n{message.text}" for message in prompt.messages]
    parts += [f"assistant:\n{prompt.prefill}"] if prompt.prefill else []
    return "\n\n".join(parts)


def _fields(value: Any) -> str:
    """Return the fields of a request or reply, one per line."""
    if not is_dataclass(value):
        return repr(value)
    return "\n".join(f"{f.name}: {getattr(value, f.name)}" for f in fields(value))


def _reply_text(reply: Reply | Failure) -> str:
    """Return a reply's text, its logits, or its labels with natural-log probabilities."""
    match reply:
        case Failure():
            return reply.reason
        case Generation():
            cut_off = f"\n(not finished: cut off after {reply.output_tokens} tokens)"
            return reply.text + ("" if reply.finished else cut_off)
        case LabelScores():
            return "  ".join(f"{label} {value:.4f}" for label, value in reply.logprob.items())
        case Logits():
            return "  ".join(f"{value:.4f}" for value in reply.logits)
        case ContinuationScore():
            return f"{reply.logprob:.4f} over {reply.tokens} tokens"
        case _:
            return _fields(reply)
