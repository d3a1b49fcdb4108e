"""One query of a finished run, whole: its texts, its ranks before and after, and what was said.

A run folder holds ids, ranks and scores. The texts are read from the data set again, if it is still
the one of the run, and the replies from the reply cache. What cannot be had is said in `notes`, and
the rest is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engines import NoEngine, ReplyCache
from ..errors import BadData, EngineFault, RerankBenchError, unknown
from ..evaluation import MEASURES, first_stage, measure, relevant
from ..evaluation import natural as without_safeguard
from ..places import cache_folder
from ..pools import PoolRow
from ..progress import bar
from ..reranking import TASK, Budget, Fitting, Job, Outcome, Reranked
from ..runs import Variant, read_run
from .exchanges import Exchange, ReplayEngine, converse, count_mended, find_mended
from .restage import find_cut, find_reranker, find_task

if TYPE_CHECKING:
    from ..reranking import Choice
    from ..runs import QueryResult, Run
    from ..tasks import Task

__all__ = ["Exchange", "QueryView", "ViewDocument", "replay"]


@dataclass(frozen=True)
class ViewDocument:
    """A candidate. before: its rank in the pool; after: in the finished ranking; both from 1.

    text: as the data set has it, uncut. score: None where it was not reranked. grade: None where
    nobody judged it. The safeguard is last in its pool, where no first stage put it.
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
    """One query of one run; documents stand in finished order, safeguard included.

    first_stage, natural: nDCG@10 before and after, without the safeguard; 0 after a failure.
    reranker: the label, with the variant's suffix. notes: what could not be shown, and why.
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
    """Replay all queries of the run `folder`; shows a progress bar."""
    ids = [result.query_id for result in read_run(folder).results]
    with bar(f"replaying {folder.name}", total=len(ids)) as advance:
        for view in replay(folder, ids, cache=cache):
            advance(1)
            yield view


def replay(
    folder: Path, query_ids: Sequence[str], *, cache: Path | None = None
) -> Iterator[QueryView]:
    """Yield a view of each of `query_ids` of the run in `folder`; nothing is asked of a model.

    `cache` is the folder of replies that the run used; by default the one that `run` uses. Raises
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
        task = script = None
        try:
            task = find_task(run.manifest)
        except RerankBenchError as error:
            notes.append(f"ids without texts: {error}")
        if task is not None and run.manifest["settings"]["engine"].get("engine") != "none":
            try:
                script = _script(run, task, stack.enter_context(_opened(cache)), notes)
            except RerankBenchError as error:
                notes.append(f"no requests and replies: {error}")
        for result in results:
            said, further = script.tell(result) if script else ((), [])
            yield _view(run, result, task, said, (*notes, *further, *_unfound(run, result)))


def _view(
    run: Run,
    result: QueryResult,
    task: Task | None,
    said: tuple[Exchange, ...],
    notes: tuple[str, ...],
) -> QueryView:
    settings = run.manifest["settings"]
    first_stage, natural = _values(run, result)
    return QueryView(
        task=settings["task"],
        profile=settings["profile"]["asked"],
        reranker=settings["reranker"]["label"] + Variant.of(settings).suffix,
        query_id=result.query_id,
        query=task.queries.get(result.query_id, "") if task else "",
        documents=tuple(_documents(run, result, task)),
        exchanges=said,
        counts=dict(result.counts),
        failed=result.failed,
        first_stage=first_stage,
        natural=natural,
        notes=notes,
    )


def _positives(run: Run, result: QueryResult) -> dict[str, int]:
    least = run.manifest["settings"].get("min_grade") or 1
    return relevant(run.qrels.get(result.query_id, {}), min_grade=least)


def _documents(run: Run, result: QueryResult, task: Task | None) -> Iterator[ViewDocument]:
    positives, grades = _positives(run, result), run.qrels.get(result.query_id, {})
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


