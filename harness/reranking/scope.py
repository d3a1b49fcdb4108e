"""Which queries, candidates and parts of texts are reranked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import BadOption
from .instructions import MODEL, check_policy


@dataclass(frozen=True)
class Scope:
    """How much is run, and how.

    queries: the N queries with the smallest sha256 of seed and id; None for all. depth: rerank the
    first K candidates and the safeguard; the rest keeps its place behind. max_doc_chars: cut every
    document first, in characters. max_doc_tokens: cut every document to so many tokens of each
    reranker's tokenizer, where its own budget is greater. instructions: `model`, each model's own
    default, or `task`, the task's. keep_going: a failed query ends alone, not the run, and tasks
    and lists whose ids do not match are taken.
    """

    queries: int | None = None
    seed: int = 0
    depth: int | None = None
    max_doc_chars: int | None = None
    max_doc_tokens: int | None = None
    instructions: str = MODEL
    keep_going: bool = False

    def __post_init__(self) -> None:
        check_policy(self.instructions)
        for name in ("queries", "depth", "max_doc_chars", "max_doc_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BadOption(f"--{name.replace('_', '-')} must be at least 1, not {value}")


def chosen_queries(query_ids: Sequence[str], scope: Scope) -> frozenset[str]:
    """Return the sampled queries: the same for every profile and reranker, nested in N."""

    def draw(query_id: str) -> bytes:
        return hashlib.sha256(f"{scope.seed}\0{query_id}".encode()).digest()

    return frozenset(sorted(query_ids, key=draw)[: scope.queries])
