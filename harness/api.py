"""rerank-bench from Python: rerank a list, load a task, read runs; each one call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .engines import DEFAULT_ENGINE, NO_ENGINE, choose_engine, require_support
from .errors import BadOption
from .reranking import (
    Budget,
    Declared,
    Defaults,
    Fitter,
    Usage,
    build,
    is_cascade,
    order,
    parse,
    rerank_one,
)
from .runs import Run, read_run
from .tasks import readable
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
    method, opened = _resolve(reranker, engine, model, options or {})
    try:
        result = rerank_one(
            method, _candidates(query, documents, method, opened, instruction), opened
        )
    finally:
        if opened is not engine:
            opened.close()
    ranked = [
        RankedDocument(rank, i, documents[i], result.scores[i])
        for rank, i in enumerate(order(result.scores), start=1)
    ]
    return Ranked(tuple(ranked), result.usage, dict(result.counts))


def _resolve(
    reranker: str | Reranker,
    engine: str | Engine | None,
    model: str | None,
    options: Mapping[str, Any],
) -> tuple[Reranker, Engine]:
    """Return the reranker and the engine that answers it; an open engine is used as it is."""
    opened = None if engine is None or isinstance(engine, str) else engine
    name = NO_ENGINE.name if opened is not None else engine if isinstance(engine, str) else None
    if isinstance(reranker, str):
        if is_cascade(reranker):
            raise BadOption(
                f"rerank() takes one reranker, not the cascade {reranker!r}; call it once for each "
                "stage, or use `rerank-bench run`"
            )
        given_name, given = parse(reranker)
        chosen_here = {k: v for k, v in {"model": model, "engine": name}.items() if v is not None}
        choice = build(given_name, {**given, **options}, Defaults(options=chosen_here))
        method, chosen = choice.reranker, choice.engine
    else:
        method = reranker
        usual = NO_ENGINE.name if model is None else DEFAULT_ENGINE
        chosen = choose_engine(name or usual, {} if model is None else {"model": model})
    opened = opened or chosen.open()
    asks = frozenset(Declared.of(method).asks or ())
    require_support(opened, asks, reranker=str(reranker))
    return method, opened


def _candidates(
    query: str,
    documents: Sequence[str],
    reranker: Reranker,
    engine: Engine,
    instruction: str | None,
) -> Candidates:
    corpus = {str(place): readable(text) for place, text in enumerate(documents)}
    fitter = Fitter(corpus, engine, Budget.of(reranker))
    (fitted_query,) = fitter.queries([readable(query)])
    fitter.prepare([(fitted_query, list(corpus))])
    fitted = zip(corpus, fitter.documents(fitted_query, list(corpus)), strict=True)
    texts = tuple(Document(doc_id, document.text) for doc_id, document in fitted)
    return Candidates("rerank", "query", fitted_query.text, texts, instruction)


def load_run(folder: str | Path) -> Run:
    """Read one run folder: its manifest, its rankings with scores, its judgements."""
    return read_run(Path(folder))
