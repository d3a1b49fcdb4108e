"""The check at first use: what tells servers apart, and settings that are wrong."""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rerank_bench import NextToken, PairScore, Prompt
from rerank_bench.engines.http import HttpEngine, HttpOptions
from rerank_bench.engines.http.responses import ApiKey
from rerank_bench.errors import BadOption, EngineFault, RerankBenchError, UnknownName
from rerank_bench.rerankers.cross_encoder import CrossEncoder
from rerank_bench.reranking import Budget, Fitter
from rerank_bench.types import Embed, Failure, Generate

scripted: Any = sys.modules["scripted"]
all_of, label, scoring = scripted.all_of, scripted.label, scripted.scoring
Serve = Callable[..., Any]
Open = Callable[..., HttpEngine]


def test_building_one_contacts_nobody(serve: Serve, opened: Open) -> None:
    server = serve()
    engine = opened(server)
    assert engine.supports(frozenset({NextToken, PairScore}))
    assert not engine.supports(frozenset({str}))
    assert not opened(server, dialect="tei").supports(frozenset({Generate}))
    assert engine.statistics.in_effect == {}
    assert server.headers == []


# Identity


def test_the_identity_holds_the_address_only_where_nothing_else_tells_models_apart(
    serve: Serve, opened: Open, llama: Path
) -> None:
    known = opened(serve()).identity
    assert known["root"] == str(llama)
    assert "base_url" not in known
    assert all(isinstance(value, str) for value in known.values())
    nameless = serve(scoring("jina"))
    assert opened(nameless, dialect="jina").identity["base_url"] == nameless.url
    mute = serve(scripted.models(str(llama)))
    assert opened(mute).identity["base_url"] == mute.url


def moved(by: float) -> Callable[[dict[str, Any]], None]:
    """Raise label scores by `by`, and less so for later labels, as under another dtype."""

    def change(choice: dict[str, Any]) -> None:
        (top,) = choice["logprobs"]["top_logprobs"]
        top |= {k: v + by / (place + 1) for place, (k, v) in enumerate(top.items())}

    return change


@pytest.mark.parametrize("dialect", ["vllm", "openai"])
def test_replicas_share_an_identity_and_servers_of_other_numbers_have_their_own(
    serve: Serve, opened: Open, dialect: str
) -> None:
    servers = {by: serve(exact=dialect == "vllm") for by in (0, 1e-6, 0.02, 2.0)}
    for by, server in servers.items():
        server.change("/v1/completions", moved(by))
    one, other, coarse, far = servers.values()

    def probe(*those: Any) -> str:
        return opened(*those, dialect=dialect).identity["probe"]

    assert probe(one) == probe(other) == probe(one, other) != probe(coarse)
    assert probe(one, coarse) == probe(coarse, one) != probe(one)
    with pytest.raises(EngineFault, match="answer differently"):
        probe(one, far)


def test_a_template_shows_in_the_identity_and_replicas_must_share_it(
    serve: Serve, opened: Open
) -> None:
    def under_a_template(around: int, shift: float) -> Any:
        """A server of pairs that puts `around` tokens about them."""
        server = serve(scoring("vllm"))
        plain = server.routes["/score"]

        def score(body: dict[str, Any]) -> Any:
            entries = [{**e, "score": e["score"] + shift} for e in plain(body)["data"]]
            return {"data": entries, "usage": {"prompt_tokens": 10 + around}}

        server.routes["/score"] = score
        return server

    servers = [under_a_template(*case) for case in ((0, 0.0), (7, 0.0), (0, 0.3))]
    assert len({opened(server).identity["probe"] for server in servers}) == 3
    with pytest.raises(EngineFault, match="answer differently"):
        dict(opened(*servers[:2]).identity)


def test_a_question_counts_as_it_is_answered_the_second_time(serve: Serve, opened: Open) -> None:
    asked: set[str] = set()

    def cold(body: dict[str, Any]) -> Any:
        again = body["text_2"][0] in asked
        asked.add(body["text_2"][0])
        return {"data": [{"index": 0, "score": 1.0 if again else 2.0}]}

    server = serve({**scoring("vllm"), "/score": cold})
    assert opened(server).identity == opened(server).identity


def test_a_server_that_is_busy_when_it_is_checked_has_the_same_identity(
    serve: Serve, opened: Open
) -> None:
    server = serve()
    first = opened(server).identity
    posts = len(server.posts)
    server.first += [scripted.Response(429), scripted.Response(503)] * 2
    assert opened(server).identity == first
    assert len(server.posts) == 2 * posts + 4


