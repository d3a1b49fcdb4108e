"""InsertRank: a listwise prompt that shows BM25 scores (arXiv:2506.14086)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rerank_bench import BadData, BadOption, Candidates, Flow, Scored, order
from rerank_bench.pools import rank_by_bm25

from .listwise import Listwise, Windows
from .orders import descending

SCALES = ("raw", "minmax", "rank")
SOURCES = ("bm25", "first_stage")


@dataclass(frozen=True)
class InsertRank(Listwise):
    """Shows each passage with a retrieval score, and lets a model order all of them in one call.

    scores: `bm25`, computed over the query's own candidates, since a pool has no statistics of
        its corpus and need not come from BM25; or `first_stage`, the profile's scores, which a
        shipped list does not have.
    scale: `raw`, with three decimals; `minmax`, from 0 to 100 over the candidates; `rank`, from 1.
    window: by default 100 candidates and a safeguard, so that one call sees all.
    Others: as for listwise.
    """

    prompt: str = "insertrank"
    window: int = 101
    scores: str = "bm25"
    scale: str = "raw"
    method = "insertrank"
    shows: ClassVar[tuple[str, ...]] = (*Listwise.shows, "score")

    def __post_init__(self) -> None:
        Listwise.__post_init__(self)
        options = (("scale", self.scale, SCALES), ("scores", self.scores, SOURCES))
        for name, value, known in options:
            if value not in known:
                raise BadOption(f"insertrank: {name} must be one of {', '.join(known)}")

    def rerank(self, candidates: Candidates) -> Flow:
        """Order the windows as listwise does, with a score next to each passage."""
        windows = Windows(self, candidates, format_scores(self._values(candidates), self.scale))
        ranking = yield from self._sliding().order(len(candidates.documents), windows.order)
        return Scored(descending(ranking), windows.counts, windows.repairs)

    def _values(self, candidates: Candidates) -> Sequence[float]:
        if self.scores == "bm25":
            return bm25(candidates)
        found = candidates.signals.get("first_stage")
        if found is None:
            raise BadData(
                "insertrank: scores=first_stage needs a first stage with scores, and this profile "
                "has none; use scores=bm25"
            )
        return found


def format_scores(values: Sequence[float], scale: str) -> list[str]:
    """Write scores as the prompt shows them."""
    if scale == "rank":
        places = {place: rank for rank, place in enumerate(order(list(values)), start=1)}
        return [str(places[place]) for place in range(len(values))]
    if scale == "minmax":
        low, high = min(values, default=0.0), max(values, default=0.0)
        width = (high - low) or 1.0
        return [f"{100 * (value - low) / width:.1f}" for value in values]
    return [f"{value:.3f}" for value in values]


def bm25(candidates: Candidates) -> list[float]:
    """Return the BM25 score of each candidate, with the candidates as the corpus."""
    texts = {str(place): d.text for place, d in enumerate(candidates.documents)}
    languages = {d.language for d in candidates.documents}
    language = languages.pop() if len(languages) == 1 else None
    ranked = rank_by_bm25({"": candidates.query}, texts, language=language, depth=len(texts))
    found = dict(ranked[""])
    return [found.get(name, 0.0) for name in texts]
