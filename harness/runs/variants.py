"""The same run in other circumstances: other input orders, again, or one query at a time.

A reranker ought to give the same result each time. Variants are runs of their own, beside the one
they are compared with, and are never among the rerankers of a report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import BadData, BadOption
from ..reranking import FIRST_STAGE, RANDOM, REVERSE


@dataclass(frozen=True)
class Variant:
    """In which order a reranker is given its candidates, which repeat this is, and if alone.

    order: `first-stage`, `reverse`, or `random-SEED`. repeat: 1 for the run itself. alone: one
    query at a time, so that its seconds are what a user would wait. shuffled: requests go to the
    engine in other slices and another order than they came.
    """

    order: str = FIRST_STAGE
    repeat: int = 1
    alone: bool = False
    shuffled: bool = False

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Variant:
        """Read a variant back from a run's settings; raises BadData for one that is not known."""
        told = settings.get("variant") or {}
        usual = asdict(cls())
        if isinstance(told, Mapping) and all(
            type(value) is type(usual.get(name)) for name, value in told.items()
        ):
            return cls(**told)
        raise BadData(f"a run's variant is not known here: {told}; another version wrote it")

    @property
    def settings(self) -> dict[str, Any]:
        """What stands in a run's settings: nothing where this is the run itself."""
        usual = asdict(Variant())
        changed = {name: value for name, value in asdict(self).items() if value != usual[name]}
        return {"variant": changed} if changed else {}

    @property
    def suffix(self) -> str:
        """What follows the label in the name of the run's folder."""
        words = []
        if self.order != FIRST_STAGE:
            words.append(f"~order-{self.order}")
        if self.repeat > 1:
            words.append(f"~repeat-{self.repeat}")
        return "".join([*words, "~alone" if self.alone else ""])

    @property
    def is_main(self) -> bool:
        """Say whether this is the run that the others are compared with."""
        return self == Variant()


def variants(
    orders: Sequence[str] = (), *, repeat: int = 1, shuffled: bool = False, alone: bool = False
) -> tuple[Variant, ...]:
    """Return the run itself and its variants: each order, each repeat, and if asked one alone.

    With `shuffled` the repeats ask in another order than the run itself.
    """
    if repeat < 1:
        raise BadOption(f"--repeat must be at least 1, not {repeat}")
    if shuffled and repeat == 1:
        raise BadOption("--shuffle-submission needs --repeat 2 or more")
    found = [Variant(order=order) for order in _orders(orders)]
    found += [Variant(repeat=number, shuffled=shuffled) for number in range(2, repeat + 1)]
    found += [Variant(alone=True)] if alone else []
    return tuple(dict.fromkeys([Variant(), *found]))


def _orders(texts: Sequence[str]) -> list[str]:
    """Read `first-stage`, `reverse` and `random:N`, which stands for N orders."""
    found: list[str] = []
    for text in texts:
        name, _, number = text.partition(":")
        if name == RANDOM and (number or "1").isdecimal():
            found += [f"{RANDOM}-{seed}" for seed in range(int(number or 1))]
        elif text in {FIRST_STAGE, REVERSE}:
            found.append(text)
        else:
            raise BadOption(f"--orders takes first-stage, reverse and random:N, not {text!r}")
    return found
