"""Listwise rerankers that write a permutation: RankGPT, RankVicuna, RankZephyr and their kind."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rerank_bench import Candidates, Flow, Generate, Scored, ask

from .budgets import check_budgets, check_counts
from .instructions import check_prompt, prompt_takes_instruction
from .orders import Ordering, Sliding, descending
from .parsing import PermutationReader
from .passages import THOUGHT, Passages, full_answer
from .shuffles import shuffled

_TOKENS_PER_IDENTIFIER = 7  # "[100] > " where every digit and bracket is a token of its own


@dataclass(frozen=True)
class Listwise:
    """Lets a model order windows of numbered passages, from the end of the pool to its front.

    prompt: name or `.toml` file, filled with `query` and `passages`.
    window, stride: passages in a window and how far it moves, half the window by default (20 and
        10: Sun et al. 2023, arXiv:2304.09542). A window of the pool's size is one call for all
        (full ranking: Liu et al. 2024, arXiv:2412.14574).
    passes: how often the whole is gone over.
    orders: how many orders of a window are asked about. Beyond 1 the passages are shuffled for
        each, and the mean of a passage's places counts (permutation self-consistency, Tang et al.
        2023, arXiv:2310.07712, which minimises the Kendall distance instead).
    max_tokens: of one answer. By default enough for the longest permutation, and 2,048 more for
        `thinking`.
    thinking: ask a chat template that knows the switch for its think block, and leave the answer's
        beginning to the model.
    max_doc_tokens, max_query_tokens, max_window_tokens (of a window's documents together): budgets
        in tokens.
    instruction: as for pointwise.
    """

    prompt: str = "listwise"
    window: int = 20
    stride: int | None = None
    passes: int = 1
    orders: int = 1
    max_tokens: int | None = None
    thinking: bool = False
    max_doc_tokens: int | None = 150
    max_query_tokens: int | None = 256
    max_window_tokens: int | None = None
    instruction: str = ""
    asks = frozenset({Generate})
    takes_instruction = prompt_takes_instruction
    method = "listwise"
    shows: ClassVar[tuple[str, ...]] = ("query", "passages")

    def __post_init__(self) -> None:
        self._sliding()
        check_budgets(self.method, self)
        check_counts(self.method, max_tokens=self.max_tokens, orders=self.orders)
        check_prompt(
            self.method, self.prompt, *self.shows, count=self.window, instruction=self.instruction
        )

    def rerank(self, candidates: Candidates) -> Flow:
        """Order window by window; an answer without identifiers leaves its window as it was."""
        windows = Windows(self, candidates)
        ranking = yield from self._sliding().order(len(candidates.documents), windows.order)
        return Scored(descending(ranking), windows.counts, windows.repairs)

    def _sliding(self) -> Sliding:
        return Sliding(self.method, self.window, self.stride, self.passes)


class Windows:
    """Orders windows of one query's passages, and counts what was wrong with the answers.

    scores: a text per document, for prompts that show a `score` of each passage.
    """

    def __init__(
        self, options: Listwise, candidates: Candidates, scores: Sequence[str] = ()
    ) -> None:
        self._options = options
        self._query_id = candidates.query_id
        self._passages = Passages(
            candidates,
            options.prompt,
            thinking=options.thinking,
            instruction=options.instruction,
            scores=scores,
        )
        self._readings = PermutationReader()

    @property
    def counts(self) -> dict[str, int]:
        """How many answers were repaired or unparsable, and how many identifiers were escaped."""
        return {**self._readings.counts, "escaped_ids": self._passages.escaped}

    @property
    def repairs(self) -> list[int]:
        """The numbers of the requests whose answers were repaired or unparsable."""
        return self._readings.repairs

    def order(self, inside: Sequence[int]) -> Ordering:
        """Ask for the order of one window; return its places, best first."""
        (places,) = yield from self.order_all([inside])
        return places

    def order_all(
        self, windows: Sequence[Sequence[int]]
    ) -> Generator[Sequence[Any], Sequence[Any], list[list[int]]]:
        """Ask for the orders of several windows together; return the places of each."""
        shown = [(inside, places) for inside in windows for places in self._shown(len(inside))]
        requests = [self._request([inside[place] for place in places]) for inside, places in shown]
        replies = yield from ask(requests)
        found = []
        for request, reply, (_, places) in zip(requests, replies, shown, strict=True):
            read = self._readings.read(full_answer(request.prompt, reply), len(places))
            found.append([places[place] for place in read])
        orders = self._options.orders
        return [mean_order(found[i : i + orders]) for i in range(0, len(found), orders)]

    def _shown(self, count: int) -> list[list[int]]:
        """The orders in which a window of `count` passages is shown."""
        places = list(range(count))
        if self._options.orders == 1:
            return [places]
        return [shuffled(places, self._query_id, draw) for draw in range(self._options.orders)]

    def _request(self, passages: Sequence[int]) -> Generate:
        count, limit = len(passages), self._options.max_tokens
        prompt = self._passages.prompt(passages, [str(n + 1) for n in range(count)])
        usual = _TOKENS_PER_IDENTIFIER * count + (THOUGHT if prompt.thinking else 0)
        return Generate(prompt, limit or usual)


def mean_order(orders: Sequence[Sequence[int]]) -> list[int]:
    """Return the places by their mean position in `orders`; ties keep the smaller place first."""
    sums = [0] * len(orders[0])
    for order in orders:
        for position, place in enumerate(order):
            sums[place] += position
    return sorted(range(len(sums)), key=sums.__getitem__)
