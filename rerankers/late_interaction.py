"""Late interaction: token vectors that meet only in a maximum (ColBERT, Khattab & Zaharia 2020)."""

from __future__ import annotations

from dataclasses import dataclass

from rerank_bench import Candidates, Flow, PairScore, ask

from .budgets import check_budgets
from .passages import document_pairs


@dataclass(frozen=True)
class LateInteraction:
    """Sums, over the query's tokens, the cosine with the nearest of the document's tokens.

    The engine encodes each distinct text once. max_doc_tokens, max_query_tokens: budgets in tokens.
    """

    max_doc_tokens: int | None = 256
    max_query_tokens: int | None = 120
    asks = frozenset({PairScore})
    takes_instruction = False
    head = "maxsim"

    def __post_init__(self) -> None:
        check_budgets("late-interaction", self)

    def rerank(self, candidates: Candidates) -> Flow:
        """Ask for all pairs at once."""
        replies = yield from ask(document_pairs(candidates))
        return [reply.logits[0] for reply in replies]
