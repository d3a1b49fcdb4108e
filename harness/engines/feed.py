"""Requests on their way to a served model: drawn as there is room, prepared, put in order."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..types import AnyRequest
from .batches import Answer, Work
from .works import Works

AT_ONCE = 512
"""Requests drawn and put in order at once; while the model computes, the next ones are."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A prepared request: its place among those drawn, its kind, and what the model is to read."""

    index: int
    kind: type
    work: Work


class Feed:
    """Draws `requests` and prepares them with `works`.

    Of what is drawn together each kind is put in the order of its token ids, so that prompts with
    the same beginning follow one another and a prefix cache can serve them. What needs no model,
    such as a prompt that is too long, comes to `settled`. A request of a kind in `unprepared` has
    its work's `request` alone.
    """

    def __init__(
        self,
        requests: Iterator[AnyRequest | None],
        works: Works,
        *,
        unprepared: frozenset[type] = frozenset(),
    ) -> None:
        self._requests, self._works, self._unprepared = requests, works, unprepared
        self._places = itertools.count()
        self._ready: deque[Queued] = deque()
        self._settled: deque[tuple[int, Answer]] = deque()
        self.ended = False

    def next_kind(self) -> type | None:
        """The kind of what comes next; None where nothing is ready now."""
        if not self._ready and not self.ended:
            self._draw()
        return self._ready[0].kind if self._ready else None

    def peek(self) -> Queued:
        """What comes next; `next_kind` has said that there is something."""
        return self._ready[0]

    def take(self, goes: Callable[[type], bool]) -> Iterator[Queued | None]:
        """Yield what is ready while `goes(kind)`; None where nothing is ready before a reply."""
        while True:
            kind = self.next_kind()
            if kind is None and not self.ended:
                yield None
            elif kind is None or not goes(kind):
                return
            else:
                yield self._ready.popleft()

    def settled(self) -> Iterator[tuple[int, Answer]]:
        """Yield the answers that needed no model."""
        while self._settled:
            yield self._settled.popleft()

    def _draw(self) -> None:
        """Draw what there is, up to `AT_ONCE`, and prepare it kind by kind."""
        drawn: dict[type, list[tuple[int, AnyRequest]]] = {}
        for _ in range(AT_ONCE):
            try:
                request = next(self._requests)
            except StopIteration:
                self.ended = True
                break
            if request is None:
                break
            drawn.setdefault(type(request), []).append((next(self._places), request))
        for kind, placed in drawn.items():
            self._prepare(kind, placed)

    def _prepare(self, kind: type, placed: list[tuple[int, AnyRequest]]) -> None:
        if kind in self._unprepared:
            self._ready.extend(Queued(i, kind, Work(i, (), 0, None, r)) for i, r in placed)
            return
        prepared = self._works.of(kind, [request for _, request in placed])
        self._settled.extend((placed[index][0], answer) for index, answer in prepared.settled)
        ordered = sorted(prepared.works, key=lambda work: list(work.ids))
        self._ready.extend(Queued(placed[work.index][0], kind, work) for work in ordered)
