"""Pairwise rerankers: which of two documents is the better, of all pairs or of those of a sort."""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from rerank_bench import BadOption, Candidates, Flow, NextToken, Scored, ask, load_template

from .budgets import check_budgets, check_counts
from .choices import ChoiceOptions, Chooser
from .instructions import check_prompt, prompt_takes_instruction
from .odds import log_sum_exp
from .orders import Choosing, bubble_sort, descending, heap_sort
from .passages import Passages

SORTS = ("all", "heap", "sliding")
Pair: TypeAlias = tuple[int, int]
Shares: TypeAlias = Generator[Sequence[Any], Sequence[Any], list[float]]


@dataclass(frozen=True)
class Pairwise:
    """Pairwise ranking prompting (PRP: Qin et al. 2023, arXiv:2306.17563).

    Every pair is asked about twice, each document once in front; a document wins where both answers
    prefer it, and otherwise each of the two has half.

    prompt: name or `.toml` file, filled with `query` and two `passages`, which are named by the
        file's labels.
    sort: `all` compares all pairs and scores a document by what it won, `heap` sorts by a heap, and
        `sliding` goes `k` times from the end to the front and swaps neighbours. Where a sort meets
        a pair that neither won, the first stage decides.
    k: how many of the best `heap` and `sliding` put in order; the others follow in their order.
    answer, max_tokens: as for setwise.
    max_doc_tokens, max_query_tokens, max_window_tokens (of two documents together): budgets in
        tokens; 128 for documents is that of llm-rankers.
    instruction: as for pointwise.
    """

    prompt: str = "prp"
    sort: str = "all"
    k: int = 10
    answer: str = "labels"
    max_tokens: int | None = None
    max_doc_tokens: int | None = 128
    max_query_tokens: int | None = 256
    max_window_tokens: int | None = None
    instruction: str = ""
    window = 2
    takes_instruction = prompt_takes_instruction

    def __post_init__(self) -> None:
        if self.sort not in SORTS:
            raise BadOption(f"pairwise: sort must be one of {', '.join(SORTS)}, not {self.sort!r}")
        check_counts("pairwise", k=self.k)
        self._choices().check_documents(2, "give it another label")
        check_budgets("pairwise", self)

    @property
    def asks(self) -> frozenset[type]:
        """The type of its requests."""
        return self._choices().asks

    @property
    def fixed_labels(self) -> tuple[str, ...]:
        """The two labels of every request."""
        return self._choices().labels[:2] if self.answer == "labels" else ()

    def rerank(self, candidates: Candidates) -> Flow:
        """Compare all pairs at once, or sort by comparisons."""
        chooser = Chooser(candidates, self._choices())
        count = len(candidates.documents)
        if self.sort == "all":
            scores = yield from _games_won(count, chooser)
        else:
            sort, children = (heap_sort, 2) if self.sort == "heap" else (bubble_sort, 1)
            knock_out = PairwiseMaximum(chooser)
            ranking = yield from sort(
                count, best=self.k, children=children, choose=knock_out.choose
            )
            scores = descending(ranking)
        return Scored(scores, chooser.counts, chooser.repairs)

    def _choices(self) -> ChoiceOptions:
        return ChoiceOptions(
            "pairwise", self.prompt, self.answer, self.max_tokens, self.instruction
        )


def _shares(pairs: Sequence[Pair], chooser: Chooser) -> Shares:
    """Ask about each pair both ways round; return what its first document wins: 0, 1/2 or 1."""
    both_ways = [shown for a, b in pairs for shown in ((a, b), (b, a))]
    answers = yield from chooser.choose(both_ways)
    found = []
    for place, (first, second) in enumerate(pairs):
        preferred = set(answers[2 * place : 2 * place + 2])
        found.append(1.0 if preferred == {(first,)} else 0.0 if preferred == {(second,)} else 0.5)
    return found


