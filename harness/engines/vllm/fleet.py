"""Worker processes that answer items from one queue; their memory is free when they are closed.

A worker is a module run as `python -m MODULE FD`. Over the pipe behind FD it is sent its settings,
says `("ready", room, {...})`, the items it can have at once and what it runs with, or `("failed",
reason)`, and is then sent lists of (number, item). It sends back `("told", [(number, answer), …],
seconds)`: answers as they come, and its seconds of work so far; or `("broken", reason)` before it
ends of an error. It ends by itself when it is sent None, or when the pipe closes because this
process is gone.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any

from ...errors import EngineDied
from ...progress import bar

FORGET = "forget"
"""The message that tells a worker to drop what it keeps of earlier items."""

_LAST_LINES, _LINE = 3, 200
_PATIENCE = 10.0  # seconds that workers have to end by themselves
_RUN = 32  # items handed out at once


@dataclass
class Worker:
    """One process: its pipe, its log, and the numbers of the items it has not answered.

    `quoted` says that an error named the log, which then outlives the process.
    """

    process: subprocess.Popen[bytes]
    pipe: Connection
    log: Path
    room: int = 0
    told: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    under_way: set[int] = field(default_factory=set)
    quoted: bool = False

    def receive(self) -> Any:
        """The next message; EngineDied with the log's last lines where the process is gone."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            raise self.died() from None

    def answers(self) -> list[tuple[int, Any]]:
        """The answers of the next message; EngineDied where an error ends the process."""
        state, *told = self.receive()
        if state == "broken":
            raise self.error(f"the engine broke down: {told[0]} (log: {self.log})")
        answers, self.seconds = told
        return list(answers)

    def send(self, message: Any) -> None:
        """Send a message; EngineDied where the process is gone."""
        try:
            self.pipe.send(message)
        except OSError:
            raise self.died() from None

    def died(self) -> EngineDied:
        """The error for a process that is gone."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_PATIENCE)
        code = self.process.returncode
        how = f"exit status {code}" if code is None or code >= 0 else signal.Signals(-code).name
        lines = self.log.read_text(errors="replace").splitlines()
        last = [line.strip()[-_LINE:] for line in lines if line.strip()][-_LAST_LINES:]
        said = " | ".join(last) or "it said nothing"
        return self.error(f"the engine's process ended ({how}); its log is {self.log}\n{said}")

    def error(self, told: str) -> EngineDied:
        """The error that says `told`, in which the log is named."""
        self.quoted = True
        return EngineDied(told)

    def dismiss(self) -> None:
        """Tell the process to end."""
        with suppress(OSError):
            self.pipe.send(None)
        self.pipe.close()

    def end(self, deadline: float) -> None:
        """Wait until `deadline` (monotonic seconds), then kill the process and all it started."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(max(deadline - time.monotonic(), 0))
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if not self.quoted:
            self.log.unlink(missing_ok=True)


class Fleet:
    """Workers with equal settings but for their environment, started together.

    `start_seconds` is what starting took. Raises EngineDied where one fails to start, with
    its own reason if it said any.
    """

    def __init__(
        self, module: str, settings: Any, *, environments: Sequence[Mapping[str, str]], what: str
    ) -> None:
        started = time.perf_counter()
        self.workers = [_launch(module, extra) for extra in environments]
        try:
            for worker in self.workers:
                worker.send(settings)
            with bar(f"starting {what}", total=len(self.workers)) as advance:
                for worker in self.workers:
                    _await_ready(worker)
                    advance(1)
        except BaseException:
            self.close()
            raise
        self.start_seconds = time.perf_counter() - started

    @property
    def seconds(self) -> float:
        """Seconds of work, of the busiest worker."""
        return max(worker.seconds for worker in self.workers)

    def run(self, items: Iterator[tuple[int, Any] | None]) -> Iterator[tuple[int, Any]]:
        """Yield (number, answer) as answers come; items are drawn only as workers have room.

        A None among the items says that none is ready before another answer is taken.
        """
        while True:
            self._hand_out(items)
            busy = {worker.pipe: worker for worker in self.workers if worker.under_way}
            if not busy:
                return
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]
                for number, answer in worker.answers():
                    worker.under_way.discard(number)
                    yield number, answer

    def _hand_out(self, items: Iterator[tuple[int, Any] | None]) -> None:
        """Give the idlest worker some items, and so on, until all are full or none is ready.

        What is drawn together belongs together, so it goes out in runs, not one by one in turn.
        """
        while True:
            worker = min(self.workers, key=lambda worker: len(worker.under_way))
            wanted = min(worker.room - len(worker.under_way), _RUN)
            drawn = (next(items, None) for _ in range(wanted))
            batch = list(itertools.takewhile(lambda item: item is not None, drawn))
            if not batch:
                return
            worker.under_way.update(item[0] for item in batch if item is not None)
            worker.send(batch)

    def forget(self) -> None:
        """Let idle workers drop what they keep of earlier items."""
        for worker in self.workers:
            worker.send(FORGET)

    def close(self) -> None:
        """End all workers, side by side."""
        for worker in self.workers:
            worker.dismiss()
        deadline = time.monotonic() + _PATIENCE
        for worker in self.workers:
            worker.end(deadline)
        self.workers = []


def _launch(module: str, extra: Mapping[str, str]) -> Worker:
    here, there = Pipe()
    handle, name = tempfile.mkstemp(prefix="rerank-bench-", suffix=".log")
    with os.fdopen(handle, "wb") as log, there:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            # -P: a module of the folder one happens to stand in is nobody's standard library.
            [sys.executable, "-P", "-m", module, str(there.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **extra},
            pass_fds=[there.fileno()],
            start_new_session=True,
        )
    return Worker(process, here, Path(name))


def _await_ready(worker: Worker) -> None:
    state, *told = worker.receive()
    if state == "failed":
        raise worker.error(f"the engine did not start: {told[0]} (log: {worker.log})")
    worker.room, worker.told = told
