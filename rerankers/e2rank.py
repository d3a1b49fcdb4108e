"""E2Rank: a listwise prompt as the query of a bi-encoder (Liu et al. 2025, arXiv:2510.22733)."""

from __future__ import annotations

from dataclasses import dataclass

from rerank_bench import Candidates, Flow, Scored, ask, escape_identifiers, load_template
from rerank_bench.types import Embed

from .bi_encoder import check_pooling
from .budgets import check_budgets, check_counts
from .cosines import cosines
from .instructions import check_prompt, prompt_takes_instruction


@dataclass(frozen=True)
class E2Rank:
    """Scores documents by the cosine with the vector of a prompt that lists the first of them.

    The first stage's best documents are pseudo relevance feedback; every document is embedded
    alone. So the order of documents after them changes no score.

    prompt: name or `.toml` file of the listwise query, filled with `query`, `passages` and
        `instruction`.
    document_prompt: the same for a document, filled with `document`.
    feedback: documents that the listwise query shows.
    pooling: `last`, `mean`, `cls` or `saved`.
    instruction: for prompts that have one, instead of the prompt file's default or the task's.
    max_doc_tokens, max_query_tokens: budgets in tokens.
    """

    prompt: str = "e2rank"
    document_prompt: str = "e2rank-document"
    feedback: int = 20
    pooling: str = "last"
    instruction: str = ""
    max_doc_tokens: int | None = 1536
    max_query_tokens: int | None = 256
    asks = frozenset({Embed})
    takes_instruction = prompt_takes_instruction

    def __post_init__(self) -> None:
        check_budgets("e2rank", self)
        check_counts("e2rank", feedback=self.feedback)
        check_pooling("e2rank", self.pooling)
        shown, given = ("query", "passages"), self.instruction
        check_prompt("e2rank", self.prompt, *shown, count=self.feedback, instruction=given)
        check_prompt("e2rank", self.document_prompt, "document", unshown=())

    def rerank(self, candidates: Candidates) -> Flow:
        """Ask for the vectors of the listwise query and of all documents at once."""
        texts = [" ".join(document.text.split()) for document in candidates.documents]
        query, escaped = escape_identifiers(candidates.query)
        shown = [escape_identifiers(text) for text in texts[: self.feedback]]
        counts = {"escaped_ids": escaped + sum(found for _, found in shown)}
        if not texts:
            return Scored([], counts)
        listed = load_template(self.prompt).fill(
            query=query,
            passages=[{"id": str(n), "text": text} for n, (text, _) in enumerate(shown, start=1)],
            instruction=self.instruction or candidates.instruction,
        )
        read = load_template(self.document_prompt)
        prompts = [listed, *(read.fill(document=text) for text in texts)]
        replies = yield from ask([Embed(prompt, self.pooling) for prompt in prompts])
        first, *others = (reply.array[0] for reply in replies)
        return Scored(cosines(first, others), counts)
