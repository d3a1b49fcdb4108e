"""Run a finished run's flows again, query by query, with replies from the reply cache alone.

A cascade's stages follow one another as they did in the run, each with the replies of its engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..engines import NO_ENGINE
from ..errors import BadData, EngineFault, RerankBenchError
from ..evaluation import first_stage
from ..pools import PoolRow
from ..reranking import TASK, Budget, Fitting, Job, Part, Reranked, drive, order
from ..runs import FUSION, Variant, parts_of
from .exchanges import Exchange, Recorder, ReplayEngine
from .restore import find_fit, find_reranker

if TYPE_CHECKING:
    from ..engines import ReplyCache
    from ..reranking import Choice, Outcome
    from ..runs import QueryResult
    from ..tasks import Task


@dataclass(frozen=True)
class Stage:
    """One reranker of a run. depth: how many documents it is given; None for all.

    label: that of a cascade's stage; else empty.
    """

    choice: Choice
    engine: ReplayEngine
    fitting: Fitting
    depth: int | None
    instruction: str | None
    label: str = ""

    def run(self, part: Part) -> tuple[list[Exchange], Outcome]:
        """Return the exchanges of one query in order, and how it ended."""
        self.fitting.prepare([part.given])
        found = self.fitting.candidates(part.given, instruction=self.instruction)
        candidates = replace(found, signals={**found.signals, **part.signals})
        recorder = Recorder(self.choice.reranker)
        job = Job(None, recorder, candidates, self.choice.label)
        ((_, outcome),) = drive([job], self.engine, keep_going=True)
        return list(recorder.exchanges(self.engine.replies, stage=self.label)), outcome


@dataclass(frozen=True)
class Flows:
    """Runs the flows of any query of a run again, stage by stage."""

    stages: Sequence[Stage]

    def exchanges(self, result: QueryResult) -> tuple[tuple[Exchange, ...], list[str]]:
        """Return the exchanges of a query in order, and notes about them.

        The round of the first request that is not in the cache is the last one.
        """
        row = _row(result)
        part, ranked = Part(row, row.first(self.stages[0].depth), None), dict[str, float]()
        doc_ids, shown = row.doc_ids, list[Exchange]()
        outcome: Outcome | None = None
        for number, stage in enumerate(self.stages):
            if number:
                scores = [ranked.get(doc_id) for doc_id in doc_ids]
                part = Part.of(row, doc_ids, scores, stage.depth or len(doc_ids))
            try:
                exchanges, outcome = stage.run(part)
            except RerankBenchError as error:
                return tuple(shown), [f"the replay ended: {error}"]
            before = shown[-1].round if shown else 0
            shown += [replace(exchange, round=before + exchange.round) for exchange in exchanges]
            if not isinstance(outcome, Reranked):
                break
            ranked = {part.given.doc_ids[i]: outcome.scores[i] for i in order(outcome.scores)}
            doc_ids = (*ranked, *(doc_id for doc_id in doc_ids if doc_id not in ranked))
        recorded = dict(zip(result.doc_ids, result.scores, strict=True))
        of_run = {doc_id: recorded[doc_id] for doc_id in part.given.doc_ids}
        others = isinstance(outcome, Reranked) and ranked != of_run
        return tuple(shown), list(_notes(result, shown, other_scores=others))


def _row(result: QueryResult) -> PoolRow:
    """Return the row of the pool, with the first stage's scores where the run has them."""
    natural = tuple(first_stage(result))
    guard = () if result.safeguard is None else (result.safeguard,)
    known = dict(zip(result.doc_ids, result.first_stage_scores, strict=False))
    scores = tuple(score for d in natural if (score := known.get(d)) is not None)
    whole = bool(known) and len(scores) == len(natural)
    return PoolRow(result.query_id, (*natural, *guard), result.safeguard, scores if whole else None)


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


def named_stages(manifest: Mapping[str, Any]) -> list[str]:
    """Return a note that names the stages of a cascade or the runs of a fusion; else nothing."""
    reranker = manifest["settings"]["reranker"]
    if "stages" not in reranker:
        return []
    parts = list(reranker["stages"].values())
    if reranker["method"] == FUSION:
        return [f"a fusion of {', '.join(part['label'] for part in parts)}; show these runs too"]
    names = (part["label"] + (f" at {part['at']}" if "at" in part else "") for part in parts)
    return [f"a cascade: {' then '.join(names)}"]


def open_flows(
    manifest: Mapping[str, Any], task: Task, cache: ReplyCache
) -> tuple[Flows, list[str]]:
    """Return the flows of a finished run, and notes on what has changed since.

    Raises BadData for a variant, which does not use the cache, for a fusion, which asked nothing,
    and what `find_reranker` does.
    """
    settings = manifest["settings"]
    if not Variant.of(settings).is_main:
        raise BadData("repeats, other input orders and single-query runs do not use the cache")
    if settings["reranker"]["method"] == FUSION:
        raise BadData("they are those of the runs that were fused")
    parts = parts_of(settings)
    engines = [spent["engine"] for spent in manifest.get("stages", [])]
    notes: list[str] = []
    stages = []
    for part, served in zip(parts, engines or [manifest.get("engine", {})], strict=True):
        label = part["label"] if len(parts) > 1 else ""
        stage = _stage(settings, part, served, task, cache, notes)
        stages.append(replace(stage, label=label))
    return Flows(stages), notes


def _stage(
    settings: Mapping[str, Any],
    reranker: Mapping[str, Any],
    served: Mapping[str, Any],
    task: Task,
    cache: ReplyCache,
    notes: list[str],
) -> Stage:
    """Return one reranker of a run; add to `notes` what has changed."""
    choice, changes = find_reranker(reranker)
    notes += changes
    identity = {key: value for key, value in reranker["engine"].items() if key != "name"}
    chars, tokens = settings["max_doc_chars"], settings.get("max_doc_tokens")
    try:
        cut, read = find_fit(identity, served), reranker.get("pair_tokens")
        engine = ReplayEngine(identity, cut, cache, read)
        budget = Budget.of(choice.reranker, engine, doc_tokens=tokens, doc_chars=chars)
    except EngineFault as error:
        notes.append(f"texts are not cut as in the run, so requests may differ: {error}")
        engine = ReplayEngine(identity, NO_ENGINE.open().fit, cache)
        budget = Budget(doc_chars=chars)
    depth = reranker.get("at", settings["depth"])
    instruction = _instruction(reranker, task)
    return Stage(choice, engine, Fitting(task, engine, budget), depth, instruction)


def _instruction(described: Mapping[str, Any], task: Task) -> str | None:
    """Return the instruction of the candidates; runs that did not record it used the task's."""
    if "instruction" not in described:
        return task.instruction
    recorded = described["instruction"] or {}
    return recorded.get("text") if recorded.get("source") == TASK else None
