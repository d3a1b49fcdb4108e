"""A reranker as a stranger would package it."""

from dataclasses import dataclass

from rerank_bench import Candidates


@dataclass(frozen=True)
class Longest:
    """Puts long documents first; power: what the length is raised to."""

    power: float = 1.0
    asks = frozenset[type]()

    def rerank(self, candidates: Candidates) -> list[float]:
        return [len(d.text) ** self.power for d in candidates.documents]
