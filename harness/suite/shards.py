"""A suite in parts that run apart: every run is in one of them, whole.

Runs are dealt out in turn: reranker by reranker, each over all tasks and profiles. A cascade and
what it begins with stay together, as do the variants of a run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import BadOption

if TYPE_CHECKING:
    from ..reranking import Choice


@dataclass(frozen=True)
class Shard:
    """Part `number`, from 1, of `count`."""

    number: int = 1
    count: int = 1

    @classmethod
    def of(cls, text: str) -> Shard:
        """Read `3/8`; BadOption for anything else."""
        match = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", text)
        found = cls(*map(int, match.groups())) if match else cls(1, 0)
        if found.number > found.count:
            raise BadOption(f"--shard takes a part of a whole such as 3/8, not {text!r}")
        return found

    def deal(self, choices: Sequence[Choice], pools: int) -> list[list[Choice]]:
        """Return for each of `pools` pools the rerankers that this shard runs over it.

        Raises BadOption where it is left with nothing.
        """
        firsts = list(dict.fromkeys(first_label(choice) for choice in choices))
        mine = set(range(len(firsts) * pools)[self.number - 1 :: self.count])
        dealt = [
            [c for c in choices if firsts.index(first_label(c)) * pools + pool in mine]
            for pool in range(pools)
        ]
        if choices and not any(dealt):
            raise BadOption(
                f"--shard {self.number}/{self.count} is left with nothing: "
                f"the suite has {len(firsts) * pools} runs that can be made apart"
            )
        return dealt


def first_label(choice: Choice) -> str:
    """Return the label of the reranker that a cascade begins with; of another one its own."""
    while choice.after is not None:
        choice = choice.after.earlier
    return choice.label
