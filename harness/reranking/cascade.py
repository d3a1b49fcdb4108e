"""Rerankers by their specification: one reranker, or a cascade `A then B at K`.

The first stage of a cascade reranks the pool, and each later stage the first K documents of the
order that the stages before it leave. A cascade is the choice of its last stage; `Choice.after`
holds the stages before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import BadOption
from .choice import After, Choice
from .entries import catalogue
from .registry import Defaults, build, methods, parse

LEAST_DEPTH = 2
"""A stage that is given one document cannot change an order."""

_THEN = re.compile(r"\s+then\s+")
_AT = re.compile(r"(?P<stage>.+?)\s+at\s+(?P<depth>-?\d+)\s*", re.DOTALL)


def choose(text: str, defaults: Defaults | None = None) -> Choice:
    """Build the reranker or the cascade that `text` names; raises what `build` does.

    BadOption for a stage without `at K`, or with a K below 2.
    """
    return choose_with(text, {}, defaults or Defaults())


def choose_with(text: str, further: Mapping[str, Any], defaults: Defaults) -> Choice:
    """Build what `text` names, with `further` options: those of one reranker, or a cascade's `as`.

    Raises what `choose` does, and BadOption for another option of a cascade.
    """
    first, *later = _stages(text)
    if not later:
        name, options = parse(text)
        return build(name, {**options, **further}, defaults)
    for option in further:
        if option != "as":
            raise BadOption(
                f"cascade {text!r}: {option} belongs to one stage; write NAME:{option}=VALUE"
            )
    choice = build(*parse(first), defaults)
    for spec in later:
        stage, depth = _depth(text, spec)
        choice = _followed(choice, build(*parse(stage), defaults), depth)
    return replace(choice, label=str(further.get("as") or choice.label))


def is_cascade(text: str) -> bool:
    """Say whether `text` is a cascade's specification."""
    return len(_stages(text)) > 1


def _stages(text: str) -> list[str]:
    """Split a cascade at each `then`; a text with one in an option's value stays whole."""
    first, *later = _THEN.split(text)
    meant = ":" not in first or any(_AT.fullmatch(part) or _is_named(part) for part in later)
    return [first, *later] if later and meant else [text]


def _is_named(text: str) -> bool:
    name = re.split(r"[:\s]", text, maxsplit=1)[0]
    return name in catalogue() or name in methods()


def _depth(text: str, spec: str) -> tuple[str, int]:
    """Split `B at K`; raises BadOption where no K is given, or one below 2."""
    match = _AT.fullmatch(spec)
    if match is None:
        raise BadOption(f"cascade {text!r}: say how many documents {spec!r} gets: {spec} at 20")
    depth = int(match["depth"])
    if depth < LEAST_DEPTH:
        raise BadOption(f"cascade {text!r}: K must be at least {LEAST_DEPTH}, not {depth}")
    return match["stage"], depth


def _followed(earlier: Choice, stage: Choice, depth: int) -> Choice:
    after = After(earlier, stage.label, depth)
    return replace(stage, label=f"{earlier.label}+{stage.label}@{depth}", after=after)


def with_stages(choices: Sequence[Choice]) -> list[Choice]:
    """Return `choices`, with the stages of each cascade before it as rerankers of their own, once.

    Raises BadOption where another reranker has the label of such a stage.
    """
    named = {choice.label: choice for choice in choices}
    found: list[Choice] = []
    for choice in choices:
        for earlier in _before(choice):
            own = named.setdefault(earlier.label, earlier)
            if not _equal(own, earlier):
                raise BadOption(
                    f"two rerankers would both be stored as {earlier.label}, one of them as a "
                    f"stage of {choice.label}; give one of them as=NAME"
                )
            found.append(own)
        found.append(choice)
    return list({id(choice): choice for choice in found}.values())


def _before(choice: Choice) -> Iterator[Choice]:
    """Yield the stages before the last one of a cascade, each with all that is before it."""
    if choice.after is not None:
        yield from _before(choice.after.earlier)
        yield choice.after.earlier


def _equal(one: Choice, other: Choice) -> bool:
    """Say whether two choices of one label are one reranker; objects of a class differ anyway."""
    a, b = one.after, other.after
    if a is None or b is None:
        same = a is b
    else:
        same = (a.stage, a.depth) == (b.stage, b.depth) and _equal(a.earlier, b.earlier)
    own = ("method", "options", "engine", "code")
    return same and all(getattr(one, name) == getattr(other, name) for name in own)
