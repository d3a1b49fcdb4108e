"""Cross-encoders: one forward pass over query and document together (Nogueira & Cho 2019)."""

from __future__ import annotations

from dataclasses import dataclass

from rerank_bench import BadOption, Candidates, Flow, PairScore, ask

from .budgets import check_budgets


@dataclass(frozen=True)
class CrossEncoder:
    """Scores each pair by a model's classification head, before any activation.

    label: which of the head's outputs is the score; -1 is the last, as for a head of one, and for
    monoBERT's (not relevant, relevant). max_doc_tokens, max_query_tokens, max_pair_tokens (of both
    together): budgets in tokens; the defaults fit a context of 512 with its special tokens. Where
    a pair is too long the document is cut, and a query only to its own budget: half the pair's,
    which is what longest-first truncation leaves to a query beside a long document.
    """

    label: int = -1
    max_doc_tokens: int | None = None
    max_query_tokens: int | None = 254
    max_pair_tokens: int | None = 508
    asks = frozenset({PairScore})
    takes_instruction = False
    head = "classifier"

    def __post_init__(self) -> None:
        check_budgets("cross-encoder", self)

    def rerank(self, candidates: Candidates) -> Flow:
        """Ask for all pairs at once."""
        replies = yield from ask(
            [PairScore(candidates.query, d.text) for d in candidates.documents]
        )
        for reply in replies:
            if not -len(reply.logits) <= self.label < len(reply.logits):
                outputs = len(reply.logits)
                raise BadOption(f"cross-encoder: label {self.label}, but the head has {outputs}")
        return [reply.logits[self.label] for reply in replies]
