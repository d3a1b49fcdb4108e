"""From a request on its way to what the dialect is asked, and from what was heard to a reply."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ...types import (
    Embed,
    Generate,
    Generation,
    LabelScores,
    Likelihood,
    Logits,
    NextToken,
    PairScore,
)
from ..asks import Told
from ..batches import Answer, sound
from ..feed import Feed, Queued
from ..reading import Reading
from .dialects import AT_ONCE
from .pairs import Heard


def next_chunk(feed: Feed, kind: type) -> list[Queued]:
    """What comes next of `kind` and goes into one call; nothing where nothing is ready now."""
    chunk: list[Queued] = []
    for queued in feed.take(lambda k: k is kind and _alike(kind, [*chunk[:1], feed.peek()])):
        if queued is None:
            break
        chunk.append(queued)
        if len(chunk) == AT_ONCE[kind]:
            break
    return chunk


def _alike(kind: type, some: list[Queued]) -> bool:
    """Whether they can be asked together: the same labels, the same query, the same scale."""
    if kind is NextToken:
        return len({tuple(q.work.request.values()) for q in some}) == 1
    if kind is PairScore:
        return len({q.work.request.query for q in some}) == 1
    return kind is not Embed or len({q.work.request.normalise for q in some}) == 1


@dataclass(frozen=True)
class Reader:
    """Asks and reads as the in-process vLLM does, but for what a server may leave out."""

    kind: type
    reading: Reading | None

    def ask(self, queued: Queued) -> Any:
        """What the dialect makes a call of."""
        if self.kind is PairScore:
            return queued.work.request
        if self.kind is Embed:
            return queued.work
        return self._read.ask(self.kind, queued.work)

    def counted(self, chunk: list[Queued], heard: list[Heard]) -> list[Heard]:
        """Pairs with their token counts: the tokenizer's, where they sum to the server's.

        A server that puts pairs into a template reads more than the two texts; of its total each
        pair then has an equal share.
        """
        own = [len(queued.work.ids) for queued in chunk]
        total = sum(one.read for one in heard)
        if self.kind is not PairScore or not all(own) or total not in (0, sum(own)):
            return heard
        return [replace(one, read=tokens) for one, tokens in zip(heard, own, strict=True)]

    def reply(self, queued: Queued, heard: Heard) -> Answer:
        """The reply, or a Failure where a number is none."""
        return sound(heard.values, self._made(queued, heard))

    def _made(self, queued: Queued, heard: Heard) -> Any:
        work, read = queued.work, len(queued.work.ids)
        if self.kind is NextToken:
            told = dict(zip(heard.tokens, heard.values, strict=True))
            found = {label: told[i] for label, i in work.request.items() if i in told}
            return LabelScores(found, None, read, 1, heard.cached, bound=heard.bound)
        if self.kind is Generate and not heard.tokens:
            return Generation(
                heard.text or "",
                heard.finished,
                (),
                heard.values,
                read,
                heard.written,
                heard.cached,
            )
        if self.kind in (Generate, Likelihood, Embed):
            return self._read.reply(self.kind, work, self._told(heard))
        names = self.reading.names if self.reading is not None else ()
        names = names if len(names) == len(heard.values) else ()
        return Logits(heard.values, heard.read or read, names=names)

    def _told(self, heard: Heard) -> Told:
        vectors = None
        if self.kind is Embed:
            import numpy as np

            vectors = np.array([heard.values], dtype=np.float32)
        return Told(heard.values, heard.tokens, heard.finished, vectors, heard.cached)

    @property
    def _read(self) -> Reading:
        assert self.reading is not None  # noqa: S101 - all but pairs have a tokenizer
        return self.reading
