"""Read one query of a finished run: its texts, its ranks, and its requests and replies.

A run folder holds ids, ranks and scores. Texts are read from the data set if it is still that of
the run, and replies from the reply cache. `QueryView.notes` say what could not be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..engines import ReplyCache
from ..errors import BadData, RerankBenchError, unknown
from ..evaluation import MEASURES, first_stage, measure, positives_of
from ..evaluation import natural as without_safeguard
from ..folders import cache_folder
from ..progress import bar
from ..runs import Variant, read_run
from .exchanges import Exchange
from .flows import named_stages, open_flows
from .restore import find_task

if TYPE_CHECKING:
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
    notes = named_stages(run.manifest)
    with ExitStack() as stack:
        task = flows = None
        try:
            task = find_task(run.manifest)
        except RerankBenchError as error:
            notes.append(f"ids without texts: {error}")
        if task is not None and any(result.usage.calls for result in run.results):
            try:
                opened = stack.enter_context(_opened(cache))
                flows, changes = open_flows(run.manifest, task, opened)
                notes += changes
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
    positives = positives_of(run.qrels.get(result.query_id, {}), min_grade=run.min_grade)
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
