"""One replica: an engine in a process of its own that Ray starts on some node."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import EngineFault, RerankBenchError
from ...types import AnyRequest, Engine, Failure, Reply, Statistics
from ..options import EngineChoice

Batch = Sequence[tuple[int, AnyRequest]]
"""Requests by their number, which is another one for each request of an engine."""


@dataclass(frozen=True)
class EngineDescription:
    """What an engine says of itself where it runs: identity, hardware, and the id of the node."""

    identity: Mapping[str, str]
    hardware: Mapping[str, Any]
    node: str


@dataclass(frozen=True)
class ReplyBatch:
    """Replies by the number of their request, and the engine's statistics so far.

    error: what ended the engine's work.
    """

    replies: Sequence[tuple[int, Reply | Failure]]
    statistics: Statistics
    error: RerankBenchError | None = None


def describe(choice: EngineChoice) -> EngineDescription:
    """Open the engine without its model, and describe it."""
    return _described(choice.open())


def _described(engine: Engine) -> EngineDescription:
    import ray

    node = str(ray.get_runtime_context().get_node_id())
    return EngineDescription(dict(engine.identity), dict(engine.hardware), node)


def why_failed(error: Exception) -> str:
    """Say in one line what ended a replica; for a package that a node lacks, also the cure.

    error: of the package or engine that failed, or Ray's own for what a node could not read.
    """
    from ray.exceptions import RaySystemError

    if isinstance(error, RaySystemError) and isinstance(error.client_exc, Exception):
        error = error.client_exc
    last = str(error).strip().rpartition("\n")[2]
    if isinstance(error, ImportError):
        return f"a node cannot run a replica: {last}; all nodes need the packages of this process"
    return ": ".join(filter(None, ("a replica failed", type(error).__name__, last)))


class Replica:
    """Answers requests as they come: a Ray actor whose methods run in threads, two at a time.

    `serve` runs as long as the replica lives, and the others beside it.
    """

    def __init__(self, choice: EngineChoice) -> None:
        self._engine = choice.open()
        self._waiting: queue.SimpleQueue[Batch] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[int, Reply | Failure] | RerankBenchError]
        self._answers = queue.SimpleQueue()

    def describe(self) -> EngineDescription:
        """Say what answers here."""
        return _described(self._engine)

    def put(self, batch: Batch) -> None:
        """Take further requests."""
        self._waiting.put(batch)

    def serve(self) -> Iterator[ReplyBatch]:
        """Yield what has been answered since the last time, as soon as there is something.

        The engine answers in another thread, so that it need not wait for a reply to be sent.
        """
        threading.Thread(target=self._work, daemon=True).start()
        while True:
            found = [self._answers.get()]
            while not self._answers.empty():
                found.append(self._answers.get())
            error = found.pop() if isinstance(found[-1], RerankBenchError) else None
            yield ReplyBatch(found, self._statistics(), error)  # type: ignore[arg-type]
            if error is not None:
                return

    def forget(self) -> None:
        """Drop what the engine keeps of earlier requests; none is open."""
        self._engine.forget()

    def close(self) -> None:
        """Release the engine's memory and processes."""
        self._engine.close()

    def _work(self) -> None:
        """Answer until an error ends it."""
        numbers: dict[int, int] = {}
        try:
            for index, reply in self._engine.stream(self._draw(numbers)):
                self._answers.put((numbers.pop(index), reply))
        except RerankBenchError as error:
            self._answers.put(error)
        except Exception as error:
            self._answers.put(EngineFault(f"{type(error).__name__}: {error}"))

    def _draw(self, numbers: dict[int, int]) -> Iterator[AnyRequest | None]:
        """Yield requests as they come, None where others are still to be answered.

        numbers: by the engine's index the number of each open request.
        """
        here: deque[tuple[int, AnyRequest]] = deque()
        drawn = 0
        while True:
            if not here:
                try:
                    here.extend(self._waiting.get(block=not numbers))
                except queue.Empty:
                    yield None
                    continue
            number, request = here.popleft()
            numbers[drawn] = number
            drawn += 1
            yield request

    def _statistics(self) -> Statistics:
        found = self._engine.statistics
        return Statistics(found.loading_seconds, found.work_seconds, found.in_effect)
