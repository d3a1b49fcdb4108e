"""MVP: scores by anchors of several views, whatever the order of the passages (Na et al. 2025).

arXiv:2509.07485.
"""

from __future__ import annotations

from dataclasses import dataclass

from rerank_bench import Candidates, Flow, ask, load_template
from rerank_bench.types import FuseScore

from .budgets import check_budgets, check_counts
from .instructions import check_prompt


@dataclass(frozen=True)
class MVP:
    """Scores all documents in one call of a T5 that writes no text.

    The encoder reads each passage after one marker token for each view. For each view the decoder
    reads the markers' vectors of all passages and makes an anchor of them. The score is the mean
    over the views of the product of a passage's vector and the anchor, without a scale.

    prompt: name or `.toml` file, filled once for each passage with `query` and `document`; it
        begins with the markers.
    views: how many markers count. (The official code's default is 1, but its script asks for 4.)
    max_doc_tokens, max_query_tokens, max_pair_tokens (of both together): budgets in tokens.
    """

    prompt: str = "mvp"
    views: int = 4
    max_doc_tokens: int | None = None
    max_query_tokens: int | None = 118
    max_pair_tokens: int | None = 236
    asks = frozenset({FuseScore})

    def __post_init__(self) -> None:
        check_budgets("mvp", self)
        check_prompt("mvp", self.prompt, "query", "document", unshown=())
        check_counts("mvp", views=self.views)

    def rerank(self, candidates: Candidates) -> Flow:
        """Ask for the scores of all documents together."""
        if not candidates.documents:
            return []
        template = load_template(self.prompt)
        prompts = tuple(
            template.fill(query=candidates.query, document=document.text)
            for document in candidates.documents
        )
        (reply,) = yield from ask([FuseScore(prompts, self.views)])
        return reply.logits
