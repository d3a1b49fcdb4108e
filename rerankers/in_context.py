"""In-context re-ranking: the attention of the query's tokens to the documents' (Chen et al. 2024).

arXiv:2410.02642. With `heads`, the attention of selected heads only: QRHead (Zhang et al. 2025,
arXiv:2506.09944) and CoRe (arXiv:2510.02219).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rerank_bench import BadOption, Candidates, Flow, Scored, ask, escape_identifiers, load_template
from rerank_bench.types import PASSAGES, Attend

from .budgets import check_budgets
from .instructions import check_prompt, prompt_takes_instruction

_HEAD = re.compile(r"(\d+)-(\d+)")


@dataclass(frozen=True)
class InContext:
    """Scores documents by how much a model attends to their tokens when it reads the query.

    All documents stand in one prompt, before the query. A token's weight is the attention that it
    gets from the tokens after the documents, as a mean over those and a sum over heads and layers.
    The weight that it gets for the query `N/A` is taken off. Tokens more than two standard
    deviations below the mean of their document are left out, and the others are summed.

    prompt: name or `.toml` file, filled with `query` and `passages`.
    reverse: put the first stage's best document last, next to the query, as the paper does.
    calibrate: take off the weights for the query `N/A` and leave out outliers.
    heads: `layer-head` pairs separated by spaces, numbered from 0; by default all heads.
    max_doc_tokens, max_query_tokens: budgets in tokens.
    """

    prompt: str = "icr"
    reverse: bool = True
    calibrate: bool = True
    heads: str = ""
    max_doc_tokens: int | None = 400
    max_query_tokens: int | None = 256
    asks = frozenset({Attend})
    takes_instruction = prompt_takes_instruction

    def __post_init__(self) -> None:
        check_budgets("in-context", self)
        check_prompt("in-context", self.prompt, "query", "passages", count=None)
        self._heads()

    def rerank(self, candidates: Candidates) -> Flow:
        """Ask for the attention of the query and of `N/A` to all documents in one prompt."""
        query, escaped = escape_identifiers(candidates.query.strip())
        texts = [escape_identifiers(" ".join(d.text.split())) for d in candidates.documents]
        counts = {"escaped_ids": escaped + sum(found for _, found in texts)}
        if not texts:
            return Scored([], counts)
        places = list(range(len(texts)))
        if self.reverse:
            places.reverse()
        passages = tuple(f"[{n}] {texts[place][0]}" for n, place in enumerate(places, start=1))
        template = load_template(self.prompt)
        queries = (query, "N/A") if self.calibrate else (query,)
        prompts = tuple(
            template.fill(query=text, passages=PASSAGES, instruction=candidates.instruction)
            for text in queries
        )
        (reply,) = yield from ask([Attend(prompts, passages, heads=self._heads())])
        scores = [0.0] * len(texts)
        for number, place in enumerate(places):
            weights = [weights[number] for weights in reply.weights]
            scores[place] = calibrated_score(*weights) if self.calibrate else math.fsum(weights[0])
        return Scored(scores, counts)

    def _heads(self) -> tuple[tuple[int, int], ...]:
        found = [_HEAD.fullmatch(text) for text in self.heads.split()]
        if None in found:
            raise BadOption(f"in-context: heads must be pairs such as 13-18 17-0, not {self.heads}")
        return tuple(sorted({(int(match[1]), int(match[2])) for match in found if match}))


def calibrated_score(weights: Sequence[float], idle: Sequence[float]) -> float:
    """Return the sum of a document's weights less those for `N/A`, without outliers below.

    weights, idle: one weight per token of the document, for the query and for `N/A`.
    """
    differences = [a - b for a, b in zip(weights, idle, strict=True)]
    if len(differences) < 2:
        return math.fsum(differences)
    mean = math.fsum(differences) / len(differences)
    variance = math.fsum((value - mean) ** 2 for value in differences) / (len(differences) - 1)
    least = mean - 2 * math.sqrt(variance)
    return math.fsum(value for value in differences if value >= least)
