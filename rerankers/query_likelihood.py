"""Query likelihood: how probable the query is, once the document was read.

The language-modelling approach of Ponte & Croft (1998), asked of a language model as in UPR (Sachan
et al. 2022, arXiv:2204.07496).
"""

from __future__ import annotations

from dataclasses import dataclass

from rerank_bench import Candidates, Flow, Likelihood, ask, load_template

from .budgets import check_budgets
from .instructions import check_prompt, prompt_takes_instruction


@dataclass(frozen=True)
class QueryLikelihood:
    """Scores a document by the sum of the log-probabilities of the query's tokens after it.

    The mean that UPR takes orders the same, since a query's length is that of all its candidates.
    prompt: filled with `document`; the query follows it after one space. max_doc_tokens,
    max_query_tokens, max_pair_tokens (of both together): budgets in tokens. instruction: as for
    pointwise. end: counted with the query, such as the end token `</s>`, with which T5 was trained.
    """

    prompt: str = "query-likelihood"
    max_doc_tokens: int | None = 512
    max_query_tokens: int | None = 256
    max_pair_tokens: int | None = None
    instruction: str = ""
    end: str = ""
    asks = frozenset({Likelihood})
    takes_instruction = prompt_takes_instruction

    def __post_init__(self) -> None:
        check_budgets("query-likelihood", self)
        check_prompt("query-likelihood", self.prompt, "document", instruction=self.instruction)

    def rerank(self, candidates: Candidates) -> Flow:
        """Ask about all documents at once."""
        template = load_template(self.prompt)
        # Tokenised apart, a space in front of the query is part of its first token, as in running
        # text; after the prompt it would be a token of its own.
        continuation = f" {candidates.query.strip()}{self.end}"
        instruction = self.instruction or candidates.instruction
        prompts = [
            template.fill(document=d.text, instruction=instruction) for d in candidates.documents
        ]
        replies = yield from ask([Likelihood(prompt, continuation) for prompt in prompts])
        return [reply.logprob for reply in replies]
