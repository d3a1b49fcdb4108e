"""Bi-encoders: query and document are embedded apart, and their cosine is the score."""

from __future__ import annotations

from dataclasses import dataclass

from rerank_bench import BadOption, Candidates, Flow, ask, load_template
from rerank_bench.types import Embed

from .budgets import check_budgets
from .cosines import cosines
from .instructions import check_prompt, prompt_takes_instruction

POOLINGS = ("saved", "last", "mean", "cls")


@dataclass(frozen=True)
class BiEncoder:
    """Scores documents by the cosine of their vector with the query's (Reimers & Gurevych 2019).

    The engine embeds each distinct text once in a run. What a checkpoint wants to read before a
    query or a document is in its prompt files; prompts that the checkpoint saves are not read.

    prompt: name or `.toml` file of what is read of a query, filled with `query` and `instruction`.
    document_prompt: the same for a document, filled with `document`.
    pooling: `last`, `mean` or `cls`; `saved` is what the checkpoint was saved with
        (sentence-transformers).
    instruction: for prompts that have one, instead of the prompt file's default or the task's.
    max_doc_tokens, max_query_tokens: budgets in tokens.
    """

    prompt: str = "embed-query"
    document_prompt: str = "embed-document"
    pooling: str = "saved"
    instruction: str = ""
    max_doc_tokens: int | None = 500
    max_query_tokens: int | None = 256
    asks = frozenset({Embed})
    takes_instruction = prompt_takes_instruction

    def __post_init__(self) -> None:
        check_budgets("bi-encoder", self)
        check_pooling("bi-encoder", self.pooling)
        check_prompt("bi-encoder", self.prompt, "query", instruction=self.instruction)
        check_prompt("bi-encoder", self.document_prompt, "document", unshown=())

    def rerank(self, candidates: Candidates) -> Flow:
        """Ask for all vectors at once."""
        if not candidates.documents:
            return []
        instruction = self.instruction or candidates.instruction
        query = load_template(self.prompt).fill(query=candidates.query, instruction=instruction)
        read = load_template(self.document_prompt)
        prompts = [read.fill(document=d.text) for d in candidates.documents]
        replies = yield from ask([Embed(prompt, self.pooling) for prompt in (query, *prompts)])
        first, *others = (reply.array[0] for reply in replies)
        return cosines(first, others)


def check_pooling(method: str, pooling: str) -> None:
    """Raise BadOption, naming `method`, for a pooling that does not exist."""
    if pooling not in POOLINGS:
        raise BadOption(f"{method}: pooling is {', '.join(POOLINGS)}, not {pooling}")