def _games_won(count: int, chooser: Chooser) -> Shares:
    """Compare all pairs of `count` documents in one round; return what each document wins."""
    pairs = list(itertools.combinations(range(count), 2))
    shares = yield from _shares(pairs, chooser)
    won = [0.0] * count
    for (first, second), share in zip(pairs, shares, strict=True):
        won[first] += share
        won[second] += 1 - share
    return won


class PairwiseMaximum:
    """Chooses the best of each set by comparing its documents, one after another, with the best."""

    def __init__(self, chooser: Chooser) -> None:
        self._chooser = chooser

    def choose(self, sets: Sequence[Sequence[int]]) -> Choosing:
        """Compare within all sets at once; the first stage decides what is undecided."""
        best = [0] * len(sets)
        for place in range(1, max(map(len, sets))):
            longer = [number for number, inside in enumerate(sets) if place < len(inside)]
            pairs = [(sets[number][best[number]], sets[number][place]) for number in longer]
            shares = yield from _shares(pairs, self._chooser)
            for number, (holder, challenger), share in zip(longer, pairs, shares, strict=True):
                if share < 0.5 or (share == 0.5 and challenger < holder):
                    best[number] = place
        return best


@dataclass(frozen=True)
class Duo:
    """Sums how probable each of the first `k` documents is to be better than each other (duoT5).

    Pradeep et al. 2021, arXiv:2101.05667: p_ij is the probability of the prompt's first label
    against its second, where document i stands before j. All other documents follow in
    their order.

    prompt: name or `.toml` file, filled with `query` and two `passages`, with two labels. k: 50, as
        in the paper. both: ask about each pair both ways round; without it only about i before j in
        first-stage order, as rank_llm does. symmetric: p_ij counts for i, and 1 - p_ij for j;
        without it only for i.
    max_doc_tokens, max_query_tokens, max_window_tokens (of two documents together): budgets in
        tokens. instruction: as for pointwise.
    """

    prompt: str = "duot5"
    k: int = 50
    both: bool = True
    symmetric: bool = True
    max_doc_tokens: int | None = 256
    max_query_tokens: int | None = 256
    max_window_tokens: int | None = None
    instruction: str = ""
    asks = frozenset({NextToken})
    takes_instruction = prompt_takes_instruction
    window = 2

    def __post_init__(self) -> None:
        check_counts("duo", k=self.k)
        if not self.both and not self.symmetric:
            raise BadOption(
                "duo: with both=false and symmetric=false the last document could win nothing; "
                "set one of them"
            )
        if len(self.fixed_labels) != 2:
            raise BadOption(
                f"duo: prompt {self.prompt} needs two labels, that of a better first document "
                f"first; it has {len(self.fixed_labels)}"
            )
        check_budgets("duo", self)
        check_prompt("duo", self.prompt, "query", "passages", count=2, instruction=self.instruction)

    @property
    def fixed_labels(self) -> tuple[str, ...]:
        """The two labels of every request."""
        return load_template(self.prompt).labels

    def rerank(self, candidates: Candidates) -> Flow:
        """Ask about all pairs at once."""
        passages = Passages(candidates, self.prompt, instruction=self.instruction, escape=False)
        count = len(candidates.documents)
        first = range(min(self.k, count))
        pairs = list((itertools.permutations if self.both else itertools.combinations)(first, 2))
        labels = self.fixed_labels
        prompts = [passages.prompt(pair, ("0", "1")) for pair in pairs]
        replies = yield from ask([NextToken(prompt, labels) for prompt in prompts])
        shares: list[list[float]] = [[] for _ in first]
        for (i, j), reply in zip(pairs, replies, strict=True):
            better, worse = (reply.of(label) for label in labels)
            p = math.exp(better - log_sum_exp((better, worse)))
            shares[i].append(p)
            if self.symmetric:
                shares[j].append(1 - p)
        behind = [float(-place) for place in range(1, count - len(first) + 1)]
        return [*map(math.fsum, shares), *behind]
