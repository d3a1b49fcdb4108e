"""EcoRank: yes or no for some documents, then pairs at the top, within a budget of words."""

from __future__ import annotations

import itertools
import re
from bisect import bisect_right
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from rerank_bench import BadOption, Candidates, Flow, NextToken, Prompt, Scored, ask, load_template

from .budgets import check_budgets, check_counts
from .instructions import check_instruction, check_prompt, takes_instruction
from .orders import descending
from .passages import Passages, document_prompts

_UNSPACED = r"\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
"""Thai, Lao, Burmese, Khmer, kana and Han, which are written without spaces."""

_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")

Part = Generator[Sequence[Any], Sequence[Any], tuple[Sequence[int], bool]]
"""A flow of one share of the budget: returns an order, and whether the share paid for nothing."""


@dataclass(frozen=True)
class EcoRank:
    """Asks within a budget: yes or no for each document, then which of two neighbours is better.

    Rashid et al. 2024, arXiv:2402.10866. The first documents are judged alone, as many as a share
    of the budget pays for: relevant ones move to the front, the others after those that were not
    judged. The other share pays for passes from the end to the front that swap neighbours; where it
    does not pay for a whole pass, one goes over the top. Passes end where one swaps nothing.

    The paper judges with a larger model and compares with a smaller one, at a third of its price:
    `ecorank:split=1,budget=2000 then ecorank:split=0,budget=6000 at 50`, each with its model.

    prompt: name or `.toml` file, filled with `query` and `document`; two labels, `yes` first.
    pair_prompt: the same, filled with `query` and two `passages`, with two labels, which name them.
    budget: words of a query's prompts, and one of each answer. Words are counted before anything is
        asked, as in the official code, which divides texts at white space. A letter of a script
        without spaces is a word. A run is invalid where a share pays for no request in more than
        10 % of the queries.
    split: share of the budget for single documents, 0 to 1.
    k: documents that are looked at; the others follow in their order.
    max_doc_tokens, max_query_tokens, max_window_tokens (of two documents together): budgets in
        tokens. instruction: as for pointwise.
    """

    prompt: str = "yes-no"
    pair_prompt: str = "prp"
    budget: int = 4000
    split: float = 0.5
    k: int = 50
    max_doc_tokens: int | None = 256
    max_query_tokens: int | None = 256
    max_window_tokens: int | None = None
    instruction: str = ""
    asks = frozenset({NextToken})

    def __post_init__(self) -> None:
        check_counts("ecorank", budget=self.budget, k=self.k)
        if not 0 <= self.split <= 1:
            raise BadOption(f"ecorank: split must be from 0 to 1, not {self.split}")
        check_budgets("ecorank", self)
        check_prompt("ecorank", self.prompt, "query", "document")
        check_prompt("ecorank", self.pair_prompt, "query", "passages", count=2)
        if not self.takes_instruction:
            check_instruction("ecorank", self.prompt, self.instruction)
        for prompt in (self.prompt, self.pair_prompt):
            if len(labels := load_template(prompt).labels) != 2:
                raise BadOption(f"ecorank: prompt {prompt} needs two labels; it has {len(labels)}")

    @property
    def fixed_labels(self) -> tuple[str, ...]:
        """The labels of single documents and those of pairs."""
        both = (load_template(self.prompt).labels, load_template(self.pair_prompt).labels)
        return tuple(dict.fromkeys(itertools.chain(*both)))

    @property
    def window(self) -> int:
        """Documents of one request: two where a part of the budget is for pairs."""
        return 1 if self.split == 1 else 2

    @property
    def takes_instruction(self) -> bool:
        """Whether a prompt has an instruction."""
        return takes_instruction(self.prompt) or takes_instruction(self.pair_prompt)

    def rerank(self, candidates: Candidates) -> Flow:
        """Judge documents in one round, then compare neighbours, one pair after another.

        Counts a query where a share of the budget pays for no request.
        """
        judged, unjudged = yield from self._judged(candidates)
        compared, uncompared = yield from self._compared(candidates, judged)
        ranking = [*compared, *range(len(compared), len(candidates.documents))]
        unpaid = {"budgeted_queries": 1, "unpaid_queries": int(unjudged or uncompared)}
        return Scored(descending(ranking), unpaid if ranking else {})

    def _judged(self, candidates: Candidates) -> Part:
        """Put relevant ones of the first `k` documents before those not judged, others after."""
        template = load_template(self.prompt)
        prompts = document_prompts(candidates, template, self.instruction)[: self.k]
        count = requests_within(list(map(count_words, prompts)), self.budget * self.split)
        asked = [NextToken(prompt, template.labels) for prompt in prompts[:count]]
        replies = yield from ask(asked)
        yes, no = template.labels
        refused = [place for place, r in enumerate(replies) if r.of(no) > r.of(yes)]
        left = [place for place in range(count) if place not in refused]
        unpaid = bool(prompts and self.split > 0 and not count)
        return [*left, *range(count, len(prompts)), *refused], unpaid

    def _compared(self, candidates: Candidates, ranking: Sequence[int]) -> Part:
        """Go over the ranking from the end to the front, as often as the budget allows."""
        passages = Passages(
            candidates, self.pair_prompt, instruction=self.instruction, escape=False
        )
        labels = load_template(self.pair_prompt).labels
        names = [label.strip() for label in labels]
        found = list(ranking)
        costs = [count_words(passages.prompt(pair, names)) for pair in itertools.pairwise(found)]
        counts = pairs_per_pass(costs, self.budget * (1 - self.split))
        for count in counts:
            before = list(found)
            for place in range(count, 0, -1):
                upper, lower = found[place - 1 : place + 1]
                prompt = passages.prompt((lower, upper), names)
                (reply,) = yield from ask([NextToken(prompt, labels)])
                if reply.of(labels[0]) > reply.of(labels[1]):
                    found[place - 1 : place + 1] = lower, upper
            if found == before:
                break
        return found, bool(costs and self.split < 1 and not any(counts))


def count_words(prompt: Prompt) -> int:
    """Return the words of a prompt, and one for the answer."""
    texts = [prompt.text or "", *(message.text for message in prompt.messages), prompt.prefill]
    return sum(len(_WORD.findall(text)) for text in texts) + 1


def requests_within(costs: Sequence[int], budget: float) -> int:
    """Return how many of the first requests the budget pays for."""
    return bisect_right(list(itertools.accumulate(costs)), budget)


def pairs_per_pass(costs: Sequence[int], budget: float) -> list[int]:
    """Return how many pairs of neighbours each pass compares, from what each pair costs.

    Whole passes first, at most one for each pair, since these order everything; then one over as
    many pairs at the top as the rest of the budget pays for.
    """
    if not costs:
        return []
    whole, left = divmod(budget, sum(costs))
    return [*[len(costs)] * min(int(whole), len(costs)), requests_within(costs, left)]
