"""The replicas as the run sees them: requests for all of them, and lost ones replaced."""

from __future__ import annotations

import itertools
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...errors import EngineDied, EngineFault, RerankBenchError
from ...progress import bar
from ...types import Answers, AnyRequest, Failure, Reply, Statistics, ready
from .cluster import Share
from .replica import EngineDescription, Replica, ReplyBatch, describe, why_failed

if TYPE_CHECKING:
    from .options import RayOptions

ATTEMPTS = 3
"""Replicas that may be lost with the same request, or one after another without any reply."""

_TOGETHER = 32  # requests that belong together, as they were drawn together
_LOOK_SECONDS = 1.0  # between two looks at what the cluster holds
_GRACE = 10.0  # seconds that replicas have to close their engines

Requests = Iterator[AnyRequest | None]


class _Lost(Exception):
    """A replica, or its node, is gone."""


@dataclass(eq=False)
class _Member:
    """A replica: its actor, what it is waited for, and by number its (index, request) pairs.

    described: None until it has started. awaited: its description, then its stream of replies.
    """

    actor: Any
    awaited: Any
    described: EngineDescription | None = None
    statistics: Statistics = field(default_factory=Statistics)
    under_way: dict[int, tuple[int, AnyRequest]] = field(default_factory=dict)


def _fetch(reference: Any) -> Any:
    """Return a result; raises the replica's own error, or _Lost where it is gone.

    EngineFault for any other error.
    """
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        return ray.get(reference)
    except RayTaskError as error:
        if isinstance(error.cause, RerankBenchError):
            raise error.cause from None
        raise EngineFault(why_failed(error.cause)) from error
    except RayError as error:
        raise _Lost(str(error).strip().partition("\n")[0]) from error


def describe_remotely(options: RayOptions) -> EngineDescription:
    """Have a node describe the engine of a replica; EngineDied where none has room for one."""
    import ray

    share = Share.of(options)
    task = ray.remote(describe).options(**share.resources).remote(options.of_inner)
    found, _ = ray.wait([task], timeout=options.wait_seconds)
    if not found:
        ray.cancel(task)
        raise EngineDied(_nothing_free(options, share))
    try:
        answer: EngineDescription = _fetch(task)
    except _Lost as lost:
        raise EngineDied(f"the cluster lost what was asked of it: {lost}") from lost
    return answer


def _nothing_free(options: RayOptions, share: Share, why: str = "") -> str:
    last = f"; the last was lost: {why}" if why else ""
    return (
        f"no replica could be started within wait_seconds={options.wait_seconds:g}: no node has "
        f"{share} free{last}"
    )