def _values(run: Run, result: QueryResult) -> tuple[float, float]:
    """Return nDCG@10 of the first stage and of the ranking that is shown."""
    served = () if result.failed is not None else result.doc_ids
    rankings = [first_stage(result), without_safeguard(served, result.safeguard)]
    found = measure(rankings, [_positives(run, result)] * 2)[MEASURES[0]]
    return float(found[0]), float(found[1])


def _unfound(run: Run, result: QueryResult) -> list[str]:
    natural = set(without_safeguard(result.doc_ids, result.safeguard))
    lost = sum(doc_id not in natural for doc_id in _positives(run, result))
    return [f"positives that the first stage did not find: {lost}"] if lost else []


def _opened(cache: Path) -> ReplyCache:
    if not (cache / "replies.sqlite").is_file():
        raise BadData(f"no cache of replies in {cache}; name the one of the run with --cache")
    return ReplyCache(cache)


@dataclass(frozen=True)
class _Script:
    """What is needed to run the flow of any of a run's queries again."""

    choice: Choice
    fitting: Fitting
    depth: int | None
    instruction: str | None

    def tell(self, result: QueryResult) -> tuple[tuple[Exchange, ...], list[str]]:
        """Return what was said about a query, and notes about it."""
        part = _row(result).first(self.depth)
        self.fitting.prepare([part])
        given = self.fitting.candidates(part, instruction=self.instruction)
        job = Job(None, self.choice.reranker, given, self.choice.label)
        engine, notes, mended = self.fitting.engine, [], []
        try:
            conversation = converse(job, engine)
        except RerankBenchError as error:
            return (), [f"the replay ended: {error}"]
        if total := count_mended(result.counts):
            try:
                mended = find_mended(job, engine, conversation, total=total)
            except RerankBenchError as error:
                notes.append(f"which of the answers had to be repaired cannot be told: {error}")
        said = conversation.exchanges(mended)
        return said, [*notes, *_remarks(result, part, conversation.outcome, said)]


def _row(result: QueryResult) -> PoolRow:
    """The pool row as it was, but for the first stage's scores, which a run does not keep."""
    doc_ids = tuple(first_stage(result))
    return PoolRow(
        result.query_id,
        doc_ids if result.safeguard is None else (*doc_ids, result.safeguard),
        result.safeguard,
    )


def _remarks(
    result: QueryResult,
    part: PoolRow,
    outcome: Outcome,
    said: Sequence[Exchange],
) -> Iterator[str]:
    """Say how far a replay can be trusted."""
    missing = sum(not exchange.known for exchange in said)
    if missing:
        last = said[-1].round
        yield f"the replay ends in round {last}: {missing} of its replies are not in the cache"
    scores = dict(zip(result.doc_ids, result.scores, strict=True))
    if isinstance(outcome, Reranked) and outcome.scores != tuple(scores[d] for d in part.doc_ids):
        yield "the cached replies lead to other scores than the run's: it had other replies"


def _script(run: Run, task: Task, cache: ReplyCache, notes: list[str]) -> _Script:
    settings = run.manifest["settings"]
    if not Variant.of(settings).is_main:
        raise BadData("a repeat, another input order and queries alone read no cached replies")
    choice = find_reranker(settings["reranker"], notes.append)
    identity = {key: value for key, value in settings["engine"].items() if key != "name"}
    chars, tokens = settings["max_doc_chars"], settings.get("max_doc_tokens")
    budget = Budget.of(choice.reranker, doc_tokens=tokens, doc_chars=chars)
    try:
        cut = find_cut(identity, run.manifest.get("engine", {}))
    except EngineFault as error:
        notes.append(f"texts are not cut as they were, so requests may differ: {error}")
        cut, budget = NoEngine().fit, Budget(doc_chars=chars)
    engine = ReplayEngine(identity, cut, cache)
    fitting = Fitting(task, engine, budget)
    return _Script(choice, fitting, settings["depth"], _instruction(settings["reranker"], task))


def _instruction(described: Mapping[str, Any], task: Task) -> str | None:
    """Return the instruction that the candidates carried; before it was recorded, the task's."""
    if "instruction" not in described:
        return task.instruction
    told = described["instruction"] or {}
    return told.get("text") if told.get("source") == TASK else None
