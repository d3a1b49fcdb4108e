"""Variants of a run: with another input order, repeated, or with one query at a time.

A reranker should give the same result each time. A variant is stored as a run of its own, is
compared with the main run, and is not listed as a reranker in a report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import BadData, BadOption
from ..reranking import FIRST_STAGE, RANDOM, REVERSE


@dataclass(frozen=True)
class Variant:
    """How a run differs from the main run.

    order: the order of the candidates, `first-stage`, `reverse` or `random-SEED`.
    repeat: 1 for the main run.
    alone: one query at a time, so that seconds are a user's waiting time.
    shuffled: requests are sent to the engine in another order and in other slices.
    """

    order: str = FIRST_STAGE
    repeat: int = 1
    alone: bool = False
    shuffled: bool = False

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Variant:
        """Read a variant back from a run's settings; raises BadData for one that is not known."""
        found = settings.get("variant") or {}
        usual = asdict(cls())
        if isinstance(found, Mapping) and all(
            type(value) is type(usual.get(name)) for name, value in found.items()
        ):
            return cls(**found)
        raise BadData(f"unknown variant of a run: {found}; read it with the version that wrote it")

    @property
    def settings(self) -> dict[str, Any]:
        """Return the entry for a run's settings; empty for the main run."""
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
    """Read `first-stage`, `reverse` and `random:N`, which means N orders."""
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
