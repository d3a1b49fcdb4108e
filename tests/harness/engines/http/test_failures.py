"""What the engine makes of failures: tried again, told of one request, or raised."""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from rerank_bench import NextToken, PairScore
from rerank_bench.engines import EngineOptions
from rerank_bench.engines.asks import Ask
from rerank_bench.engines.http import HttpEngine, client, faults
from rerank_bench.engines.http.dialects import Completions, Dialect
from rerank_bench.engines.http.pairs import PAIRS
from rerank_bench.errors import BadOption, EngineDied, EngineFault
from rerank_bench.types import Failure, Generate, Score

scripted: Any = sys.modules["scripted"]
Fault = scripted.Fault
Refusal = scripted.Refusal
all_of = scripted.all_of
chat = scripted.chat
label = scripted.label
pair_routes = scripted.pair_routes
Serve = Callable[..., Any]
Open = Callable[..., HttpEngine]


PASSING = {
    "busy": Fault(429, headers={"Retry-After": "0"}),
    "broken": Fault(500, b"boom"),
    "starting": Fault(503),
    "no JSON": Fault(200, b"<html>"),
    "another JSON": Fault(200, b'{"choices": []}'),
    "truncated": Fault(200, b'{"choices": [', cut=True),
    "slow": Fault(200, seconds=0.6),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_what_may_pass_is_tried_again(serve: Serve, opened: Open, fault: Any) -> None:
    server = serve()
    engine = opened(server, request_seconds=0.4)
    assert engine.identity
    before = len(server.posts)
    server.faults += [fault]
    (reply,) = all_of(engine, [label("a")])
    assert reply.logprob
    assert len(server.posts) - before == 2


def test_what_never_passes_is_a_failure_of_its_call_alone(serve: Serve, opened: Open) -> None:
    server = serve()
    engine = opened(server)
    assert engine.identity
    plain = server.routes["/v1/completions"]

    def poisoned(body: dict[str, Any]) -> Any:
        if len(body["prompt"]) > 60:
            raise Refusal(500, {"error": {"message": "kernel panic"}})
        return plain(body)

    server.routes["/v1/completions"] = poisoned
    replies = all_of(engine, [Generate(chat(text), 2) for text in ("a", "word " * 60, "b")])
    assert [isinstance(reply, Failure) for reply in replies] == [False, True, False]
    assert "kernel panic" in replies[1].reason


@pytest.mark.parametrize("fault", [Fault(500), Fault(200, b"{", cut=True)], ids=["500", "cut"])
def test_a_call_that_breaks_is_not_asked_again_in_halves(
    serve: Serve, opened: Open, fault: Any
) -> None:
    server = serve()
    engine = opened(server)
    assert engine.identity
    before = len(server.posts)
    server.faults += [fault] * 100
    replies = all_of(engine, [label(f"text {i}") for i in range(16)])
    assert all(isinstance(reply, Failure) for reply in replies)
    assert len(server.posts) - before == client.PATIENCE


@pytest.mark.parametrize(("concurrency", "deadlines"), [(8, 2), (1, 4)])
def test_a_server_that_is_up_but_hangs_ends_the_run_after_a_few_deadlines(
    serve: Serve, opened: Open, concurrency: int, deadlines: int
) -> None:
    server = serve()
    engine = opened(server, concurrency=concurrency, request_seconds=0.25)
    assert engine.identity
    server.routes["/v1/completions"] = lambda body: time.sleep(1.0)
    before = len(server.posts)
    with pytest.raises(EngineDied, match="request_seconds"):
        all_of(engine, [label(f"text {i}") for i in range(320)])
    assert len(server.posts) - before <= deadlines * concurrency


def test_a_server_that_is_slow_once_is_not_taken_for_one_that_hangs(
    serve: Serve, opened: Open
) -> None:
    server = serve()
    engine = opened(server, request_seconds=0.25)
    assert engine.identity
    server.faults += [Fault(200, seconds=0.5)] * 2
    (first,) = all_of(engine, [label("a")])
    assert isinstance(first, Failure)
    (second,) = all_of(engine, [label("b")])
    assert second.logprob


def test_no_sooner_than_the_server_asks_for(serve: Serve, opened: Open) -> None:
    server = serve()
    engine = opened(server)
    assert engine.identity
    server.faults += [Fault(429, headers={"Retry-After": "0.3"})]
    started = time.monotonic()
    all_of(engine, [label("a")])
    assert time.monotonic() - started >= 0.3


def test_a_refused_request_is_not_tried_again(serve: Serve, opened: Open) -> None:
    server = serve()
    engine = opened(server)
    assert engine.identity
    before = len(server.posts)
    message = b'{"error": {"message": "This model\'s maximum context length is 10 tokens"}}'
    server.faults += [Fault(400, message)]
    (reply,) = all_of(engine, [label("a")])
    assert isinstance(reply, Failure)
    assert "maximum context length" in reply.reason
    assert "max_doc_tokens" in reply.reason
    assert len(server.posts) - before == 1


def test_a_redirect_is_not_followed_but_told(serve: Serve, opened: Open) -> None:
    def moved(path: str) -> Callable[[Any], Any]:
        def route(body: Any) -> Any:
            raise Refusal(302, {}, {"Location": f"https://new.example{path}"})

        return route

    server = serve({"/v1/models": moved("/v1/models")})
    with pytest.raises(EngineFault, match=r"use --base-url https://new\.example$"):
        dict(opened(server).identity)
    server = serve()
    engine = opened(server)
    assert engine.identity
    server.routes["/v1/completions"] = moved("/v1/completions")
    with pytest.raises(EngineFault, match=r"302\); use --base-url https://new\.example$"):
        all_of(engine, [label("a")])


def test_an_unknown_model_is_told_what_is_served(serve: Serve, opened: Open) -> None:
    with pytest.raises(EngineFault, match="did you mean m"):
        dict(opened(serve(), model="mm").identity)
    assert opened(serve(), model=None).identity["model"] == "m"


def test_an_address_that_is_none_is_an_option_error(opened: Open) -> None:
    for url in ("127.0.0.1:1", "ftp://host", "http://", "http://me:word@host"):
        with pytest.raises(BadOption) as caught:
            dict(opened(url).identity)
        assert "word" not in str(caught.value).replace("password", "")
    with pytest.raises(BadOption, match="--base-url"):
        dict(HttpEngine(EngineOptions("http")).identity)


def test_a_server_without_tls_and_one_without_http_are_named(serve: Serve, opened: Open) -> None:
    with pytest.raises(EngineFault, match="does not speak TLS"):
        dict(opened(serve().url.replace("http", "https")).identity)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet() -> None:
            for _ in range(3):
                connection, _ = listening.accept()
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")
                connection.close()

        threading.Thread(target=greet, daemon=True).start()
        with pytest.raises(EngineFault, match="does not speak HTTP"):
            dict(opened(f"http://127.0.0.1:{listening.getsockname()[1]}").identity)


def test_a_bad_certificate_and_an_unknown_host_are_not_tried_again() -> None:
    judge = faults.Judge(None, None)
    bad = ssl.SSLCertVerificationError(1, "CERTIFICATE_VERIFY_FAILED")
    bad.verify_message = "self-signed certificate"
    for cause, told in (
        (bad, "self-signed certificate; SSL_CERT_FILE"),
        (socket.gaierror(socket.EAI_NONAME, "not known"), "no such host"),
    ):
        outer = RuntimeError("connection failed")
        outer.__cause__ = cause
        found = judge.broken("https://host", outer)
        assert isinstance(found, EngineFault)
        assert told in str(found)


@pytest.mark.parametrize(
    "entry",
    [5, None, "m", {"id": ["m"]}, {"root": "x"}, {"id": "m", "root": {"x": 1}},
     {"id": "m", "max_model_len": "long"}],
)  # fmt: skip
def test_a_server_that_lists_its_models_oddly_is_an_error_of_one_line_at_most(
    serve: Serve, opened: Open, entry: Any
) -> None:
    routes = pair_routes("vllm")
    for listed in ({"data": [entry]}, {"data": entry}, entry):
        server = serve({**routes, "/v1/models": lambda _, told=listed: told,
                        "/version": lambda _: {"version": {"a": 1}}})  # fmt: skip
        (reply,) = all_of(opened(server, model="m"), [PairScore("q", "four")])
        assert reply.logits == (4.0,)


WITHOUT_END = {
    "index": '{"data": [{"index": Infinity, "score": 1}]}',
    "score": '{"data": [{"index": 0, "score": 1' + "0" * 400 + "}]}",
    "depth": "[" * 100_000,
}


@pytest.mark.parametrize("odd", WITHOUT_END)
def test_a_reply_with_numbers_or_depths_without_end_is_malformed(
    serve: Serve, opened: Open, odd: str
) -> None:
    server = serve(pair_routes("vllm"))
    engine = opened(server, model="m/m")
    assert engine.identity["pairs"]
    server.faults += [Fault(200, WITHOUT_END[odd].encode())] * 50
    (reply,) = all_of(engine, [PairScore("q", "four")])
    assert isinstance(reply, Failure)
    assert "malformed" in reply.reason


@pytest.mark.parametrize("numbers", [(0, 0), (1, 2), (0, 2), (-1, 0), ("0", "1")])
@pytest.mark.parametrize("kind", ["choices", "data", "pairs"])
def test_answers_that_are_not_numbered_one_by_one_are_malformed(kind: str, numbers: Any) -> None:
    ask = Ask("labels", [5, 6], (7,))
    entry = {
        "choices": {"logprobs": {"top_logprobs": [{"token_id:7": -1.0}]}},
        "data": {"probs": [0.5]},
        "pairs": {"score": 0.5},
    }[kind]
    asked = {"choices": NextToken, "data": Score, "pairs": PairScore}[kind]
    question = PairScore("q", "d") if kind == "pairs" else ask
    name = "choices" if kind == "choices" else "data"
    dialect = Dialect("m", Completions("exact"), PAIRS[0], lambda text: int(text[9:]))
    call = dialect.call(asked, [question, question])
    for indices, well in ((numbers, False), ((1, 0), True)):
        payload = {name: [{**entry, "index": index} for index in indices]}
        with contextlib.nullcontext() if well else pytest.raises(faults.Malformed):
            assert len(call.read(payload)) == 2
