"""rerank-bench from Python: rerank a list, load a task, read runs; each one call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .reranking import Budget, Fitter, Usage, open_reranker, order, rerank_one
from .runs import Run, read_run
from .tasks import replace_unreadable
from .types import Candidates, Document, Engine, Reranker


@dataclass(frozen=True)
class RankedDocument:
    """A document with its `rank`, from 1, and its `index` in the list that was given, from 0."""

    rank: int
    index: int
    text: str
    score: float


@dataclass(frozen=True)
class Ranked:
    """Documents best first, what it cost, and what the reranker counted on the way."""

    documents: tuple[RankedDocument, ...]
    usage: Usage
    counts: dict[str, int]

    def __iter__(self) -> Iterator[RankedDocument]:
        return iter(self.documents)

    def __len__(self) -> int:
        return len(self.documents)


def rerank(
    query: str,
    documents: Sequence[str],
    *,
    reranker: str | Reranker = "cross-encoder",
    engine: str | Engine | None = None,
    model: str | None = None,
    instruction: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Ranked:
    """Order `documents`, given in first-stage order, by `reranker`; ties keep their order.

    `reranker` is a name as on the command line, or an object with `rerank(candidates)`. `engine` is
    a name, or an open engine, which stays open; `options` are the reranker's and the engine's.
    `model` and `engine` go before those of a named reranker.
    Raises RerankBenchError where the command line would print an error.
    """
    with closing(open_reranker(reranker, engine, model, options)) as opened:
        method = opened.choice.reranker
        candidates = _candidates(query, documents, method, opened.engine, instruction)
        result = rerank_one(method, candidates, opened.engine)
    ranked = [
        RankedDocument(rank, i, documents[i], result.scores[i])
        for rank, i in enumerate(order(result.scores), start=1)
    ]
    return Ranked(tuple(ranked), result.usage, dict(result.counts))


def _candidates(
    query: str,
    documents: Sequence[str],
    reranker: Reranker,
    engine: Engine,
    instruction: str | None,
) -> Candidates:
    corpus = {str(place): replace_unreadable(text) for place, text in enumerate(documents)}
    fitter = Fitter(corpus, engine, Budget.of(reranker, engine))
    (fitted_query,) = fitter.queries([replace_unreadable(query)])
    fitter.prepare([(fitted_query, list(corpus))])
    fitted = zip(corpus, fitter.documents(fitted_query, list(corpus)), strict=True)
    texts = tuple(Document(doc_id, document.text) for doc_id, document in fitted)
    return Candidates("rerank", "query", fitted_query.text, texts, instruction)


def load_run(folder: str | Path) -> Run:
    """Read one run folder: its manifest, its rankings with scores, its judgements."""
    return read_run(Path(folder))
