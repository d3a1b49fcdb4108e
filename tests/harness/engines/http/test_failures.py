"""Failures: what is tried again, what is a Failure of one request, and what ends a run."""

from __future__ import annotations

import html
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from rerank_bench import PairScore
from rerank_bench.engines.http import HttpEngine, client
from rerank_bench.engines.http.responses import ApiKey
from rerank_bench.errors import BadOption, EngineDied, EngineFault
from rerank_bench.types import Failure, Generate

scripted: Any = sys.modules["scripted"]
all_of, chat, label, scoring = scripted.all_of, scripted.chat, scripted.label, scripted.scoring
Response, Refusal = scripted.Response, scripted.Refusal
COMPLETIONS = "/v1/completions"
KEY = "sk-secret-1234"
Serve = Callable[..., Any]
Open = Callable[..., HttpEngine]
Served = Callable[..., tuple[Any, HttpEngine]]

PASSING = {
    "busy": Response(429, headers={"Retry-After": "0"}),
    "broken": Response(500, b"boom"),
    "starting": Response(503),
    "truncated": Response(200, b'{"choices": [', cut=True),
    "slow": Response(200, seconds=0.6),
}


@pytest.mark.parametrize("response", PASSING.values(), ids=PASSING)
def test_what_may_pass_is_tried_again(served: Served, response: Any) -> None:
    server, engine = served(request_seconds=0.4)
    server.first += [response]
    (reply,) = all_of(engine, [label("a")])
    assert reply.logprob
    assert len(server.posts) == 2


def test_what_never_passes_is_a_failure_of_its_call_alone(served: Served) -> None:
    server, engine = served()
    plain = server.routes[COMPLETIONS]

    def poisoned(body: dict[str, Any]) -> Any:
        if len(body["prompt"]) > 60:
            raise Refusal(500, {"error": {"message": "kernel panic"}})
        return plain(body)

    server.routes[COMPLETIONS] = poisoned
    replies = all_of(engine, [Generate(chat(text), 2) for text in ("a", "word " * 60, "b")])
    assert [isinstance(reply, Failure) for reply in replies] == [False, True, False]
    assert "500: kernel panic" in replies[1].reason


def test_a_call_that_breaks_is_not_sent_again_in_halves(served: Served) -> None:
    server, engine = served()
    server.first += [Response(500)] * 100
    replies = all_of(engine, [label(f"text {i}") for i in range(16)])
    assert all(isinstance(reply, Failure) for reply in replies)
    assert len(server.posts) == 1 + client.RETRIES