def test_a_server_that_gives_no_vectors_answers_what_it_can(serve: Serve, opened: Open) -> None:
    def odd(*vector: Any, tokens: int = 0, status: int = 0) -> Callable[[dict[str, Any]], Any]:
        def embeddings(body: dict[str, Any]) -> Any:
            if status:
                raise scripted.Refusal(status, {"error": "no embeddings"})
            entry = {"index": 0, "embedding": vector[0] if len(vector) == 1 else list(vector)}
            return {"data": [entry], "usage": {"prompt_tokens": tokens}}

        return embeddings

    def page(body: dict[str, Any]) -> Any:
        refusal = scripted.Refusal(200, "")
        refusal.response = scripted.Response(body=b"<html>")
        raise refusal

    first = opened(serve()).identity["probe"]
    for route, message in [
        (odd(status=500), "answers nothing|no answer from"),
        (odd(status=501), "it has no /v1/embeddings"),
        (odd(status=400), r"refuses 400: no embeddings \(if it is too long"),
        (odd(1.0, 2.0, tokens=999), "read 999 tokens of"),
        (odd(None, 1.0), "does not answer the check: .*NaN"),
        (odd("AACAPwAAAEA="), "does not answer the check: is that dialect=vllm"),
        (page, "does not answer the check: is that dialect=vllm"),
    ]:
        server = serve()
        server.routes["/v1/embeddings"] = route
        engine = opened(server)
        assert engine.identity["probe"] == first
        assert all_of(engine, [label("a")])[0].logprob
        with pytest.raises(EngineFault, match=f"cannot answer Embed: .*({message})"):
            all_of(engine, [Embed(Prompt(text="a"), "last")])


def test_what_is_not_implemented_is_asked_once(serve: Serve, opened: Open) -> None:
    def embeddings(body: dict[str, Any]) -> Any:
        raise scripted.Refusal(501, {"error": "start it with --embeddings"})

    server = serve()
    server.routes["/v1/embeddings"] = embeddings
    assert opened(server).identity
    assert [path for path, _ in server.posts].count("/v1/embeddings") == 1


def test_classifiers_are_told_apart_too(serve: Serve, opened: Open, encoder: Path) -> None:
    probes = [
        opened(serve(scripted.classifying([value])), tokenizer=str(encoder)).identity["probe"]
        for value in (0.301, 0.301, 0.303)
    ]
    assert probes[0] == probes[1] != probes[2]


def test_an_adapter_is_posted_by_its_name_and_read_with_its_base(
    serve: Serve, opened: Open, llama: Path
) -> None:
    server = serve()
    entries = [
        *server.routes["/v1/models"]({})["data"],
        {"id": "lora", "root": "/x", "parent": "m"},
    ]
    server.routes["/v1/models"] = lambda body: {"data": entries}
    engine = opened(server, model=None, adapter="lora")
    all_of(engine, [label("a")])
    assert {body["model"] for body in server.bodies} == {"lora"}
    assert engine.identity["adapter_root"] == "/x"
    assert engine.identity["root"] == str(llama)


def test_the_context_is_the_least_that_anyone_reports(serve: Serve, opened: Open) -> None:
    assert opened(serve()).identity["context"] == "400"
    (reply,) = all_of(opened(serve(), max_model_len=30), [label("word " * 60)])
    assert isinstance(reply, Failure)
    assert "context of 30" in reply.reason


def test_what_was_found_of_each_server_is_in_effect(serve: Serve, opened: Open) -> None:
    server = serve()
    engine = opened(server)
    all_of(engine, [label("a")])
    found = engine.statistics.in_effect[server.url]
    assert (found["version"], found["failures"]) == ("0.32.0", "")
    assert "/score" in found["unserved"]


def test_a_closed_engine_opens_again(serve: Serve, opened: Open) -> None:
    engine = opened(serve())
    first = all_of(engine, [label("a")])
    engine.close()
    assert all_of(engine, [label("a")]) == first


# Tokenizers


def test_texts_are_fitted_by_the_server_where_the_tokenizer_is_not_here(
    serve: Serve, opened: Open
) -> None:
    engine = opened(serve(scoring("tei")), dialect="tei")
    long, short = engine.fit(["one two three four five", "one two"], 3)
    assert (long.text.split(), long.truncated) == (["one", "two", "three"], True)
    assert (short.text, short.truncated) == ("one two", False)
    assert (long.tokens, short.tokens) == (3, 2)
    with pytest.raises(EngineFault, match="-o tokenizer=ID"):
        opened(serve(scoring("jina")), dialect="jina").fit(["one"], 3)


def test_requests_for_a_language_model_need_its_tokenizer(serve: Serve, opened: Open) -> None:
    engine = opened(serve(scripted.vllm("/nowhere/at/all")))
    with pytest.raises(EngineFault, match="tokenizer=ID"):
        all_of(engine, [label("a")])


@pytest.mark.parametrize("added", [0, 2])
def test_a_pair_has_what_the_server_s_context_leaves_beside_its_own_tokens(
    serve: Serve, opened: Open, encoder: Path, added: int
) -> None:
    """Two texts are framed by 3 tokens or 4, which a tokenizer that is not here does not tell."""
    routes = scoring("tei")
    routes["/tokenize"] = lambda body: [
        body["inputs"].split() + ["x"] * added * body["add_special_tokens"]
    ]
    assert opened(serve(routes), dialect="tei").pair_tokens == 512 - 2 * added
    known = opened(serve(routes), dialect="tei", tokenizer=str(encoder))
    assert known.pair_tokens == 128 - 3


