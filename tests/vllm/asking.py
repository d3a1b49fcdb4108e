"""What the tests on a real vLLM share: requests, replies in order, and a server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from rerank_bench import Message, Prompt
from rerank_bench.types import Engine

LETTERS = tuple("ABCDEFGHIJ")
START_SECONDS = 240.0  # a shared machine with two cores takes a minute


def chat(text: str, prefill: str = "") -> Prompt:
    """A prompt of one message and the beginning of its answer."""
    return Prompt(messages=(Message("user", text),), prefill=prefill)


def answers(engine: Engine, requests: Sequence[Any]) -> list[Any]:
    """The replies in order, one to each request."""
    found = dict(engine.stream(iter(requests)))
    assert sorted(found) == list(range(len(requests)))
    return [found[i] for i in range(len(requests))]


@contextmanager
def serving(
    folder: Path | str, name: str, log: Path, *arguments: str, key: str | None = None
) -> Iterator[str]:
    """Start a vLLM server on a free loopback port; ends it, and all it started, afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # `vllm serve` looks up the package's version under a name that the CPU build does not have.
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder),
        "--served-model-name", name, "--host", "127.0.0.1", "--port", str(port),
        "--dtype", "float32", "--enforce-eager", "--max-num-seqs", "16", *arguments,
    ]  # fmt: skip
    environment = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    environment |= {} if key is None else {"VLLM_API_KEY": key}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **environment}
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _await_up(url, process, log)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx2.get(f"{url}/health").status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(0.5)
    pytest.fail(f"vLLM did not start:\n{log.read_text(errors='replace')[-3000:]}")
