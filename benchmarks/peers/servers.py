"""Servers that both sides ask, and what a call costs the client and the server."""

from __future__ import annotations

import importlib.util
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import click
import httpx2
import psutil
from side_by_side import Way

from rerank_bench.engines import find_model

NAME = "served"
_START_SECONDS = 240.0
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "2",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_SERVER_DEV_MODE": "1",  # for /reset_prefix_cache
}
Output = TypeVar("Output")


def require(*modules: str) -> None:
    """Raise UsageError where this environment is not the one of `make bench-vllm`."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise click.UsageError(
            f"this case needs {', '.join(missing)}: run it as `make bench-vllm` does"
        )


@dataclass(frozen=True)
class Server:
    """A server at `url`, and its process; `name`: what it is, for the table."""

    name: str
    url: str
    process: subprocess.Popen[bytes]

    def forget(self) -> None:
        """Drop the cached prefixes of vLLM, so that no round is served by the one before."""
        for _ in range(50):  # it does not while the last requests are put away
            if httpx2.post(f"{self.url}/reset_prefix_cache").raise_for_status().json()["success"]:
                return
            time.sleep(0.1)
        raise click.ClickException("vLLM does not drop its cached prefixes")

    def posts(self) -> list[tuple[str, dict[str, Any]]]:
        """Return what was posted to the stub since the last call."""
        found: list[tuple[str, dict[str, Any]]] = httpx2.get(f"{self.url}/posts").json()
        return found

    def cpu_seconds(self) -> float:
        """Return the processor seconds of the server and all that it started."""
        root = psutil.Process(self.process.pid)
        times = [one.cpu_times() for one in (root, *root.children(recursive=True))]
        return float(sum(one.user + one.system for one in times))


@contextmanager
def vllm(folder: Path | str, slots: int, *arguments: str) -> Iterator[Server]:
    """Serve a model in float32 with vLLM, to at most `slots` requests at once."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # `vllm serve` looks up the package's version under a name that the CPU build does not have.
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder),
        "--served-model-name", NAME, str(folder), "--host", "127.0.0.1", "--port", str(port),
        "--dtype", "float32", "--enforce-eager", "--max-num-seqs", str(slots),
        "--max-model-len", "4096", "--block-size", "32", "--generation-config", "vllm",
        "--max-num-batched-tokens", "4096", "--disable-uvicorn-access-log", *arguments,
    ]  # fmt: skip
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, **ENVIRONMENT}
        )
        server = Server("vLLM", f"http://127.0.0.1:{port}", process)
        try:
            if not _is_up(server):
                log.seek(0)
                end = log.read().decode(errors="replace")[-3000:]
                raise click.ClickException(f"vLLM did not start:\n{end}")
            yield server
        finally:
            _end(process)


@contextmanager
def stub(answer: str = "") -> Iterator[Server]:
    """Serve without a model, from a process of its own."""
    command = [sys.executable, str(Path(__file__).with_name("stub.py")), answer]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        port = process.stdout.readline() if process.stdout else b""
        yield Server("stub", f"http://127.0.0.1:{int(port)}", process)
    finally:
        _end(process)


def _is_up(server: Server) -> bool:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and server.process.poll() is None:
        try:
            if httpx2.get(f"{server.url}/health").status_code == httpx2.codes.OK:
                return True
        except httpx2.TransportError:
            time.sleep(0.5)
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def cold(way: Way[Output], server: Server) -> Way[Output]:
    """Return the way over a vLLM that has no prefix of an earlier call."""

    def before() -> None:
        way.before()
        server.forget()

    return replace(way, before=before)


def smollm2() -> str:
    """Return the folder of the model of the package smollm2."""
    return str(find_model("smollm2").source)


# What a call costs on either side


@dataclass
class Watch:
    """Watches the calls of ways that ask one server.

    costs: by way, for each call its seconds, and the processor seconds of client and server.
    """

    server: Server
    costs: dict[str, list[tuple[float, float, float]]] = field(default_factory=dict)

    def over(self, way: Way[Output]) -> Way[Output]:
        """Return the way, watched."""

        def run() -> Output:
            start = time.perf_counter(), time.process_time(), self.server.cpu_seconds()
            output = way.run()
            end = time.perf_counter(), time.process_time(), self.server.cpu_seconds()
            took, own, served = (b - a for a, b in zip(start, end, strict=True))
            self.costs.setdefault(way.name, []).append((took, own, served))
            return output

        return replace(way, run=run)

    def facts(self, requests: int) -> dict[str, Any]:
        """Return by way the medians of the timed calls: rates, and how busy the server was.

        The first call of a way is the one whose output is compared.
        """
        return {name: self._medians(costs[1:], requests) for name, costs in self.costs.items()}

    def _medians(self, costs: Sequence[tuple[float, ...]], requests: int) -> dict[str, float]:
        took, own, served = (statistics.median(values) for values in zip(*costs, strict=True))
        return {
            "requests_per_second": requests / took,
            "client_cpu_ms_per_request": 1000 * own / requests,
            "server_busy_share_of_cores": served / took / (os.cpu_count() or 1),
        }
