"""What each way to spread requests costs, over the same requests and with the same answers.

    python benchmarks/layers.py [--model minilm] [--vllm smollm2] [--model-only] [--rounds 3]

`requests`: pairs that are answered at once from word overlap, so that what is measured is the way
there and back: in this process, over a pipe to processes as those of engine vllm, to replicas on
Ray, and over HTTP to a stub on this machine. `transformers`: texts that a real model embeds, in
this process and in replicas. `vllm`: prompts of which a language model's vLLM gives labels, without
its prefix cache, in a process of engine vllm, in a replica on Ray and in a server. Each case is
started, asked once, and then timed; the best of the rounds counts. Prints a table and adds what was
run to benchmarks/results/layers.json.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rerank_bench import (
    Engine,
    NextToken,
    PairScore,
    Prompt,
    load_task,
    open_engine,
)
from rerank_bench.engines import Prepared, find_model, machine, overlap
from rerank_bench.engines.vllm.workers import Workers
from rerank_bench.runs.manifest import versions
from rerank_bench.types import Embed

RESULTS = Path(__file__).parent / "results" / "layers.json"
PAIRS = 5_000
ALLOWED = 1e-3
"""By how much answers of two ways may be apart; vLLM's depend on what is in a batch."""
Run = Callable[[Sequence[Any]], dict[int, Any]]


def pairs() -> list[PairScore]:
    """Pairs of a short query and a document of 60 words, all different."""
    words = "the quick brown fox jumps over the lazy dog and runs into the dark wood " * 4
    return [PairScore(f"fox number {i % 50}", f"{i} {words}") for i in range(PAIRS)]


def texts(count: int) -> list[str]:
    """Return documents of stdlib-code, cut to 600 characters."""
    return [text[:600] for text in list(load_task("stdlib-code").corpus.values())[:count]]


# Ways to an answer


@contextmanager
def engine(name: str, **options: Any) -> Iterator[Run]:
    """An engine by name."""
    opened: Engine = open_engine(name, **options)
    try:
        yield lambda requests: dict(opened.stream(iter(requests)))
    finally:
        opened.close()


@contextmanager
def processes(count: int) -> Iterator[Run]:
    """The processes of engine vllm, with word overlap in place of vLLM."""
    where = [{"PYTHONPATH": str(Path(__file__).parent)}] * count
    workers = Workers("layers", None, environments=where, what="processes")

    def run(requests: Sequence[Any]) -> dict[int, Any]:
        prepared = (Prepared(i, request, (), 0) for i, request in enumerate(requests))
        return {one.index: answer for one, answer in workers.run(prepared)}

    try:
        yield run
    finally:
        workers.close()


def worker(descriptor: int) -> None:
    """Answer as a process of `processes`."""
    with Connection(descriptor) as pipe:
        pipe.recv()
        pipe.send(("ready", 512, {}))
        while batch := pipe.recv():
            pipe.send(("answers", [(one.index, overlap(one.request)) for one in batch], 0.0))


class Stub(BaseHTTPRequestHandler):
    """A server of text-embeddings-inference, as far as engine http needs one."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Say what is served."""
        self.reply({"model_id": "minilm", "max_input_length": 512, "version": "1"})

    def do_POST(self) -> None:
        """Answer from word overlap."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/tokenize":
            self.reply([asked["inputs"].split()])
            return
        scores = [overlap(PairScore(asked["query"], text)).logits[0] for text in asked["texts"]]
        self.reply([{"index": i, "score": score} for i, score in enumerate(scores)])

    def reply(self, content: Any) -> None:
        """Send JSON."""
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@contextmanager
def http() -> Iterator[Run]:
    """Engine http and a stub in another thread."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        with engine(
            "http", base_url=url, dialect="tei", model="m", tokenizer="minilm", head="classifier"
        ) as run:
            yield run
    finally:
        server.shutdown()


