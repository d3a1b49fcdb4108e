"""A few questions whose answers tell models apart that servers call by the same name.

No server says which template, dtype or quantization it runs, but its numbers do. Each question is
short and asked alone, twice: the second time its prompt is cached, as it will be in a later run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...errors import EngineFault
from ...types import Embed, NextToken, PairScore, Prompt, Score
from ..asks import Ask
from ..batches import Work
from .client import Call, Client, Server
from .dialects import PATHS, Dialect, first_position
from .faults import ODD, Malformed
from .pairs import Heard, number

TEXT = "The first words of a text"
LABELS = tuple(range(24))  # more than the one asked for by rank: none comes by chance
APART = 0.5
"""Numbers of equal models do not differ so much; those of bfloat16 do by up to 0.15."""

_MOST = 24
_RANKED = 5  # the last ranks change places easily
_PAIRS = (
    PairScore("a query", "a document"),
    PairScore("why is the sky blue", "Air scatters blue light more than red light."),
    PairScore("why is the sky blue", "The market opens at seven in winter."),
)

Numbers = tuple[float, ...]


async def numbers_of(
    client: Client, server: Server, asked: Dialect, paths: Sequence[str], ids: Sequence[int]
) -> Numbers:
    """What a server answers to the questions, for every kind that it can be asked; maybe none.

    ids: `TEXT` in the model's tokens; without them only pairs are asked.
    """
    found: list[float] = []
    for kind, question in _questions(asked, paths, ids):
        call = asked.call(kind, [question])
        for _ in range(2):
            status, payload = await client.ask(server, call.path, call.body)
        try:
            found += _told(kind, call, payload, asked) if status == 200 else ()
        except (Malformed, *ODD):
            continue
    return tuple(found)


def _questions(
    asked: Dialect, paths: Sequence[str], ids: Sequence[int]
) -> Iterator[tuple[type, Any]]:
    if asked.pairs is not None:
        yield from ((PairScore, pair) for pair in _PAIRS)
    if not ids:
        return
    if asked.completions.labels is not None:
        yield NextToken, Ask("labels", ids, LABELS)
    if PATHS[Score] in paths:
        yield Score, Ask("logits", ids)
    if PATHS[Embed] in paths:
        yield Embed, Work(0, ids, len(ids), request=Embed(Prompt(text=TEXT)))


def _told(kind: type, call: Call, payload: Any, asked: Dialect) -> Sequence[float]:
    if kind is NextToken and asked.completions.labels != "exact":
        ranked = map(number, first_position(payload["choices"][0]).values())
        return sorted(ranked, reverse=True)[:_RANKED]
    heard: Heard = call.read(payload)[0]
    if kind is PairScore:
        return (float(heard.read), *heard.values)
    return heard.values[:_MOST]


def fingerprint(told: Iterable[Numbers]) -> str | None:
    """What distinguishes servers, one or more, by their numbers; None where one told none.

    Three digits: two servers of one kind agree in them, two dtypes or templates do not.
    """
    distinct = sorted({" ".join(f"{number + 0.0:.3g}" for number in numbers) for numbers in told})
    if not all(distinct):
        return None
    return ",".join(hashlib.sha256(one.encode()).hexdigest()[:16] for one in distinct)


def require_alike(told: Mapping[str, Numbers]) -> None:
    """Raise EngineFault where one server's numbers are not those of the others."""
    (first, numbers), *others = told.items()
    for url, theirs in others:
        far = any(abs(x - y) > APART for x, y in zip(numbers, theirs, strict=False))
        if far or len(numbers) != len(theirs):
            raise EngineFault(
                f"{first} and {url} answer differently, as under other templates or weights: "
                "run them apart"
            )