class Replicas:
    """Replicas of one engine, of which one has started when this is built.

    lost: how many were replaced. Raises EngineDied where none starts, EngineFault for one that
    would answer otherwise than `identity` says.
    """

    def __init__(self, options: RayOptions, identity: Mapping[str, str]) -> None:
        self.options, self.identity = options, identity
        self.members: list[_Member] = []
        self.lost = 0
        self.statistics = Statistics()
        self._numbers = itertools.count()
        self._again: deque[tuple[int, AnyRequest]] = deque()
        self._attempts: Counter[int] = Counter()
        self._in_a_row = 0
        self._why = ""
        self._seen = time.monotonic()
        self._share = Share.of(options)
        self._looked = 0.0
        with bar(f"starting {options.inner} on Ray", total=1) as advance:
            try:
                while not self.serving:
                    for _ in self._receive():
                        pass
                advance(1)
            except BaseException:
                self.close()
                raise

    @property
    def serving(self) -> list[_Member]:
        """The replicas that have started."""
        return [member for member in self.members if member.described is not None]

    def run(self, requests: Requests) -> Answers:
        """Answer requests, which are drawn as replicas have room.

        A None among the requests means that none is ready before another answer is yielded.
        """
        numbered = _numbered(requests)
        while True:
            self._send(numbered)
            if self.serving and not any(member.under_way for member in self.members):
                return
            yield from self._receive()

    def forget(self) -> None:
        """Have idle replicas drop what they keep of earlier requests."""
        for member in self.serving:
            with suppress(_Lost):  # it is replaced when it is next waited for
                _fetch(member.actor.forget.remote())

    def close(self) -> None:
        """Have all replicas close their engines, side by side, and end them."""
        import ray

        closing = [member.actor.close.remote() for member in self.serving]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=_GRACE)
        for member in self.members:
            ray.kill(member.actor)
        self.members = []

    # Requests

    def _send(self, requests: Iterator[tuple[int, AnyRequest] | None]) -> None:
        """Give requests to the replica with the fewest, until all are full or none is ready."""
        shares: dict[_Member, list[tuple[int, AnyRequest]]] = {}
        serving = self.serving
        while serving:
            member = min(serving, key=lambda member: len(member.under_way))
            room = min(self.options.concurrency - len(member.under_way), _TOGETHER)
            batch = list(itertools.islice(self._next(requests), room))
            if not batch:
                break
            numbered = {next(self._numbers): one for one in batch}
            member.under_way |= numbered
            sent = [(number, request) for number, (_, request) in numbered.items()]
            shares.setdefault(member, []).extend(sent)
        for member, share in shares.items():
            member.actor.put.remote(share)

    def _next(
        self, requests: Iterator[tuple[int, AnyRequest] | None]
    ) -> Iterator[tuple[int, AnyRequest]]:
        """Yield requests that were lost, then those that are ready."""
        while self._again:
            yield self._again.popleft()
        yield from ready(requests)

    # Replicas

    def _receive(self) -> Answers:
        """Wait for replies, and for replicas that start; replace those that are gone."""
        import ray

        self._look()
        waiting = [member.awaited for member in self.members]
        found, _ = ray.wait(waiting, num_returns=1, timeout=_LOOK_SECONDS)
        if found:
            found, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0)
        for member in [member for member in self.members if member.awaited in found]:
            try:
                yield from self._take(member)
            except (_Lost, EngineDied) as error:
                self._lose(member, str(error))

    def _take(self, member: _Member) -> Answers:
        """Take what a replica has sent: its description first, then replies."""
        if member.described is None:
            self._begin(member, _fetch(member.awaited))
            return
        answered: ReplyBatch = _fetch(next(member.awaited))
        member.statistics = answered.statistics
        self._add(answered.statistics)
        yield from self._answers(member, answered)
        if answered.error is not None:
            raise answered.error

    def _answers(
        self, member: _Member, answered: ReplyBatch
    ) -> Iterator[tuple[int, Reply | Failure]]:
        for number, reply in answered.replies:
            index, _ = member.under_way.pop(number)
            self._attempts.pop(index, None)
            self._in_a_row = 0
            yield index, reply

    def _begin(self, member: _Member, described: EngineDescription) -> None:
        """Have a replica that has started serve; EngineFault if its replies would be others."""
        differs = sorted(
            key
            for key in {*described.identity, *self.identity}
            if described.identity.get(key) != self.identity.get(key)
        )
        if differs:
            key = differs[0]
            here, there = self.identity.get(key), described.identity.get(key)
            raise EngineFault(
                f"a replica on node {described.node[:8]} would give other replies: its {key} is "
                f"{there}, that of the run {here}; make the nodes' environments equal"
            )
        member.described = described
        member.awaited = member.actor.serve.options(num_returns="streaming").remote()

    def _look(self) -> None:
        """Now and then, start replicas for what the cluster has room for by now.

        Raises EngineDied where there has been no replica for `wait_seconds`.
        """
        now = time.monotonic()
        if self.serving:
            self._seen = now
        elif now - self._seen > self.options.wait_seconds:
            raise EngineDied(_nothing_free(self.options, self._share, self._why))
        if now - self._looked >= _LOOK_SECONDS:
            self._looked, wanted = now, Share.of(self.options).replicas
            for _ in range(wanted - len(self.members)):
                self._start()

    def _start(self) -> None:
        import ray

        actor = (
            ray.remote(Replica)
            .options(**self._share.resources, max_concurrency=2, max_restarts=0)
            .remote(self.options.of_inner)
        )
        self.members.append(_Member(actor, actor.describe.remote()))

    def _lose(self, member: _Member, why: str) -> None:
        """Put the open requests of a lost replica back; raise EngineDied if it happens too often.

        The next look at the cluster starts another one in its place.
        """
        import ray

        ray.kill(member.actor)
        self.members.remove(member)
        self.lost, self._in_a_row, self._why = self.lost + 1, self._in_a_row + 1, why
        self._looked = 0.0
        self._again.extend(member.under_way.values())
        self._attempts.update(index for index, _ in member.under_way.values())
        often = max(self._attempts.values(), default=0)
        if often >= ATTEMPTS:
            raise EngineDied(f"{often} replicas were lost with the same request; the last: {why}")
        if self._in_a_row >= ATTEMPTS * self._share.replicas:
            raise EngineDied(f"{self._in_a_row} replicas were lost in a row; the last: {why}")

    def _add(self, new: Statistics) -> None:
        """Keep the longest times of any replica, and the settings of the last one."""
        old = self.statistics
        self.statistics = Statistics(
            max(old.loading_seconds, new.loading_seconds),
            max(old.work_seconds, new.work_seconds),
            new.in_effect or old.in_effect,
        )


def _numbered(requests: Requests) -> Iterator[tuple[int, AnyRequest] | None]:
    """Yield requests with their index; a None has none."""
    indices = itertools.count()
    for request in requests:
        yield None if request is None else (next(indices), request)
