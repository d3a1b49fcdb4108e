"""Where the requests of many flows are handed in, and replies handed out to all who asked."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from ..engines import Keys, decode
from ..errors import RequestFailed
from ..types import AnyRequest, Engine, Failure, Reply
from .flow import Job, OpenFlow, Outcome

if TYPE_CHECKING:
    from ..engines import ReplyCache

_SHUFFLED_SLICE = 256


class Desk:
    """Where requests are handed in and replies are handed out: merged, cached, charged.

    `fresh` are the requests that nobody has sent yet; `finished` the flows that have ended.
    """

    def __init__(
        self, engine: Engine, cache: ReplyCache | None, *, keep_going: bool, shuffle: int | None
    ) -> None:
        self.engine = engine
        self.fresh: deque[AnyRequest] = deque()
        self.finished: deque[OpenFlow] = deque()
        self._cache, self._keep_going = cache, keep_going
        self._askers: dict[AnyRequest, list[tuple[OpenFlow, int]]] = {}
        self._keys: dict[AnyRequest, bytes] = {}
        self._make_keys: Keys | None = None
        self._shuffle = None if shuffle is None else random.Random(shuffle)

    @property
    def waiting(self) -> int:
        """How many distinct requests have not been answered."""
        return len(self._askers)

    def take(self, flows: Iterable[OpenFlow]) -> None:
        """Take in what flows ask; what the cache knows is answered at once, and so on."""
        flows = list(flows)
        while flows:
            self.finished.extend(flow for flow in flows if flow.outcome is not None)
            new: dict[AnyRequest, None] = {}
            for flow in flows:
                for place, request in enumerate(flow.asked):
                    if request not in self._askers:
                        new[request] = None
                    self._askers.setdefault(request, []).append((flow, place))
            flows = self._recall(list(new))

    def _recall(self, requests: Sequence[AnyRequest]) -> list[OpenFlow]:
        """Deliver what the cache knows, put the rest among the fresh; return flows to go on."""
        if self._cache is None or not requests:
            self.fresh.extend(self._in_order(requests))
            return []
        self._make_keys = self._make_keys or Keys(self.engine.identity)
        keys = self._make_keys.of(requests)
        known = self._cache.get(keys)
        ready: list[OpenFlow] = []
        for request, key in zip(requests, keys, strict=True):
            if key in known:
                ready += self._deliver(request, decode(known[key], request), from_cache=1)
            else:
                self.fresh.append(request)
                self._keys[request] = key
        return _resumed(ready)

    def _in_order(self, requests: Sequence[AnyRequest]) -> Sequence[AnyRequest]:
        if self._shuffle is None:
            return requests
        return self._shuffle.sample(requests, len(requests))

    def slice(self) -> list[AnyRequest]:
        """Draw what is asked next: all that is fresh, or if shuffled a part of random size."""
        size = len(self.fresh)
        if self._shuffle is not None:
            size = min(size, self._shuffle.randint(1, _SHUFFLED_SLICE))
        return [self.fresh.popleft() for _ in range(size)]

    def keep(self, request: AnyRequest, reply: Reply | Failure) -> None:
        """Store a reply; raise RequestFailed for a failure, unless the run is to keep going."""
        key = self._keys.pop(request, None)
        if isinstance(reply, Failure):
            if not self._keep_going:
                job = self._askers[request][0][0].job
                raise RequestFailed(f"{job.where}: {reply.reason}")
        elif self._cache is not None and key is not None:
            self._cache.put(key, reply)

    def tell(self, request: AnyRequest, reply: Reply | Failure, seconds: float) -> None:
        """Hand out a reply that took `seconds`, and take in what its flows ask next."""
        askers = self._askers[request]
        for flow, _ in askers:
            flow.spent["seconds"] += seconds / len(askers)
        self.take(_resumed(self._deliver(request, reply)))

    def _deliver(
        self, request: AnyRequest, reply: Reply | Failure, *, from_cache: int = 0
    ) -> list[OpenFlow]:
        """Tell all who asked; the first is charged for it. Return those that have all replies."""
        ready = []
        for position, (flow, place) in enumerate(self._askers.pop(request)):
            flow.spent["merged"] += position > 0
            flow.spent["from_cache"] += from_cache if position == 0 else 0
            if flow.tell(place, reply):
                ready.append(flow)
        return ready

    def flush(self) -> None:
        """Bring every reply to the disk."""
        if self._cache is not None:
            self._cache.flush()

    def outcomes(self) -> Iterator[tuple[Job, Outcome]]:
        """Yield what has ended."""
        while self.finished:
            flow = self.finished.popleft()
            assert flow.outcome is not None  # noqa: S101
            yield flow.job, flow.outcome


def _resumed(flows: Sequence[OpenFlow]) -> list[OpenFlow]:
    for flow in flows:
        flow.resume()
    return list(flows)
