"""Worker processes that answer requests; their memory is free when they are closed.

A worker is a module run as `python -m MODULE FD`. Over the pipe behind FD it receives its settings
and sends `("ready", room, in_effect)`, the requests it takes at once and what it runs with. It then
receives lists of prepared requests and sends `("answers", [(index, answer), …], seconds)`, answers
as they come and its seconds of work so far. It sends `("failed", reason)` before it ends because of
an error. It ends by itself when it receives None, or when the pipe closes because this process is
gone.
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
from ...types import ready
from ..prepare import Answer, Prepared

FORGET = "forget"
"""The message at which a worker drops what it keeps of earlier requests."""

_LAST_LINES, _LINE = 3, 200
_GRACE = 10.0  # seconds that workers have to end by themselves
_TOGETHER = 32  # requests sent at once


@dataclass
class Worker:
    """One process: its pipe, its log, and by index the requests that it has not answered.

    `quoted` says that an error named the log, which then outlives the process.
    """

    process: subprocess.Popen[bytes]
    pipe: Connection
    log: Path
    room: int = 0
    in_effect: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    under_way: dict[int, Prepared] = field(default_factory=dict)
    quoted: bool = False

    def receive(self) -> list[Any]:
        """Return the content of the next message.

        Raises EngineDied for an error that the process sends, and with the log's last lines where
        it is gone.
        """
        try:
            state, *content = self.pipe.recv()
        except (EOFError, OSError):
            raise self.died() from None
        if state == "failed":
            event = "broke down" if self.room else "did not start"
            raise self.error(f"the engine {event}: {content[0]} (log: {self.log})")
        return list(content)

    def send(self, message: Any) -> None:
        """Send a message; EngineDied if the process is gone."""
        try:
            self.pipe.send(message)
        except OSError:
            raise self.died() from None

    def died(self) -> EngineDied:
        """The error for a process that is gone."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_GRACE)
        code = self.process.returncode
        how = f"exit status {code}" if code is None or code >= 0 else signal.Signals(-code).name
        lines = self.log.read_text(errors="replace").splitlines()
        last = [line.strip()[-_LINE:] for line in lines if line.strip()][-_LAST_LINES:]
        end = " | ".join(last) or "the log is empty"
        return self.error(f"the engine's process ended ({how}); its log is {self.log}\n{end}")

    def error(self, message: str) -> EngineDied:
        """Return the error with a message that names the log."""
        self.quoted = True
        return EngineDied(message)

    def dismiss(self) -> None:
        """Send the process the message to end."""
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


class Workers:
    """Processes with equal settings but for their environment, started together.

    `start_seconds` is what starting took. Raises EngineDied where one fails to start, with
    its own reason if it said any.
    """

    def __init__(
        self, module: str, settings: Any, *, environments: Sequence[Mapping[str, str]], what: str
    ) -> None:
        started = time.perf_counter()
        self.processes = [_launch(module, extra) for extra in environments]
        try:
            for worker in self.processes:
                worker.send(settings)
            with bar(f"starting {what}", total=len(self.processes)) as advance:
                for worker in self.processes:
                    worker.room, worker.in_effect = worker.receive()
                    advance(1)
        except BaseException:
            self.close()
            raise
        self.start_seconds = time.perf_counter() - started

    @property
    def seconds(self) -> float:
        """Seconds of work, of the busiest worker."""
        return max(worker.seconds for worker in self.processes)

    def run(self, requests: Iterator[Prepared | None]) -> Iterator[tuple[Prepared, Answer]]:
        """Yield (request, answer) as answers come; requests are drawn only as there is room.

        A None among the requests means that none is ready before another answer is yielded.
        """
        while True:
            self._send(requests)
            busy = [worker for worker in self.processes if worker.under_way]
            if not busy:
                return
            readable = wait([worker.pipe for worker in busy])
            for worker in busy:
                if worker.pipe in readable:
                    answers, worker.seconds = worker.receive()
                    yield from ((worker.under_way.pop(index), one) for index, one in answers)

    def _send(self, requests: Iterator[Prepared | None]) -> None:
        """Send requests to the worker with the fewest, until all are full or none is ready.

        What is drawn together belongs together, so it is sent in runs, not one by one in turn.
        """
        while True:
            worker = min(self.processes, key=lambda worker: len(worker.under_way))
            wanted = min(worker.room - len(worker.under_way), _TOGETHER)
            batch = list(itertools.islice(ready(requests), wanted))
            if not batch:
                return
            worker.under_way.update((one.index, one) for one in batch)
            worker.send(batch)

    def forget(self) -> None:
        """Have idle workers drop what they keep of earlier requests."""
        for worker in self.processes:
            worker.send(FORGET)

    def close(self) -> None:
        """End all workers, side by side."""
        for worker in self.processes:
            worker.dismiss()
        deadline = time.monotonic() + _GRACE
        for worker in self.processes:
            worker.end(deadline)
        self.processes = []


def _launch(module: str, extra: Mapping[str, str]) -> Worker:
    here, there = Pipe()
    handle, name = tempfile.mkstemp(prefix="rerank-bench-", suffix=".log")
    with os.fdopen(handle, "wb") as log, there:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            # -P: a module in the current folder must not replace one of the standard library.
            [sys.executable, "-P", "-m", module, str(there.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **extra},
            pass_fds=[there.fileno()],
            start_new_session=True,
        )
    return Worker(process, here, Path(name))
