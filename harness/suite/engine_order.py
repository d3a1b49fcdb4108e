"""The order in which a suite's rerankers run: engine by engine, each loaded alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import TYPE_CHECKING

from ..engines import NO_ENGINE, EngineChoice

if TYPE_CHECKING:
    from ..reranking import Choice


def engines_of(choices: Sequence[Choice]) -> list[EngineChoice]:
    """Return the distinct engines, those of model-free rerankers first."""
    distinct = dict.fromkeys(choice.engine for choice in choices)
    return sorted(distinct, key=lambda chosen: chosen != NO_ENGINE)


def by_engine(choices: Sequence[Choice]) -> Iterator[tuple[EngineChoice, list[Choice]]]:
    """Yield engines with the rerankers that each answers, a cascade after its earlier stages.

    The next engine is the one that leaves the fewest of its rerankers for a later turn.
    """
    left, done = list(choices), set[str]()
    while left:
        turns = {chosen: _ready(left, chosen, done) for chosen in engines_of(left)}
        waiting = {e: sum(c.engine == e for c in left) - len(own) for e, own in turns.items()}
        chosen = min((e for e, own in turns.items() if own), key=lambda e: waiting[e])
        yield chosen, turns[chosen]
        done |= {choice.label for choice in turns[chosen]}
        left = [choice for choice in left if choice.label not in done]


def _ready(choices: Sequence[Choice], chosen: EngineChoice, done: Set[str]) -> list[Choice]:
    """Return the rerankers that `chosen` can answer in one turn, after those of `done`."""
    found: list[Choice] = []
    for choice in choices:  # the stages of a cascade come before it
        known = done | {earlier.label for earlier in found}
        if choice.engine == chosen and (
            choice.after is None or choice.after.earlier.label in known
        ):
            found.append(choice)
    return found
