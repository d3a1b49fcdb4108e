"""Read one query of a finished run: its texts, its ranks, and its requests and replies.

A run folder holds ids, ranks and scores. Texts are read from the data set if it is still that of
the run, and replies from the reply cache. `QueryView.notes` say what could not be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engines import NO_ENGINE, ReplyCache
from ..errors import BadData, EngineFault, RerankBenchError, unknown
from ..evaluation import MEASURES, first_stage, measure, relevant
from ..evaluation import natural as without_safeguard
from ..places import cache_folder
from ..pools import PoolRow
from ..progress import bar
from ..reranking import TASK, Budget, Fitting, Job, Reranked
from ..runs import Variant, read_run
from .exchanges import Exchange, ReplayEngine, run_again
from .restore import find_cut, find_reranker, find_task

if TYPE_CHECKING:
    from ..reranking import Choice
    from ..runs import QueryResult, Run
    from ..tasks import Task

__all__ = ["Exchange", "QueryView", "ViewDocument", "replay"]


@dataclass(frozen=True)
class ViewDocument:
    """A candidate document.

    text: as in the data set, uncut. before, after: its ranks in the pool and in the finished
    ranking, from 1; a safeguard is the last of its pool. score: None if it was not reranked.
    grade: None if it was not judged.
    """

    doc_id: str
    text: str
    before: int
    after: int
    score: float | None
    grade: int | None
    positive: bool
    safeguard: bool


@dataclass(frozen=True)
class QueryView:
    """One query of one run; its documents, with the safeguard, are in finished order.

    reranker: the label, with the variant's suffix. first_stage, natural: nDCG@10 before and after,
    without the safeguard; 0 after a failure. notes: what could not be read, and why.
    """

    task: str
    profile: str
    reranker: str
    query_id: str
    query: str
    documents: tuple[ViewDocument, ...]
    exchanges: tuple[Exchange, ...]
    counts: Mapping[str, int]
    failed: str | None
    first_stage: float
    natural: float
    notes: tuple[str, ...] = ()


def replay_run(folder: Path, cache: Path | None) -> Iterator[QueryView]:
    """Yield a view of each query of the run in `folder`, with a progress bar."""
    ids = [result.query_id for result in read_run(folder).results]
    with bar(f"replaying {folder.name}", total=len(ids)) as advance:
        for view in replay(folder, ids, cache=cache):
            advance(1)
            yield view


def replay(
    folder: Path, query_ids: Sequence[str], *, cache: Path | None = None
) -> Iterator[QueryView]:
    """Yield a view of each of `query_ids` of the run in `folder`, without calling a model.

    cache: the folder of the run's reply cache; by default that of the command `run`. Raises
    UnknownName for a query that the run does not have, BadData for a run that cannot be read.
    """
    run = read_run(folder)
    results = {result.query_id: result for result in run.results}
    for query_id in query_ids:
        if query_id not in results:
            raise unknown(f"query of {folder}:", query_id, results)
    return _views(run, [results[q] for q in query_ids], cache or cache_folder() / "replies")


def _views(run: Run, results: Sequence[QueryResult], cache: Path) -> Iterator[QueryView]:
    notes: list[str] = []
    with ExitStack() as stack:
        task = flows = None
        try:
            task = find_task(run.manifest)
        except RerankBenchError as error:
            notes.append(f"ids without texts: {error}")
        if task is not None and any(result.usage.calls for result in run.results):
            try:
                flows = _flows(run, task, stack.enter_context(_opened(cache)), notes)
            except RerankBenchError as error:
                notes.append(f"no requests and replies: {error}")
        for result in results:
            exchanges, further = flows.exchanges(result) if flows else ((), [])
            yield _view(run, result, task, exchanges, [*notes, *further])


def _view(
    run: Run,
    result: QueryResult,
    task: Task | None,
    exchanges: tuple[Exchange, ...],
    notes: Sequence[str],
) -> QueryView:
    settings = run.manifest["settings"]
    positives = relevant(run.qrels.get(result.query_id, {}), min_grade=run.min_grade)
    ranking = without_safeguard(result.doc_ids, result.safeguard)
    found = measure(
        [first_stage(result), () if result.failed is not None else ranking], [positives] * 2
    )[MEASURES[0]]
    lost = len(positives.keys() - set(ranking))
    not_found = [f"positives that the first stage did not find: {lost}"] if lost else []
    return QueryView(
        task=settings["task"],
        profile=settings["profile"]["asked"],
        reranker=settings["reranker"]["label"] + Variant.of(settings).suffix,
        query_id=result.query_id,
        query=task.queries.get(result.query_id, "") if task else "",
        documents=tuple(_documents(run, result, task, positives)),
        exchanges=exchanges,
        counts=dict(result.counts),
        failed=result.failed,
        first_stage=float(found[0]),
        natural=float(found[1]),
        notes=(*notes, *not_found),
    )


def _documents(
    run: Run, result: QueryResult, task: Task | None, positives: Mapping[str, int]
) -> Iterator[ViewDocument]:
    grades = run.qrels.get(result.query_id, {})
    rows = zip(result.doc_ids, result.first_stage_ranks, result.scores, strict=True)
    for after, (doc_id, before, score) in enumerate(rows, start=1):
        yield ViewDocument(
            doc_id=doc_id,
            text=task.corpus.get(doc_id, "") if task else "",
            before=before,
            after=after,
            score=score,
            grade=grades.get(doc_id),
            positive=doc_id in positives,
            safeguard=doc_id == result.safeguard,
        )


def _opened(cache: Path) -> ReplyCache:
    if not (cache / "replies.sqlite").is_file():
        raise BadData(f"no reply cache in {cache}: name the one of the run with --cache")
    return ReplyCache(cache)


@dataclass(frozen=True)
class _Flows:
    """Runs the flow of any query of a run again."""

    choice: Choice
    engine: ReplayEngine
    fitting: Fitting
    depth: int | None
    instruction: str | None

    def exchanges(self, result: QueryResult) -> tuple[tuple[Exchange, ...], list[str]]:
        """Return the exchanges of a query, and notes about them."""
        doc_ids = tuple(first_stage(result))
        if result.safeguard is not None:
            doc_ids = (*doc_ids, result.safeguard)
        # A run does not store the scores of the first stage.
        row = PoolRow(result.query_id, doc_ids, result.safeguard).first(self.depth)
        self.fitting.prepare([row])
        candidates = self.fitting.candidates(row, instruction=self.instruction)
        job = Job(None, self.choice.reranker, candidates, self.choice.label)
        try:
            outcome, exchanges = run_again(job, self.engine)
        except RerankBenchError as error:
            return (), [f"the replay ended: {error}"]
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


def _flows(run: Run, task: Task, cache: ReplyCache, notes: list[str]) -> _Flows:
    settings = run.manifest["settings"]
    if not Variant.of(settings).is_main:
        raise BadData("repeats, other input orders and single-query runs do not use the cache")
    choice, changes = find_reranker(settings["reranker"])
    notes += changes
    identity = {key: value for key, value in settings["engine"].items() if key != "name"}
    chars, tokens = settings["max_doc_chars"], settings.get("max_doc_tokens")
    budget = Budget.of(choice.reranker, doc_tokens=tokens, doc_chars=chars)
    try:
        cut = find_cut(identity, run.manifest.get("engine", {}))
    except EngineFault as error:
        notes.append(f"texts are not cut as in the run, so requests may differ: {error}")
        cut, budget = NO_ENGINE.open().fit, Budget(doc_chars=chars)
    engine = ReplayEngine(identity, cut, cache)
    instruction = _instruction(settings["reranker"], task)
    fitting = Fitting(task, engine, budget)
    return _Flows(choice, engine, fitting, settings["depth"], instruction)


def _instruction(described: Mapping[str, Any], task: Task) -> str | None:
    """Return the instruction of the candidates; runs that did not record it used the task's."""
    if "instruction" not in described:
        return task.instruction
    recorded = described["instruction"] or {}
    return recorded.get("text") if recorded.get("source") == TASK else None