@contextmanager
def vllm_server(model: str) -> Iterator[Run]:
    """Engine http and a vLLM server, which is started and ended."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # `vllm serve` looks the version up under a name that the build for CPUs does not have.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model]
    command += ["--served-model-name", "served", "--port", str(port), "--dtype", "float32"]
    command += ["--max-model-len", "1024", "--no-enable-prefix-caching"]
    environment = {**os.environ, "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    environment |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    try:
        given = {"base_url": f"http://127.0.0.1:{port}", "tokenizer": model}
        with engine("http", **given, wait_seconds=900.0) as run:
            yield run
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:  # while it starts it may not hear
            server.kill()
            server.wait()


# Measuring


def measure(
    ways: dict[str, Any], requests: Sequence[Any], value: Callable[[Any], Any], rounds: int
) -> dict[str, Any]:
    """Time every way; `value` is what of an answer must be equal."""
    rows: dict[str, Any] = {}
    first: dict[int, Any] = {}
    for name, way in ways.items():
        started = time.perf_counter()
        with way as run:
            found = {index: value(reply) for index, reply in run(requests[:50]).items()}
            ready = time.perf_counter() - started
            seconds = []
            for _ in range(rounds):
                began = time.perf_counter()
                found = {index: value(reply) for index, reply in run(requests).items()}
                seconds.append(time.perf_counter() - began)
        first = first or found
        apart = max(_apart(found[index], first[index]) for index in first)
        if apart > ALLOWED:
            raise SystemExit(f"{name}: the answers are {apart:.2g} apart, so no time is given")
        best = min(seconds)
        row = {"start_seconds": ready, "seconds": best, "most_apart": apart}
        rows[name] = row | {"us_per_request": 1e6 * best / len(requests)}
        whole = next(iter(rows.values()))["seconds"]
        print(f"{name:34} {ready:7.1f} s {rows[name]['us_per_request']:10.0f} us/request "
              f"x{best / whole:6.2f}   most apart {apart:.1e}", flush=True)  # fmt: skip
    return {"requests": len(requests), "rounds": rounds, "ways": rows}


def _apart(one: Sequence[float], other: Sequence[float]) -> float:
    return max(abs(float(a) - float(b)) for a, b in zip(one, other, strict=True))


def at_once(rounds: int) -> dict[str, Any]:
    """Compare the ways of requests that are answered at once."""
    fake = {"inner": "fake", "model": "none"}
    ways = {
        "in this process": engine("fake"),
        "1 process": processes(1),
        "2 processes": processes(2),
        "1 replica on Ray": engine("ray", **fake, replicas=1),
        "2 replicas on Ray": engine("ray", **fake, replicas=2),
        "1 server over HTTP": http(),
    }
    return measure(ways, pairs(), lambda reply: reply.logits, rounds)


def embedded(model: str, rounds: int) -> dict[str, Any]:
    """Compare the ways of texts that a model embeds; no vector is kept between rounds."""
    asked = [Embed(Prompt(text=text)) for text in texts(40)]
    ray = {"inner": "transformers", "model": model}
    ways = {
        "in this process": forgetful("transformers", model=model),
        "1 replica on Ray": forgetful("ray", **ray, replicas=1),
        "2 replicas on Ray": forgetful("ray", **ray, replicas=2),
    }
    return {"model": model, **measure(ways, asked, lambda reply: reply.array.ravel(), rounds)}


def labelled(model: str, rounds: int) -> dict[str, Any]:
    """Compare the ways of prompts of which vLLM gives the logarithms of labels' probabilities."""
    prompts = [Prompt(text=f"{text}\nIs this about files? Answer:") for text in texts(40)]
    asked = [NextToken(prompt, (" yes", " no")) for prompt in prompts]
    place = find_model(model).source  # converted here, so that no start contains it
    given = {"model": place, "dtype": "float32", "max_model_len": 1024}
    given["vllm"] = json.dumps({"enable_prefix_caching": False})
    ways = {
        "1 process of engine vllm": engine("vllm", **given),
        "1 replica on Ray": engine("ray", **given, replicas=1),
        "1 server over HTTP": vllm_server(place),
    }
    return {"model": model, **measure(ways, asked, lambda r: list(r.logprob.values()), rounds)}


@contextmanager
def forgetful(name: str, **options: Any) -> Iterator[Run]:
    """An engine that keeps nothing of one call for the next."""
    opened: Engine = open_engine(name, **options)

    def run(requests: Sequence[Any]) -> dict[int, Any]:
        opened.forget()
        return dict(opened.stream(iter(requests)))

    try:
        yield run
    finally:
        opened.close()


def main() -> None:
    """Run what was asked for and write it beside what was run before."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="embed texts with it as well")
    parser.add_argument("--vllm", help="have vLLM give labels with it as well", metavar="MODEL")
    parser.add_argument("--model-only", action="store_true", help="leave the other requests out")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    if not given.model_only:
        keep("requests", at_once(given.rounds))
    if given.model:
        keep("transformers", embedded(given.model, given.rounds))
    if given.vllm:
        keep("vllm", labelled(given.vllm, given.rounds))


def keep(name: str, part: dict[str, Any]) -> None:
    """Write a part beside what was measured before."""
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    found = {**part, "versions": versions(), "hardware": machine()}
    RESULTS.write_text(json.dumps({**before, name: found}, indent=2) + "\n")


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].isdigit():
        worker(int(sys.argv[1]))
        os._exit(0)
    main()
