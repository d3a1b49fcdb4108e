"""Make the candidates of pool rows, with texts cut to a reranker's budget."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from ..types import Candidates, Document, Engine, Fitted
from .fitting import Budget, Fitter
from .flow import Job
from .scope import given

if TYPE_CHECKING:
    from ..pools import Pool, PoolRow
    from ..tasks import Task
    from .choice import Choice
    from .scope import Scope


FIRST_STAGE, REVERSE, RANDOM = "first-stage", "reverse", "random"

_TOGETHER = 500  # rows whose texts are fitted with one call to the engine


@dataclass
class Fitting:
    """The texts of one task, fitted by one engine to one budget; rerankers with both share it.

    `counts` returns per pool row what was done to its texts.
    """

    task: Task
    engine: Engine
    budget: Budget
    _fitter: Fitter = field(init=False)
    _queries: dict[str, Fitted] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._fitter = Fitter(self.task.corpus, self.engine, self.budget)

    def prepare(self, rows: Iterable[PoolRow]) -> None:
        """Fit the queries and documents of `rows`, with few calls to the engine."""
        rows = list(rows)
        ids = [row.query_id for row in rows if row.query_id not in self._queries]
        queries = self._fitter.queries([self.task.queries[query_id] for query_id in ids])
        self._queries |= dict(zip(ids, queries, strict=True))
        self._fitter.prepare([(self._queries[row.query_id], row.doc_ids) for row in rows])

    def candidates(self, row: PoolRow, *, instruction: str | None = None) -> Candidates:
        """Return the candidates of `row`, which must be prepared."""
        signals = {} if row.scores is None else {"first_stage": _scores(row, row.scores)}
        query = self._queries[row.query_id]
        fitted = zip(row.doc_ids, self._fitter.documents(query, row.doc_ids), strict=True)
        return Candidates(
            task=self.task.name,
            query_id=row.query_id,
            query=query.text,
            documents=tuple(Document(d, one.text, self.task.language) for d, one in fitted),
            instruction=instruction,
            query_language=self.task.query_languages.get(row.query_id, self.task.language),
            signals=signals,
        )

    def counts(self, row: PoolRow) -> Mapping[str, int]:
        """Count the row's truncated documents, and the special tokens neutralised in them."""
        query = self._queries[row.query_id]
        documents = self._fitter.documents(query, row.doc_ids)
        found = {
            "truncated": sum(document.truncated for document in documents),
            "truncated_query": int(query.truncated),
            "neutralised": sum(document.neutralised for document in documents),
        }
        return {name: count for name, count in found.items() if count}


@dataclass(frozen=True)
class Part:
    """What a later stage of a cascade is given of `row`: its documents and the signals of them.

    previous: the scores of the stage before; None where it did not score all of the documents.
    """

    row: PoolRow
    given: PoolRow
    previous: tuple[float, ...] | None

    @classmethod
    def of(
        cls, row: PoolRow, doc_ids: Sequence[str], scores: Sequence[float | None], depth: int
    ) -> Part:
        """Return the first `depth` of a finished ranking of `row`, the safeguard where it stands.

        doc_ids, scores: of the finished ranking; a document that was not scored has None.
        """
        first = tuple(doc_ids[:depth])
        previous = tuple(score for score in scores[:depth] if score is not None)
        given = replace(row, doc_ids=first, safeguard=None, scores=_scores_of(row, first))
        return cls(row, given, previous if len(previous) == len(first) else None)

    @property
    def signals(self) -> Mapping[str, tuple[float, ...]]:
        """The signal `previous`, where it is known."""
        return {} if self.previous is None else {"previous": self.previous}


