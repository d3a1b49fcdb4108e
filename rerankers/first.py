"""FIRST: a window's whole order from the logits of one token (Gangi Reddy et al. 2024).

arXiv:2406.15657. Passages are lettered, the answer is begun with `[`, and the letters are ordered
by how probable each is to come next.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

from rerank_bench import BadOption, Candidates, Flow, NextToken, Scored, ask, load_template, order

from .budgets import check_budgets
from .instructions import check_prompt, prompt_takes_instruction
from .orders import Ordering, Sliding, descending
from .passages import Passages

LETTERS = string.ascii_uppercase


@dataclass(frozen=True)
class First:
    """Orders windows of lettered passages by the next token alone, one request each.

    prompt: name or `.toml` file, filled with `query` and `passages`, that begins the answer with
    `[`. window: at most 26. stride, passes: as for listwise. max_doc_tokens, max_query_tokens,
    max_window_tokens (of a window's documents together): budgets in tokens. instruction: as for
    pointwise.
    """

    prompt: str = "first"
    window: int = 20
    stride: int | None = None
    passes: int = 1
    max_doc_tokens: int | None = 150
    max_query_tokens: int | None = 256
    max_window_tokens: int | None = None
    instruction: str = ""
    asks = frozenset({NextToken})
    takes_instruction = prompt_takes_instruction

    def __post_init__(self) -> None:
        self._sliding()
        if self.window > len(LETTERS):
            raise BadOption(f"first: window must be at most {len(LETTERS)}, not {self.window}")
        check_budgets("first", self)
        check_prompt("first", self.prompt, "query", "passages", instruction=self.instruction)
        template = load_template(self.prompt)
        if not ((template.text or "") + template.prefill).endswith("["):
            raise BadOption(f"first: prompt {self.prompt} does not begin the answer with [")

    @property
    def fixed_labels(self) -> tuple[str, ...]:
        """The letters of the largest window."""
        return tuple(LETTERS[: self.window])

    def rerank(self, candidates: Candidates) -> Flow:
        """Slide; a letter that the server did not report comes last in its window."""
        passages = Passages(candidates, self.prompt, instruction=self.instruction)

        def order_window(inside: Sequence[int]) -> Ordering:
            letters = tuple(LETTERS[: len(inside)])
            (reply,) = yield from ask([NextToken(passages.prompt(inside, letters), letters)])
            return order([reply.of(letter) for letter in letters])

        ranking = yield from self._sliding().order(len(candidates.documents), order_window)
        return Scored(descending(ranking), {"escaped_ids": passages.escaped})

    def _sliding(self) -> Sliding:
        return Sliding("first", self.window, self.stride, self.passes)