MALFORMED = {
    "no JSON": b"<html>",
    "another shape": b'{"choices": []}',
    "index": b'{"data": [{"index": Infinity, "score": 1}]}',
    "numbering": b'{"data": [{"index": 1, "score": 1}]}',
    "score": b'{"data": [{"index": 0, "score": 1' + b"0" * 400 + b"}]}",
    "depth": b"[" * 100_000,
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_a_response_of_another_shape_is_a_failure(served: Served, body: bytes) -> None:
    server, engine = served(scoring("vllm"))
    server.first += [Response(200, body)]
    (reply,) = all_of(engine, [PairScore("q", "four")])
    assert isinstance(reply, Failure)
    assert "malformed" in reply.reason


@pytest.mark.parametrize("concurrency", [8, 1])
def test_a_server_that_is_up_but_hangs_ends_the_run_after_two_deadlines(
    served: Served, concurrency: int
) -> None:
    server, engine = served(concurrency=concurrency, request_seconds=0.25)
    server.slow(COMPLETIONS, 1.0)
    with pytest.raises(EngineDied, match="request_seconds"):
        all_of(engine, [label(f"text {i}") for i in range(320)])
    assert len(server.posts) <= 2 * concurrency


def test_a_request_that_is_slow_among_others_is_a_failure_alone(served: Served) -> None:
    server, engine = served(request_seconds=0.4, concurrency=3)
    plain = server.routes[COMPLETIONS]

    def uneven(body: dict[str, Any]) -> Any:
        time.sleep(1.2 if len(body["prompt"]) > 60 else 0.05)
        return plain(body)

    server.routes[COMPLETIONS] = uneven
    texts = ["word " * 60, *(str(i) for i in range(40))]
    replies = all_of(engine, [Generate(chat(text), 2) for text in texts])
    assert [i for i, reply in enumerate(replies) if isinstance(reply, Failure)] == [0]


def test_no_sooner_than_the_server_asks_for(served: Served) -> None:
    server, engine = served()
    server.first += [Response(429, headers={"Retry-After": "0.3"})]
    started = time.monotonic()
    all_of(engine, [label("a")])
    assert time.monotonic() - started >= 0.3


def test_a_refused_request_is_not_tried_again(served: Served) -> None:
    server, engine = served()
    server.first += [Response(400, b'{"error": {"message": "maximum context\\u001b[2J is 10"}}')]
    (reply,) = all_of(engine, [label("a")])
    assert isinstance(reply, Failure)
    assert "refuses 400: maximum context [2J is 10 (if it is too long, lower" in reply.reason
    assert len(server.posts) == 1


def test_a_redirect_is_not_followed_but_named(served: Served) -> None:
    server, engine = served()

    def moved(body: Any) -> Any:
        raise Refusal(302, {}, {"Location": f"https://new.example{COMPLETIONS}"})

    server.routes[COMPLETIONS] = moved
    with pytest.raises(EngineFault, match=r"\(302\): use --base-url https://new\.example$"):
        all_of(engine, [label("a")])


# Several servers, deadlines, waiting


def test_servers_share_the_load(serve: Serve, checked: Open) -> None:
    servers = [serve(), serve()]
    engine = checked(*servers, concurrency=4)
    for server in servers:
        server.slow(COMPLETIONS, 0.01)
    all_of(engine, [Generate(chat(f"{i}"), 2) for i in range(40)])
    shares = [len(server.posts) for server in servers]
    assert sum(shares) == 40
    assert min(shares) >= 12
    assert max(server.most for server in servers) <= 4


@pytest.mark.parametrize("death", ["drops connections", "refuses connections", "answers 500"])
def test_a_server_that_dies_is_avoided_and_nothing_is_lost(
    serve: Serve, checked: Open, llama: Path, death: str
) -> None:
    staying, dying = serve(), scripted.serve(scripted.vllm(str(llama)))
    engine = checked(staying, dying, concurrency=4)
    found = engine.stream(iter([Generate(chat(f"{i}"), 2) for i in range(60)]))
    replies = [next(found) for _ in range(10)]
    dying.down = death != "answers 500"
    dying.first = [Response(500)] * 100 if death == "answers 500" else []
    if death == "refuses connections":
        dying.close()
    replies += list(found)
    assert sorted(i for i, _ in replies) == list(range(60))
    assert not any(isinstance(reply, Failure) for _, reply in replies)
    in_effect = engine.statistics.in_effect
    assert "in a row" in in_effect[dying.url]["failures"]
    assert in_effect[staying.url]["failures"] == ""
    if death != "refuses connections":
        dying.close()


def test_when_no_server_is_left_the_engine_has_died(checked: Open, llama: Path) -> None:
    servers = [scripted.serve(scripted.vllm(str(llama))) for _ in range(2)]
    engine = checked(*servers)
    for server in servers:
        server.down = True
        server.close()
    with pytest.raises(EngineDied, match="no answer from http"):
        all_of(engine, [label("a")])


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
    assert engine.statistics.loading_seconds > 0
    late[0].close()
    with pytest.raises(EngineFault, match=r"not up within 0\.1 s; start it"):
        dict(opened(f"http://127.0.0.1:{port}", wait_seconds=0.1).identity)


def test_a_run_that_takes_too_long_ends_and_keeps_what_it_has(served: Served) -> None:
    server, engine = served(concurrency=1, run_seconds=0.5)
    server.slow(COMPLETIONS, 0.1)
    found, replies = engine.stream(iter([Generate(chat(f"{i}"), 2) for i in range(50)])), []
    with pytest.raises(EngineFault, match="run_seconds"):
        replies.extend(found)  # which keeps what came before the error
    assert 1 <= len(replies) <= 5
    with pytest.raises(EngineFault, match="run_seconds"):
        all_of(engine, [label("again")])


def test_no_more_is_under_way_than_allowed(served: Served) -> None:
    server, engine = served(concurrency=3)
    server.slow(COMPLETIONS, 0.01)
    all_of(engine, [Generate(chat(f"{i}"), 2) for i in range(20)])
    assert server.most == 3


# The key


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("variable", ["MY_KEY", None])
def test_a_refused_key_names_its_variable(
    served: Served, monkeypatch: pytest.MonkeyPatch, status: int, variable: str | None
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    server, engine = served(api_key_env=variable)
    expected = f"Bearer {KEY}" if variable else None
    assert {headers.get("Authorization") for headers in server.headers} == {expected}
    server.first += [Response(status, f'{{"error": "bad key {KEY}"}}'.encode())]
    cure = "check the key in MY_KEY" if variable else "set api_key_env=NAME"
    with pytest.raises(EngineFault, match=rf"{status} (Unauthorized|Forbidden): {cure}") as caught:
        all_of(engine, [label("a")])
    assert not variable or KEY not in str(caught.value)


def test_nothing_from_the_environment_of_the_library_is_sent(
    serve: Serve, checked: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"Authorization: {KEY}\nX-Token: {KEY}")
    server = serve()
    all_of(checked(server), [label("a")])
    assert KEY not in str(server.headers)


def test_the_key_is_shown_nowhere(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    monkeypatch.setenv("MY_KEY", f" {KEY}\n")
    server, engine = served(api_key_env="MY_KEY")
    shown = [repr(engine), repr(engine._service), str(engine.identity)]
    server.first += [Response(400, f"you sent {KEY}".encode())]
    shown += [str(all_of(engine, [label("a")]))]
    server.first += [Response(500, f"you sent {KEY}".encode())] * (1 + client.RETRIES)
    shown += [str(all_of(engine, [label("b")])), str(engine.statistics)]
    assert "again and again" in shown[-2]
    assert "***" in shown[-2]
    server.routes[COMPLETIONS] = lambda body: {"choices": [{"index": f"key {KEY}"}]}
    shown += [str(all_of(engine, [label("c")]))]
    assert "malformed" in shown[-1]
    assert KEY not in "".join(shown) + caplog.text


@pytest.mark.parametrize("value", ["", "sk\nsecret"])
def test_a_key_that_is_missing_or_none_is_an_option_error(
    serve: Serve, opened: Open, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("MY_KEY", value)
    with pytest.raises(BadOption, match="MY_KEY") as caught:
        dict(opened(serve(), api_key_env="MY_KEY").identity)
    assert "secret" not in str(caught.value)


ODD_KEY = 'sk-a"b/c+d&e\\f<g%h'
ECHOES = {
    "as it is": str,
    "JSON": json.dumps,
    "JSON in JSON": lambda key: json.dumps(json.dumps(key)),
    "JSON with slashes": lambda key: json.dumps(key).replace("/", "\\/"),
    "JSON of Go": lambda key: json.dumps(key).replace("&", "\\u0026").replace("<", "\\u003C"),
    "URL": lambda key: quote(key, safe=""),
    "URL with slashes": quote,
    "URL of a URL": lambda key: quote(quote(key, safe=""), safe=""),
    "HTML": html.escape,
    "upper case": str.upper,
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
def test_a_key_is_masked_however_the_server_writes_it(echo: Callable[[str], str]) -> None:
    key = ApiKey(ODD_KEY, "MY_KEY")
    assert re.fullmatch(r'no [\\"]*\*\*\*[\\"]* here', key.redacted(f"no {echo(ODD_KEY)} here"))
    assert key.redacted("sk-a is another") == "sk-a is another"


def test_masking_a_long_text_takes_no_time() -> None:
    started = time.thread_time()
    assert len(ApiKey(ODD_KEY).redacted("\\" * 1_000_000)) == 300
    assert time.thread_time() - started < 2.0
