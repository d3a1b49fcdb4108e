"""Setwise rerankers, which choose the best of a few documents, or the best and worst of all."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rerank_bench import BadOption, Candidates, Flow, Generate, Scored, ask

from .budgets import check_budgets, check_counts
from .choices import ChoiceOptions, Chooser, Winners
from .instructions import check_prompt, prompt_takes_instruction
from .orders import Choosing, Ending, bubble_sort, descending, heap_sort, sort_from_both_ends
from .parsing import read_labels
from .passages import Passages, full_answer

SORTS = ("heap", "bubble")


@dataclass(frozen=True)
class Setwise:
    """Sorts by choices of the best among a document and its `children` (arXiv:2310.09497).

    prompt: name or `.toml` file, filled with `query` and `passages`, which are named by the file's
        labels, or by numbers where it has none.
    sort: `heap` or `bubble`. children: 3, as in the code of the paper, whose tables have 2. k: how
        many of the best are put in order; the others follow in their order.
    answer: `labels` for the log-probabilities of the labels, `generate` for a label that is
        written, `tagged` for one that is written between `<answer>` and `</answer>` after thoughts
        (Rank-R1: arXiv:2503.06034).
    permutations: how often each choice is asked for, in shuffled orders; the most votes win.
        shuffle: show the documents of every choice in an order drawn by query and documents, as
        Rank-R1 does. Of equal documents, and where no answer can be used, the first stage's best is
        chosen. (In the code of the paper the heap's parent is, which in the end is a last document
        of the first stage.)
    max_tokens: of a written answer; by default 16, and 2,048 more where the prompt has the model
        think. max_doc_tokens (128: the paper's), max_query_tokens, max_window_tokens (of a choice's
        documents together): budgets in tokens. instruction: as for pointwise.
    """

    prompt: str = "setwise"
    sort: str = "heap"
    children: int = 3
    k: int = 10
    answer: str = "labels"
    permutations: int = 1
    shuffle: bool = False
    max_tokens: int | None = None
    max_doc_tokens: int | None = 128
    max_query_tokens: int | None = 256
    max_window_tokens: int | None = None
    instruction: str = ""
    takes_instruction = prompt_takes_instruction

    def __post_init__(self) -> None:
        if self.sort not in SORTS:
            raise BadOption(f"setwise: sort must be one of {', '.join(SORTS)}, not {self.sort!r}")
        if self.sort == "heap" and self.children < 2:
            raise BadOption(f"setwise: children must be at least 2, not {self.children}")
        check_counts("setwise", children=self.children, k=self.k, permutations=self.permutations)
        self._choices().check_documents(self.window, "lower children")
        check_budgets("setwise", self)

    @property
    def asks(self) -> frozenset[type]:
        """The type of its requests."""
        return self._choices().asks

    @property
    def fixed_labels(self) -> tuple[str, ...]:
        """The labels of the largest set."""
        return self._choices().labels[: self.window] if self.answer == "labels" else ()

    @property
    def window(self) -> int:
        """How many documents a choice has at most."""
        return self.children + 1

    def rerank(self, candidates: Candidates) -> Flow:
        """Sort; answers that cannot be used are counted."""
        chooser = Chooser(candidates, self._choices())

        def choose(sets: Sequence[Sequence[int]]) -> Choosing:
            shown = [order for inside in sets for order in self._orders(candidates, inside)]
            answers = iter((yield from chooser.choose(shown)))
            votes = [list(itertools.islice(answers, self.permutations)) for _ in sets]
            return [
                inside.index(most_voted(v, inside)) for v, inside in zip(votes, sets, strict=True)
            ]

        sort = heap_sort if self.sort == "heap" else bubble_sort
        count = len(candidates.documents)
        ranking = yield from sort(count, best=self.k, children=self.children, choose=choose)
        return Scored(descending(ranking), chooser.counts, chooser.repairs)

    def _choices(self) -> ChoiceOptions:
        return ChoiceOptions("setwise", self.prompt, self.answer, self.max_tokens, self.instruction)

    def _orders(self, candidates: Candidates, inside: Sequence[int]) -> list[Sequence[int]]:
        """Return the orders in which a set is shown: its own, or shuffled ones."""
        if not self.shuffle and self.permutations == 1:
            return [inside]
        ids = "\0".join(candidates.documents[index].doc_id for index in inside)
        draw = random.Random(f"{candidates.query_id}\0{ids}")
        return [draw.sample(inside, len(inside)) for _ in range(self.permutations)]


def most_voted(answers: Sequence[Winners], inside: Sequence[int]) -> int:
    """Return the document with the most votes, of equal ones the first stage's best.

    An answer that prefers none, or several equally, has no vote or one for each of these.
    """
    votes = Counter(index for winners in answers for index in winners)
    return min(inside, key=lambda index: (-votes[index], index))


@dataclass(frozen=True)
class DualEnd:
    """Fills the ranking from both ends by choices of the best and worst of all that are left.

    One call shows all documents that have no rank yet, and ranks two of them: 50 calls, one after
    the other, for 100 documents (Li et al. 2026, arXiv:2606.01782). A model has to read all of them
    at once.

    prompt: name or `.toml` file, filled with `query` and `passages`, which are numbered. k: how
    many of the best, and of the worst, are ranked; by default all. An answer that names one
    passage is taken for the best, and the last of the others for the worst; an answer that names
    none, or more than two, ranks the first and the last. max_tokens: of an answer.
    max_doc_tokens, max_query_tokens: budgets in tokens. instruction: as for pointwise.
    """

    prompt: str = "dual-end"
    k: int | None = None
    max_tokens: int = 24
    max_doc_tokens: int | None = 128
    max_query_tokens: int | None = 256
    instruction: str = ""
    asks = frozenset({Generate})
    takes_instruction = prompt_takes_instruction

    def __post_init__(self) -> None:
        check_counts("dual-end", k=self.k, max_tokens=self.max_tokens)
        check_budgets("dual-end", self)
        check_prompt("dual-end", self.prompt, "query", "passages", instruction=self.instruction)

    def rerank(self, candidates: Candidates) -> Flow:
        """Choose from both ends; answers that had to be completed or left are counted."""
        passages = Passages(candidates, self.prompt, instruction=self.instruction)
        named: list[int] = []  # how many passages each answer named, 0 where it is of no use

        def choose(inside: Sequence[int]) -> Ending:
            names = {str(place + 1): place for place in range(len(inside))}
            prompt = passages.prompt(inside, list(names))
            (reply,) = yield from ask([Generate(prompt, self.max_tokens)])
            places = read_labels(full_answer(prompt, reply), names)
            named.append(len(places) if len(places) <= 2 else 0)
            return best_and_worst(places, len(inside))

        count = len(candidates.documents)
        best = count if self.k is None else self.k
        ranking = yield from sort_from_both_ends(count, best=best, choose=choose)
        counts = {"repaired": named.count(1), "unparsable": named.count(0)}
        counts["escaped_ids"] = passages.escaped
        repairs = [index for index, number in enumerate(named) if number != 2]
        return Scored(descending(ranking), counts, repairs)


def best_and_worst(places: Sequence[int], count: int) -> tuple[int, int]:
    """Return the two of `count` places that were named, completed by the first and the last."""
    if len(places) == 2:
        return places[0], places[1]
    best = places[0] if len(places) == 1 else 0
    return best, count - 1 if best != count - 1 else count - 2