@dataclass(frozen=True)
class Jobs:
    """Make jobs of whole pools for one engine: the first `depth` of a row, and the safeguard.

    Rerankers that read as much of a text share its fitting. `scope` says how many documents are
    given and how much of each; `order` is that of a variant, in which the candidates are given.
    """

    engine: Engine
    scope: Scope
    order: str = FIRST_STAGE
    _fittings: dict[tuple[int, Budget], Fitting] = field(default_factory=dict, init=False)

    def of(self, task: Task, pool: Pool, choice: Choice, owner: Any = None) -> Iterator[Job]:
        """Yield one job per row; its key is (owner, row, what was counted in fitting it)."""
        parts = [(row, row.first(self.scope.depth)) for row in pool.rows]
        for job in self._fitted(task, parts, choice, owner):
            yield replace(job, candidates=rearranged(job.candidates, self.order))

    def after(
        self, task: Task, parts: Sequence[Part], choice: Choice, owner: Any = None
    ) -> Iterator[Job]:
        """Yield the jobs of a later stage of a cascade, in the order of the stages before it."""
        rows = [(part.row, part.given) for part in parts]
        jobs = self._fitted(task, rows, choice, owner)
        for job, part in zip(jobs, parts, strict=True):
            signals = {**job.candidates.signals, **part.signals}
            yield replace(job, candidates=replace(job.candidates, signals=signals))

    def _fitted(
        self, task: Task, rows: Sequence[tuple[PoolRow, PoolRow]], choice: Choice, owner: Any
    ) -> Iterator[Job]:
        """Yield a job per (row, the part of it that is given)."""
        scope = self.scope
        budget = Budget.of(
            choice.reranker,
            self.engine,
            doc_tokens=scope.max_doc_tokens,
            doc_chars=scope.max_doc_chars,
        )
        key = (id(task), budget)  # two tasks may share a name
        fitting = self._fittings.setdefault(key, Fitting(task, self.engine, budget))
        for start in range(0, len(rows), _TOGETHER):
            own = rows[start : start + _TOGETHER]
            fitting.prepare(part for _, part in own)
            for row, part in own:
                job_key = (owner, row, fitting.counts(part))
                found = fitting.candidates(part, instruction=given(task, scope.instructions))
                yield Job(job_key, choice.reranker, found, choice.label)


def rearranged(candidates: Candidates, order: str) -> Candidates:
    """Return the candidates, which are in first-stage order, in the order `order`."""
    ids = [document.doc_id for document in candidates.documents]
    places = arranged(ids, candidates.query_id, order)
    return replace(
        candidates,
        documents=tuple(candidates.documents[place] for place in places),
        signals={n: tuple(v[place] for place in places) for n, v in candidates.signals.items()},
    )


def arranged(doc_ids: Sequence[str], query_id: str, order: str) -> list[int]:
    """Return the places of `doc_ids`, given in first-stage order, in the order `order`.

    A document's place in a random order is decided by a hash of seed, query and document.
    """
    if order == FIRST_STAGE:
        return list(range(len(doc_ids)))
    if order == REVERSE:
        return list(range(len(doc_ids) - 1, -1, -1))

    def key(place: int) -> bytes:
        text = f"{order}\0{query_id}\0{doc_ids[place]}"
        return sha256(text.encode(errors="surrogatepass")).digest()

    return sorted(range(len(doc_ids)), key=key)


def _scores_of(row: PoolRow, doc_ids: Sequence[str]) -> tuple[float, ...] | None:
    """Return the first-stage scores of some documents of `row`, None where they are not known."""
    if row.scores is None:
        return None
    known = dict(zip(row.doc_ids, _scores(row, row.scores), strict=True))
    return tuple(known[doc_id] for doc_id in doc_ids)


def _scores(row: PoolRow, scores: tuple[float, ...]) -> tuple[float, ...]:
    """Return first-stage scores, one per document; a safeguard's is just below the last.

    Without one a row's length alone would tell a reranker that a positive was appended.
    """
    if len(scores) == len(row.doc_ids):
        return scores
    return (*scores, math.nextafter(min(scores, default=0.0), -math.inf))