def test_a_server_that_tells_no_length_of_a_pair_needs_a_budget(serve: Serve, opened: Open) -> None:
    model_s, whole = CrossEncoder(), CrossEncoder(max_pair_tokens=None)
    jina = opened(serve(scoring("jina")), dialect="jina")
    with pytest.raises(EngineFault, match=r"tokenizer=ID, or .*max_pair_tokens=none"):
        Budget.of(model_s, jina)
    budget = Budget.of(whole, jina)
    (query,) = Fitter({}, jina, budget).queries(["a query"])
    assert (query.text, budget.cap(query)) == ("a query", None)
    routes = scoring("vllm") | {"/v1/models": lambda body: {"data": [{"id": "m"}]}}
    with pytest.raises(EngineFault, match=r"max_model_len= .*max_pair_tokens=508"):
        Budget.of(model_s, opened(serve(routes)))
    assert Budget.of(whole, opened(serve(routes))).pair_tokens is None


# Wrong settings


def test_a_dialect_that_is_none_or_another_is_named(serve: Serve, opened: Open) -> None:
    with pytest.raises(UnknownName, match="did you mean vllm"):
        HttpEngine(HttpOptions(dialect="vlm"))
    with pytest.raises(EngineFault, match="/v1/models answers 404"):
        dict(opened(serve(scoring("tei"))).identity)
    with pytest.raises(EngineFault, match="dialect=tei cannot answer NextToken"):
        all_of(opened(serve(scoring("tei")), dialect="tei"), [label("a")])
    with pytest.raises(EngineFault, match=r"vLLM 0\.31 or later, or dialect=openai"):
        dict(opened(serve(exact=False)).identity)
    with pytest.raises(EngineFault, match=r"logprobs: at most 5.*top_logprobs"):
        all_of(opened(serve(exact=False, most=5), dialect="openai"), [label("a")])
    server = serve(scoring("vllm"))
    server.routes["/score"] = lambda body: [{"score": 1.0}]
    with pytest.raises(EngineFault, match="/score does not answer the check: is that dialect=vllm"):
        dict(opened(server).identity)


def test_servers_of_different_models_are_not_mixed(serve: Serve, opened: Open, qwen: Path) -> None:
    with pytest.raises(EngineFault, match="differ in model m"):
        dict(opened(serve(), serve(scripted.vllm(str(qwen)))).identity)


def test_an_unknown_model_is_told_what_is_served(serve: Serve, opened: Open) -> None:
    with pytest.raises(RerankBenchError, match="did you mean m"):
        dict(opened(serve(), model="mm").identity)
    assert opened(serve(), model=None).identity["model"] == "m"
    with pytest.raises(EngineFault, match="choose a --model"):
        dict(opened(serve(scoring("jina")), model=None, dialect="jina").identity)


def test_an_address_that_is_none_is_an_option_error(opened: Open) -> None:
    for url in ("127.0.0.1:1", "ftp://host", "http://", "http://me:word@host"):
        with pytest.raises(BadOption) as caught:
            dict(opened(url).identity)
        assert "word" not in str(caught.value).replace("password", "")
    with pytest.raises(BadOption, match="--base-url"):
        dict(HttpEngine(HttpOptions()).identity)


def test_a_server_without_tls_and_one_without_http_are_named(serve: Serve, opened: Open) -> None:
    with pytest.raises(EngineFault, match="check host, http:// and https://"):
        dict(opened(serve().url.replace("http", "https")).identity)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet() -> None:
            connection, _ = listening.accept()
            connection.recv(1000)
            connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")
            connection.close()

        threading.Thread(target=greet, daemon=True).start()
        with pytest.raises(EngineFault, match=r"illegal.*check host, http:// and https://"):
            dict(opened(f"http://127.0.0.1:{listening.getsockname()[1]}").identity)


def test_a_bad_certificate_and_an_unknown_host_are_not_tried_again() -> None:
    bad = ssl.SSLCertVerificationError(1, "CERTIFICATE_VERIFY_FAILED")
    bad.verify_message = "self-signed certificate"
    for cause, message in (
        (bad, "self-signed certificate; set SSL_CERT_FILE"),
        (socket.gaierror(socket.EAI_NONAME, "not known"), "check host"),
    ):
        outer = RuntimeError("connection failed")
        outer.__cause__ = cause
        with pytest.raises(EngineFault, match=message):
            ApiKey().broken_connection(outer)


@pytest.mark.parametrize(
    "entry",
    [5, None, "m", {"id": ["m"]}, {"root": "x"}, {"id": "m", "root": {"x": 1}},
     {"id": "m", "max_model_len": "long"}],
)  # fmt: skip
def test_a_server_that_lists_its_models_oddly_is_refused_or_used_without_the_odd_parts(
    serve: Serve, opened: Open, entry: Any
) -> None:
    for listed in ({"data": [entry]}, {"data": entry}, entry):
        server = serve({**scoring("vllm"), "/v1/models": lambda _, listed=listed: listed,
                        "/version": lambda _: {"version": {"a": 1}}})  # fmt: skip
        found: Any = None
        with contextlib.suppress(EngineFault, UnknownName):
            (found,) = all_of(opened(server), [PairScore("q", "four")])
        assert found is None or found.logits == (4.0,)
