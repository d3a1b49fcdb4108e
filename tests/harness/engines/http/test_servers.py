"""Several servers, deadlines, waiting."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rerank_bench.engines.http import HttpEngine
from rerank_bench.errors import EngineDied, EngineFault
from rerank_bench.types import Failure, Generate

scripted: Any = sys.modules["scripted"]
all_of = scripted.all_of
chat = scripted.chat
label = scripted.label
Serve = Callable[..., Any]
Open = Callable[..., HttpEngine]


def test_servers_share_the_load(serve: Serve, opened: Open) -> None:
    servers = [serve(), serve()]
    engine = opened(*servers, concurrency=4)
    assert engine.identity
    before = [len(server.posts) for server in servers]
    for server in servers:
        slow = server.routes["/v1/completions"]
        server.routes["/v1/completions"] = lambda b, f=slow: (time.sleep(0.01), f(b))[1]
    all_of(engine, [Generate(chat(f"{i}"), 2) for i in range(40)])
    shares = [len(s.posts) - n for s, n in zip(servers, before, strict=True)]
    assert sum(shares) == 40
    assert min(shares) >= 12
    assert max(server.most for server in servers) <= 4


@pytest.mark.parametrize("death", ["drops connections", "refuses connections"])
def test_a_server_that_dies_is_taken_out_and_nothing_is_lost(
    serve: Serve, opened: Open, llama: Path, death: str
) -> None:
    staying, dying = serve(), scripted.serve(scripted.vllm(str(llama)))
    engine = opened(staying, dying, concurrency=4)
    found = engine.answer([Generate(chat(f"{i}"), 2) for i in range(60)])
    replies = [next(found) for _ in range(10)]
    dying.down = True
    if death == "refuses connections":
        dying.close()
    replies += list(found)
    assert sorted(i for i, _ in replies) == list(range(60))
    assert not any(isinstance(reply, Failure) for _, reply in replies)
    assert "gone" in engine.capabilities[dying.url]
    assert "gone" not in engine.capabilities[staying.url]
    if death == "drops connections":
        dying.close()


def test_when_no_server_is_left_the_engine_has_died(
    opened: Open, llama: Path, serve: Serve
) -> None:
    servers = [scripted.serve(scripted.vllm(str(llama))) for _ in range(2)]
    engine = opened(*servers)
    assert engine.identity
    for server in servers:
        server.down = True
        server.close()
    with pytest.raises(EngineDied, match="no server is left"):
        all_of(engine, [label("a")])


def test_servers_of_different_models_are_not_mixed(
    serve: Serve, opened: Open, llama: Path, qwen: Path
) -> None:
    with pytest.raises(EngineFault, match="differ in model m"):
        dict(opened(serve(), serve(scripted.vllm(str(qwen)))).identity)


def test_a_server_that_is_late_is_waited_for(opened: Open, llama: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    late: list[Any] = []
    begin = threading.Timer(
        0.3, lambda: late.append(scripted.serve(scripted.vllm(str(llama)), port=port))
    )
    begin.start()
    engine = opened(f"http://127.0.0.1:{port}", wait_seconds=20.0)
    assert engine.identity["version"] == "0.32.0"
    assert engine.startup_seconds > 0
    late[0].close()
    with pytest.raises(EngineFault, match=r"not up within 0\.1 s: start it"):
        dict(opened(f"http://127.0.0.1:{port}", wait_seconds=0.1).identity)


def test_a_run_that_takes_too_long_ends_and_keeps_what_it_has(serve: Serve, opened: Open) -> None:
    server = serve()
    engine = opened(server, concurrency=1, run_seconds=0.5)
    assert engine.identity
    plain = server.routes["/v1/completions"]
    server.routes["/v1/completions"] = lambda body: (time.sleep(0.1), plain(body))[1]
    found, replies = engine.answer([Generate(chat(f"{i}"), 2) for i in range(50)]), []
    with pytest.raises(EngineFault, match="run_seconds"):
        replies.extend(found)  # which keeps what came before the error
    assert 1 <= len(replies) <= 5
    with pytest.raises(EngineFault, match="run_seconds"):
        all_of(engine, [label("again")])


def test_no_more_is_under_way_than_allowed(serve: Serve, opened: Open) -> None:
    server = serve()
    plain = server.routes["/v1/completions"]
    server.routes["/v1/completions"] = lambda body: (time.sleep(0.01), plain(body))[1]
    engine = opened(server, concurrency=3)
    assert engine.identity
    server.most = 0
    all_of(engine, [Generate(chat(f"{i}"), 2) for i in range(20)])
    assert server.most == 3


def test_a_stream_asks_again_after_a_reply(serve: Serve, opened: Open) -> None:
    answered: list[int] = []

    def requests() -> Iterator[Any]:
        for number in range(5):
            while len(answered) < number:
                yield None
            yield label(f"text {number}")

    for index, _ in opened(serve()).stream(requests()):
        answered.append(index)
    assert answered == list(range(5))
