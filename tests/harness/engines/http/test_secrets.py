"""The key reaches the servers and nobody else."""

from __future__ import annotations

import html
import json
import re
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from rerank_bench import PairScore
from rerank_bench.engines.http import HttpEngine, faults
from rerank_bench.errors import BadOption, EngineFault

scripted: Any = sys.modules["scripted"]
Fault = scripted.Fault
KEY = scripted.KEY
all_of = scripted.all_of
label = scripted.label
pair_routes = scripted.pair_routes
Serve = Callable[..., Any]
Open = Callable[..., HttpEngine]


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_names_its_variable(
    serve: Serve, opened: Open, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    server = serve()
    engine = opened(server, api_key_env="MY_KEY")
    assert engine.identity
    assert set(server.keys) == {f"Bearer {KEY}"}
    server.faults += [Fault(status, f'{{"error": "bad key {KEY}"}}'.encode())]
    with pytest.raises(EngineFault, match="MY_KEY") as caught:
        all_of(engine, [label("a")])
    assert KEY not in str(caught.value)


def test_the_key_is_nowhere_to_be_seen(
    serve: Serve, opened: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    monkeypatch.setenv("MY_KEY", f" {KEY}\n")
    server = serve()
    engine = opened(server, api_key_env="MY_KEY")
    shown = [repr(engine), repr(engine._site), str(engine.identity), str(engine.capabilities)]
    server.faults += [Fault(400, f"you sent {KEY}".encode())]
    shown += [str(all_of(engine, [label("a")]))]
    server.faults += [Fault(500, f"you sent {KEY}".encode())] * 6
    shown += [str(all_of(engine, [label("b")]))]
    assert "again and again" in shown[-1]
    assert "***" in shown[-1]
    assert KEY not in "".join(shown) + caplog.text


def test_a_key_that_is_not_there_or_no_key_is_an_option_error(
    serve: Serve, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(BadOption, match="MY_KEY"):
        dict(opened(serve(), api_key_env="MY_KEY").identity)
    monkeypatch.setenv("MY_KEY", "sk\nsecret")
    with pytest.raises(BadOption) as caught:
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
    judge = faults.Judge(ODD_KEY, "MY_KEY")
    said = judge.hidden(f"no {echo(ODD_KEY)} here")
    assert re.fullmatch(r'no [\\"]*\*\*\*[\\"]* here', said)
    assert judge.hidden("sk-a is another") == "sk-a is another"


def test_masking_a_long_text_takes_no_time() -> None:
    started = time.monotonic()
    assert len(faults.Judge(ODD_KEY, None).hidden("\\" * 1_000_000)) == 300
    assert time.monotonic() - started < 2.0


def test_what_makes_a_reply_malformed_is_told_without_the_key(
    serve: Serve, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    server = serve(pair_routes("vllm"))
    engine = opened(server, api_key_env="MY_KEY")
    assert engine.identity
    server.routes["/score"] = lambda body: {"data": [{"index": 0, "score": f"key {KEY}"}]}
    (reply,) = all_of(engine, [PairScore("a", "b")])
    assert "could not convert string to float: 'key ***'" in reply.reason
