"""LiT5-Distill: a T5 reads each passage alone and writes a permutation (Tamber et al. 2023).

arXiv:2312.16098. Windows slide from the end of the pool to its front, as in RankGPT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rerank_bench import Candidates, Flow, Scored, ask, escape_identifiers, load_template
from rerank_bench.types import Fuse

from .budgets import check_budgets, check_counts
from .instructions import check_prompt
from .orders import Ordering, Sliding, descending
from .parsing import PermutationReader

_TOKENS_PER_IDENTIFIER = 7  # the official code allows 140 for 20


@dataclass(frozen=True)
class LiT5:
    """Lets a fusion-in-decoder model order windows of numbered passages.

    prompt: name or `.toml` file, filled once for each passage with `query`, `index` and `document`.
    window, stride: passages in a window and how far it moves, half the window by default.
    passes: how often the whole is gone over.
    max_tokens: of one answer; by default enough for the longest permutation.
    max_doc_tokens, max_query_tokens, max_pair_tokens (of both together): budgets in tokens. The
        official code cuts each filled prompt to 150 tokens, and so the end of its text; here the
        passage is cut.
    """

    prompt: str = "lit5"
    window: int = 20
    stride: int | None = None
    passes: int = 1
    max_tokens: int | None = None
    max_doc_tokens: int | None = None
    max_query_tokens: int | None = 64
    max_pair_tokens: int | None = 128
    asks = frozenset({Fuse})

    def __post_init__(self) -> None:
        self._sliding()
        check_budgets("lit5", self)
        check_prompt("lit5", self.prompt, "query", "document", "index", unshown=())
        check_counts("lit5", max_tokens=self.max_tokens)

    def rerank(self, candidates: Candidates) -> Flow:
        """Order window by window; an answer without numbers leaves its window as it was."""
        windows = _Windows(self, candidates)
        ranking = yield from self._sliding().order(len(candidates.documents), windows.order)
        return Scored(descending(ranking), windows.counts, windows.repairs)

    def _sliding(self) -> Sliding:
        return Sliding("lit5", self.window, self.stride, self.passes)


class _Windows:
    """Orders windows of one query's passages, and counts what was wrong with the answers."""

    def __init__(self, options: LiT5, candidates: Candidates) -> None:
        self._options = options
        self._template = load_template(options.prompt)
        self._query, found = escape_identifiers(candidates.query)
        safe = [escape_identifiers(document.text) for document in candidates.documents]
        self._texts = [text for text, _ in safe]
        self._escaped = found + sum(count for _, count in safe)
        self._readings = PermutationReader(bare=True)

    @property
    def counts(self) -> dict[str, int]:
        """How many answers were repaired or unparsable, and how many identifiers were escaped."""
        return {**self._readings.counts, "escaped_ids": self._escaped}

    @property
    def repairs(self) -> list[int]:
        """The numbers of the requests whose answers were repaired or unparsable."""
        return self._readings.repairs

    def order(self, inside: Sequence[int]) -> Ordering:
        """Ask for the order of one window; return its places, best first."""
        (reply,) = yield from ask([self._request(inside)])
        return self._readings.read(reply.text, len(inside))

    def _request(self, inside: Sequence[int]) -> Fuse:
        prompts = tuple(
            self._template.fill(query=self._query, index=place, document=self._texts[document])
            for place, document in enumerate(inside, start=1)
        )
        return Fuse(prompts, self._options.max_tokens or _TOKENS_PER_IDENTIFIER * len(inside))
