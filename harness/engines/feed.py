"""Requests on their way to a served model: drawn as there is room, prepared, put in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from ..types import AnyRequest
from .prepare import Answered, Numbered, Prepared, by_kind

AT_ONCE = 512
"""Requests drawn and put in order together; while the model computes, the next ones are."""


class Feed:
    """Draws requests and prepares them with `prepare`.

    Those drawn together are put in the order of their kind and token ids, so that prompts with the
    same beginning follow one another and a prefix cache can serve them. What needs no model, such
    as a prompt that is too long, is answered at once.
    """

    def __init__(
        self,
        requests: Iterator[AnyRequest | None],
        prepare: Callable[[Numbered], tuple[list[Prepared], list[Answered]]],
    ) -> None:
        self._requests, self._prepare = requests, prepare
        self._drawn = 0
        self._ready: deque[Prepared] = deque()
        self._done: deque[Answered] = deque()
        self.ended = False

    def peek(self) -> Prepared | None:
        """Return what comes next, None where nothing is ready before a reply."""
        if not self._ready and not self.ended:
            self._draw()
        return self._ready[0] if self._ready else None

    def take(self, goes: Callable[[Prepared], bool]) -> Iterator[Prepared | None]:
        """Yield what is ready while `goes` of it; None where nothing is ready before a reply."""
        while True:
            first = self.peek()
            if first is None and not self.ended:
                yield None
            elif first is None or not goes(first):
                return
            else:
                yield self._ready.popleft()

    def answers(self, serve: Callable[[Prepared], Iterator[Answered]]) -> Iterator[Answered]:
        """Yield all answers: those that need no model, and those of `serve`.

        serve: takes what comes first, and as much of the rest as it answers together with it.
        """
        while (first := self.peek()) is not None or not self.ended:
            for answered in serve(first) if first is not None else ():
                yield answered
                yield from self._settled()
            yield from self._settled()
        yield from self._settled()

    def _settled(self) -> Iterator[Answered]:
        while self._done:
            yield self._done.popleft()

    def _draw(self) -> None:
        """Draw what is ready, up to `AT_ONCE`, and prepare it."""
        drawn: list[tuple[int, AnyRequest]] = []
        while len(drawn) < AT_ONCE and not self.ended:
            try:
                request = next(self._requests)
            except StopIteration:
                self.ended = True
                break
            if request is None:
                break
            drawn.append((self._drawn + len(drawn), request))
        self._drawn += len(drawn)
        prepared, done = self._prepare(drawn)
        self._done.extend(done)
        kinds = list(by_kind(drawn))
        prepared.sort(key=lambda one: (kinds.index(type(one.request)), list(one.ids)))
        self._ready.extend(prepared)
