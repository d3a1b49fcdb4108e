"""From pool rows to jobs: what a reranker is given is cut to its budget, each text once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .flows import Job
from .rankings import head
from .types import Candidates, Document, Engine, Reranker
from .variants import FIRST_STAGE, arranged

if TYPE_CHECKING:
    from .pools import Pool, PoolRow
    from .registry import Choice
    from .tasks import Task


@dataclass(frozen=True)
class Budget:
    """How much of a text a reranker reads: tokens of its engine's tokenizer, None for all.

    `doc_chars` cuts every document first, in characters and equally for all rerankers.
    """

    doc_tokens: int | None = None
    query_tokens: int | None = None
    doc_chars: int | None = None

    @classmethod
    def of(cls, reranker: Reranker, *, doc_chars: int | None = None) -> Budget:
        """Read a reranker's own budget off its attributes."""
        tokens = getattr(reranker, "max_doc_tokens", None)
        return cls(tokens, getattr(reranker, "max_query_tokens", None), doc_chars)


@dataclass
class Fitting:
    """The texts of one task, fitted by one engine to one budget; shared by all who agree on these.

    What is done to a text is counted, and `counts` tells it per pool row.
    """

    task: Task
    engine: Engine
    budget: Budget
    _documents: dict[str, Document] = field(default_factory=dict, init=False)
    _queries: dict[str, str] = field(default_factory=dict, init=False)
    _cut: set[str] = field(default_factory=set, init=False)
    _cut_queries: set[str] = field(default_factory=set, init=False)
    _neutralised: dict[str, int] = field(default_factory=dict, init=False)

    def prepare(self, rows: Iterable[PoolRow]) -> None:
        """Fit everything `rows` speak of in one call each for documents and queries."""
        rows = list(rows)
        wanted = dict.fromkeys(d for row in rows for d in row.doc_ids if d not in self._documents)
        whole = [self.task.corpus[doc_id] for doc_id in wanted]
        texts = [text[: self.budget.doc_chars] for text in whole]
        fitted = self.engine.fit(texts, self.budget.doc_tokens)
        for doc_id, before, text, result in zip(wanted, whole, texts, fitted, strict=True):
            self._documents[doc_id] = Document(doc_id, result.text, self.task.language)
            if result.truncated or len(text) < len(before):
                self._cut.add(doc_id)
            self._neutralised[doc_id] = result.neutralised
        self._fit_queries(rows)

    def _fit_queries(self, rows: Iterable[PoolRow]) -> None:
        ids = [row.query_id for row in rows if row.query_id not in self._queries]
        queries = self.engine.fit([self.task.queries[q] for q in ids], self.budget.query_tokens)
        for query_id, result in zip(ids, queries, strict=True):
            self._queries[query_id] = result.text
            if result.truncated:
                self._cut_queries.add(query_id)

    def candidates(self, row: PoolRow) -> Candidates:
        """Return what a reranker is given for `row`, which was prepared before."""
        signals = {} if row.scores is None else {"first_stage": _scores(row, row.scores)}
        return Candidates(
            task=self.task.name,
            query_id=row.query_id,
            query=self._queries[row.query_id],
            documents=tuple(self._documents[doc_id] for doc_id in row.doc_ids),
            instruction=self.task.instruction,
            query_language=self.task.query_languages.get(row.query_id),
            signals=signals,
        )

    def counts(self, row: PoolRow) -> Mapping[str, int]:
        """Count the row's truncated documents, and the special tokens made harmless in them."""
        found = {
            "truncated": sum(doc_id in self._cut for doc_id in row.doc_ids),
            "truncated_query": int(row.query_id in self._cut_queries),
            "neutralised": sum(self._neutralised[doc_id] for doc_id in row.doc_ids),
        }
        return {name: count for name, count in found.items() if count}


@dataclass(frozen=True)
class Jobs:
    """Makes jobs of whole pools for one engine: the first `depth` of a row, and the safeguard.

    Rerankers that read as much of a text share its fitting. `doc_chars` is that of `Budget`;
    `order` that of a variant, in which the candidates are given.
    """

    engine: Engine
    depth: int | None = None
    doc_chars: int | None = None
    order: str = FIRST_STAGE
    _fittings: dict[tuple[int, Budget], Fitting] = field(default_factory=dict, init=False)

    def of(self, task: Task, pool: Pool, choice: Choice, owner: Any = None) -> Iterator[Job]:
        """Yield one job per row; its key is (owner, row, what was counted in fitting it)."""
        budget = Budget.of(choice.reranker, doc_chars=self.doc_chars)
        key = (id(task), budget)  # two tasks may share a name
        fitting = self._fittings.setdefault(key, Fitting(task, self.engine, budget))
        rows = [(row, head(row, self.depth)) for row in pool.rows]
        fitting.prepare(part for _, part in rows)
        for row, part in rows:
            job_key = (owner, row, fitting.counts(part))
            given = rearranged(fitting.candidates(part), self.order)
            yield Job(job_key, choice.reranker, given, choice.label)


def rearranged(candidates: Candidates, order: str) -> Candidates:
    """Return the candidates in another order than the first stage's, with their signals."""
    if order == FIRST_STAGE:
        return candidates
    ids = [document.doc_id for document in candidates.documents]
    places = arranged(ids, candidates.query_id, order)
    return replace(
        candidates,
        documents=tuple(candidates.documents[place] for place in places),
        signals={n: tuple(v[place] for place in places) for n, v in candidates.signals.items()},
    )


def _scores(row: PoolRow, scores: tuple[float, ...]) -> tuple[float, ...]:
    """First-stage scores, one per document; a safeguard has the least, just below the last.

    Without one a row's length alone would tell a reranker that a positive was appended.
    """
    if len(scores) == len(row.doc_ids):
        return scores
    return (*scores, math.nextafter(min(scores, default=0.0), -math.inf))
