"""Rerankers that ask nothing: what a real one has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from rerank_bench import BadOption, Candidates


@dataclass(frozen=True)
class Identity:
    """Keeps first-stage order: every gain is 0, and each table shows the first stage itself."""

    asks = frozenset[type]()

    def rerank(self, candidates: Candidates) -> list[float]:
        """Return descending positions."""
        return [float(-place) for place in range(len(candidates.documents))]


@dataclass(frozen=True)
class Reverse:
    """Turns first-stage order round: the floor of a first stage that is right."""

    asks = frozenset[type]()

    def rerank(self, candidates: Candidates) -> list[float]:
        """Return ascending positions."""
        return [float(place) for place in range(len(candidates.documents))]


@dataclass(frozen=True)
class Random:
    """Shuffles by a key of seed, query id and document id, whatever order the documents come in.

    seed: which shuffle. With the default, a report shows the mean of twenty shuffles that it draws
    itself; with another, this one.
    """

    seed: int = 0
    asks = frozenset[type]()

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise BadOption(f"random: seed must not be negative, not {self.seed}")

    def rerank(self, candidates: Candidates) -> list[float]:
        """Return descending positions in the order of the keys."""
        documents = candidates.documents
        keys = [self._key(candidates.query_id, d.doc_id) for d in documents]
        place = {key: rank for rank, key in enumerate(sorted(keys))}
        return [float(-place[key]) for key in keys]

    def _key(self, query_id: str, doc_id: str) -> bytes:
        text = f"{self.seed}\0{query_id}\0{doc_id}"
        return sha256(text.encode(errors="surrogatepass")).digest()
