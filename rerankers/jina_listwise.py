"""jina-reranker-v3: documents and query in one prompt, read at named tokens (arXiv:2509.25085)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rerank_bench import Candidates, EngineFault, Flow, ask, load_template
from rerank_bench.types import Embed, Prompt, Vectors

from .budgets import check_budgets, check_counts
from .cosines import cosines
from .instructions import check_prompt, prompt_takes_instruction

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOKENS = ("<|embed_token|>", "<|rerank_token|>")
"""What stands after each document, and after the query."""


@dataclass(frozen=True)
class JinaListwise:
    """Scores documents by the cosine of their vectors with the query's, all from one prompt.

    Documents beyond `block` are read in further prompts. The query's vector is then the mean of
    those of all prompts, each weighted by the greatest (1 + cosine) / 2 of its documents.

    prompt: name or `.toml` file, filled with `query`, `passages` and, if there is one,
        `instruction`.
    block: documents in a prompt.
    instruction: an instruction of your own, instead of the task's.
    max_doc_tokens, max_query_tokens, max_window_tokens (of a block together): budgets in tokens.
    """

    prompt: str = "jina-reranker-v3"
    block: int = 64
    instruction: str = ""
    max_doc_tokens: int | None = 2048
    max_query_tokens: int | None = 512
    max_window_tokens: int | None = 120_000
    asks = frozenset({Embed})
    takes_instruction = prompt_takes_instruction

    def __post_init__(self) -> None:
        check_counts("jina-listwise", block=self.block)
        check_budgets("jina-listwise", self)
        check_prompt(
            "jina-listwise", self.prompt, "query", "passages", instruction=self.instruction
        )

    @property
    def window(self) -> int:
        """How many documents share max_window_tokens."""
        return self.block

    def rerank(self, candidates: Candidates) -> Flow:
        """Ask for the vectors of all blocks at once, and combine the query's."""
        texts = [document.text for document in candidates.documents]
        if not texts:
            return []
        starts = range(0, len(texts), self.block)
        blocks = [texts[start : start + self.block] for start in starts]
        prompts = [self._prompt(candidates, block) for block in blocks]
        replies = yield from ask([Embed(prompt, TOKENS, normalise=False) for prompt in prompts])
        found = [_vectors(reply, block) for reply, block in zip(replies, blocks, strict=True)]
        query = mean_query_vector([(rows[-1], rows[:-1]) for rows in found])
        return [score for rows in found for score in cosines(query, rows[:-1])]

    def _prompt(self, candidates: Candidates, block: Sequence[str]) -> Prompt:
        return load_template(self.prompt).fill(
            query=candidates.query,
            passages=[{"id": str(n), "text": text} for n, text in enumerate(block)],
            instruction=self.instruction or candidates.instruction,
        )


def _vectors(reply: Vectors, block: Sequence[str]) -> NDArray[Any]:
    """Return the vectors of a block's documents and, last, of the query."""
    rows = reply.array
    if len(rows) != len(block) + 1:
        raise EngineFault(
            f"jina-listwise: {len(rows)} vectors of {len(block)} documents and a query: each needs "
            f"one token of {', '.join(TOKENS)} behind it"
        )
    return rows


def mean_query_vector(blocks: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> NDArray[Any]:
    """Return the query's vector over blocks of (its vector, the documents' vectors).

    Blocks whose documents all point away from the query have no weight; if that is so for all of
    them, they have the same.
    """
    weights = [max((1 + value) / 2 for value in cosines(*block)) for block in blocks]
    whole = sum(weights)
    shares = [w / whole if whole else 1 / len(weights) for w in weights]
    parts = [query.astype(float) * share for (query, _), share in zip(blocks, shares, strict=True)]
    total: NDArray[Any] = sum(parts[1:], parts[0])
    return total
