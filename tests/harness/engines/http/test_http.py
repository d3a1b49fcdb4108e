"""The engine that asks servers: what it posts, what it makes of replies, and what of failures."""

from __future__ import annotations

import base64
import importlib.util
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rerank_bench import Message, NextToken, PairScore, Prompt
from rerank_bench.engines import EngineOptions, open_engine
from rerank_bench.engines.http import HttpEngine, client, faults
from rerank_bench.errors import BadOption, EngineDied, EngineFault
from rerank_bench.types import Embed, Failure, Generate, Likelihood, Score


def _scripted() -> Any:
    where = Path(__file__).with_name("scripted.py")
    spec = importlib.util.spec_from_file_location("http_scripted", where)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["http_scripted"] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


scripted = _scripted()
Fault, Refusal = scripted.Fault, scripted.Refusal
Serve = Callable[..., Any]
Open = Callable[..., HttpEngine]
LETTERS = tuple("ABCDE")
KEY = "sk-secret-1234"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.002)
    monkeypatch.setattr(client, "POLL_SECONDS", 0.02)


@pytest.fixture
def serve(llama: Path) -> Iterator[Serve]:
    """Start scripted servers: `serve(routes)`, or one that is as vLLM with the tiny Llama."""
    started: list[Any] = []

    def start(routes: dict[str, Any] | None = None, **how: Any) -> Any:
        routes = scripted.vllm(str(llama), **how) if routes is None else routes
        started.append(scripted.serve(routes))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def opened() -> Iterator[Open]:
    """Open engines on servers; they are closed at the test's end."""
    engines: list[HttpEngine] = []

    def start(*servers: Any, model: str | None = "m", **options: Any) -> HttpEngine:
        urls = ",".join(getattr(server, "url", server) for server in servers)
        given = {"wait_seconds": 0.0, **options}
        engines.append(HttpEngine(EngineOptions("http", model, base_url=urls, **given)))
        return engines[-1]

    yield start
    for engine in engines:
        engine.close()


def chat(text: str) -> Prompt:
    return Prompt(messages=(Message("user", text),), prefill="[")


def label(text: str) -> NextToken:
    return NextToken(chat(text), LETTERS)


def all_of(engine: HttpEngine, requests: list[Any]) -> list[Any]:
    found = list(engine.answer(requests))
    assert sorted(index for index, _ in found) == list(range(len(requests)))
    return [reply for _, reply in sorted(found, key=lambda pair: pair[0])]


# Label scores


def test_labels_are_read_by_token_id_and_prompts_go_out_as_ids(
    serve: Serve, opened: Open, llama: Path
) -> None:
    server = serve()
    requests = [label(f"text {i}") for i in range(40)]
    engine = opened(server)
    replies = all_of(engine, requests)
    reference = open_engine(EngineOptions(model=str(llama), device="cpu"))
    for reply, (_, expected) in zip(
        replies, sorted(reference.answer(requests[:40]), key=lambda pair: pair[0]), strict=True
    ):
        assert reply.prompt_tokens == expected.prompt_tokens  # type: ignore[union-attr]
        ids = [engine._site.tokens.label_id(x, after="[") for x in LETTERS]
        assert list(reply.logprob.values()) == [scripted.logprob(i) for i in ids]
    posted = server.bodies("/v1/completions")[2:]
    assert sorted(len(body["prompt"]) for body in posted) == [8, 16, 16]
    assert engine.identity["labels"] == "exact"


@pytest.mark.parametrize(("most", "level"), [(20, "20"), (6, "5")])
def test_a_label_that_a_server_tells_by_rank_only_is_missing_if_outside(
    serve: Serve, opened: Open, most: int, level: str
) -> None:
    engine = opened(serve(exact=False, most=most))
    (reply,) = all_of(engine, [NextToken(chat("a"), (3, 1, 21))])
    assert reply.logprob == {3: scripted.logprob(3), 1: scripted.logprob(1)}
    assert engine.identity["labels"] == level


def test_labels_by_their_text_count_only_where_one_token_has_it(
    serve: Serve, opened: Open, llama: Path
) -> None:
    routes = scripted.vllm(str(llama), exact=False)
    plain = routes["/v1/completions"]

    def by_text(body: dict[str, Any]) -> Any:
        if "return_token_ids" in body:
            raise Refusal(400, {"error": "unknown field"})
        found = plain(body)
        for choice in found["choices"]:
            choice["logprobs"]["top_logprobs"] = [{"A": -1.0, "\ufffd": -2.0}]
        return found

    engine = opened(serve({**routes, "/v1/completions": by_text}))
    tokenizer = engine._site.tokens.tokenizer
    unsure = next(i for i in range(len(tokenizer)) if tokenizer.decode([i]) == "\ufffd")
    (reply,) = all_of(engine, [NextToken(chat("a"), ("A", unsure))])
    assert reply.logprob == {"A": -1.0}


def test_more_labels_than_vllm_reads_at_once_are_refused(serve: Serve, opened: Open) -> None:
    with pytest.raises(EngineFault, match="129 labels"):
        all_of(opened(serve()), [NextToken(chat("a"), tuple(range(129)))])


def test_a_label_that_an_exact_server_leaves_out_is_an_error(
    serve: Serve, opened: Open, llama: Path
) -> None:
    server = serve()
    engine = opened(server)
    assert engine.identity["labels"] == "exact"
    server.routes["/v1/completions"] = scripted.vllm(str(llama), exact=False)["/v1/completions"]
    with pytest.raises(EngineFault, match="left out 5 of 5 labels"):
        all_of(engine, [NextToken(chat("a"), (100, 101, 102, 103, 104))])


def test_a_prompt_that_comes_back_changed_is_an_error(
    serve: Serve, opened: Open, llama: Path
) -> None:
    server = serve()
    engine = opened(server)
    assert engine.identity
    plain = server.routes["/v1/completions"]

    def doubled(body: dict[str, Any]) -> Any:
        found = plain(body)
        for choice in found["choices"]:
            choice["prompt_token_ids"] = [0, *choice["prompt_token_ids"]]
        return found

    server.routes["/v1/completions"] = doubled
    with pytest.raises(EngineFault, match="changed a prompt"):
        all_of(engine, [label("a")])


@pytest.mark.parametrize("value", [None, float("nan"), float("-inf")])
def test_a_number_that_is_none_is_a_failure(serve: Serve, opened: Open, value: Any) -> None:
    server = serve()
    engine = opened(server)
    assert engine.identity
    plain = server.routes["/v1/completions"]

    def broken(body: dict[str, Any]) -> Any:
        found = plain(body)
        for choice in found["choices"]:
            top = choice["logprobs"]["top_logprobs"][0]
            top[next(iter(top))] = value
        return found

    server.routes["/v1/completions"] = broken
    (reply,) = all_of(engine, [label("a")])
    assert isinstance(reply, Failure)
    assert "NaN" in reply.reason


# Texts and likelihoods


def test_generation_names_every_sampling_field(serve: Serve, opened: Open) -> None:
    server = serve()
    engine = opened(server)
    (reply,) = all_of(engine, [Generate(chat("a"), 7, stop=("\n",), pattern="[A-C]+")])
    body = server.bodies("/v1/completions")[-1]
    assert {k: v for k, v in body.items() if k != "prompt"} == {
        "model": "m", "max_tokens": 7, "temperature": 0.0, "top_p": 1.0, "top_k": -1, "min_p": 0.0,
        "presence_penalty": 0.0, "frequency_penalty": 0.0, "repetition_penalty": 1.0, "n": 1,
        "min_tokens": 0, "ignore_eos": False, "stop": ["\n"], "stop_token_ids": [2],
        "skip_special_tokens": True, "return_token_ids": True, "logprobs": 0,
        "structured_outputs": {"regex": "[A-C]+"},
    }  # fmt: skip
    assert reply.text == engine._site.tokens.text([69, 70])
    assert (reply.tokens, reply.logprobs, reply.finished) == ((69, 70), (-0.25, -0.5), True)
    assert (reply.output_tokens, reply.cached_tokens) == (2, 2)


def test_samples_have_seeds_of_their_own_and_greedy_texts_have_none(
    serve: Serve, opened: Open
) -> None:
    server = serve()
    asked = [Generate(chat("a"), 3, temperature=t, sample=s) for t, s in ((0, 0), (1, 0), (1, 1))]
    all_of(opened(server), [*asked, asked[1]])
    seeds = [body.get("seed") for body in server.bodies("/v1/completions")[2:]]
    assert seeds.count(None) == 1
    assert len(set(seeds)) == 3


def test_a_server_without_token_ids_gives_its_own_text_and_forces_no_pattern(
    serve: Serve, opened: Open
) -> None:
    engine = opened(serve(exact=False))
    (reply,) = all_of(engine, [Generate(chat("a"), 7)])
    assert (reply.text, reply.tokens, reply.output_tokens) == ("ab", (), 1)


@pytest.mark.parametrize(("exact", "way"), [(True, "prompt"), (False, "echo")])
def test_a_likelihood_is_the_sum_over_the_continuation_alone(
    serve: Serve, opened: Open, exact: bool, way: str
) -> None:
    engine = opened(serve(exact=exact))
    (reply,) = all_of(engine, [Likelihood(Prompt(text="a question:"), " what is it")])
    ids = engine._site.tokens.encode([" what is it"])[0]
    assert reply.logprob == pytest.approx(sum(map(scripted.logprob, ids)))
    assert reply.tokens == len(ids)
    assert engine.identity["likelihood"] == way


def test_label_requests_and_texts_are_never_under_way_together(serve: Serve, opened: Open) -> None:
    server = serve()
    mixed = [r for i in range(20) for r in (label(f"t {i}"), Generate(chat(f"t {i}"), 3))]
    all_of(opened(server), mixed)
    assert frozenset({"labels"}) in server.overlaps
    assert frozenset({"labels", "others"}) not in server.overlaps


# Heads


def pair_routes(shape: str) -> dict[str, Any]:
    """A server that scores a document by its length, in one shape, best first."""

    def listed(documents: list[str], name: str) -> list[Any]:
        found = [{"index": i, name: float(len(d))} for i, d in enumerate(documents)]
        return sorted(found, key=lambda entry: -entry[name])

    def score(body: dict[str, Any]) -> Any:
        assert body["use_activation"] is False
        return {"data": listed(body["text_2"], "score"), "usage": {"prompt_tokens": 10}}

    def texts(body: dict[str, Any]) -> Any:
        if "texts" not in body:
            raise Refusal(422, "missing field `texts`")
        assert body["raw_scores"] is True
        return listed(body["texts"], "score")

    def documents(body: dict[str, Any]) -> Any:
        if "documents" not in body or "use_activation" in body:
            raise Refusal(422, {"message": "no such field"})
        return {"results": listed(body["documents"], "relevance_score")}

    path, route = {
        "vllm": ("/score", score),
        "tei": ("/rerank", texts),
        "jina": ("/v1/rerank", documents),
        "cohere": ("/v2/rerank", documents),
    }[shape]
    return {path: route, "/tokenize": lambda body: [body["inputs"].split()]}


@pytest.mark.parametrize("shape", ["vllm", "tei", "jina", "cohere"])
def test_pairs_are_scored_in_every_shape_with_one_query_a_call(
    serve: Serve, opened: Open, shape: str
) -> None:
    server = serve(pair_routes(shape))
    pairs = [PairScore(q, "x" * n) for q in ("one", "two") for n in range(1, 151)]
    replies = all_of(opened(server, model="nobody/nothing-like-this"), pairs)
    assert [reply.logits[0] for reply in replies] == [len(pair.document) for pair in pairs]
    assert sum(reply.prompt_tokens for reply in replies) == (40 if shape == "vllm" else 0)
    queries = [b.get("query", b.get("text_1")) for _, b in server.posts if b][-4:]
    assert sorted(queries) == ["one", "one", "two", "two"]


def test_pair_scores_without_an_endpoint_name_what_there_is(serve: Serve, opened: Open) -> None:
    with pytest.raises(EngineFault, match=r"no /score; it has /v1/completions"):
        all_of(opened(serve()), [PairScore("a", "b")])


@pytest.mark.parametrize("around", [0, 30])
def test_tokens_of_pairs_are_the_tokenizers_unless_the_server_read_more(
    serve: Serve, opened: Open, cross_encoder: Path, around: int
) -> None:
    pairs = [PairScore("a query", "a document of words"), PairScore("a query", "one")]
    routes = pair_routes("vllm")
    server = serve(routes)
    engine = opened(server, tokenizer=str(cross_encoder))
    tokens = engine._site.tokens
    own = [tokens.pair.size + sum(map(len, tokens.encode([p.query, p.document]))) for p in pairs]
    plain = routes["/score"]
    usage = {"prompt_tokens": sum(own) + around}
    server.routes["/score"] = lambda body: {**plain(body), "usage": usage}
    read = [reply.prompt_tokens for reply in all_of(engine, pairs)]
    assert sum(read) == sum(own) + around
    assert (read == own) == (around == 0)


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


def test_a_pair_that_the_server_finds_too_long_fails_alone(serve: Serve, opened: Open) -> None:
    routes = pair_routes("tei")
    plain = routes["/rerank"]

    def strict(body: dict[str, Any]) -> Any:
        if any(len(text) > 50 for text in body.get("texts", ())):
            raise Refusal(413, {"error": "`inputs` must be within the maximum input length"})
        return plain(body)

    server = serve({**routes, "/rerank": strict})
    pairs = [PairScore("q", "x" * n) for n in range(1, 52)]
    replies = all_of(opened(server, model="n/n"), pairs)
    assert [i for i, reply in enumerate(replies) if isinstance(reply, Failure)] == [50]
    assert "max_doc_tokens" in replies[50].reason


def test_an_encoder_is_not_mistaken_for_a_pair_head(
    serve: Serve, opened: Open, encoder: Path
) -> None:
    server = serve(pair_routes("vllm"))
    with pytest.raises(EngineFault, match="cosine"):
        all_of(opened(server, tokenizer=str(encoder)), [PairScore("a", "b")])
    assert all_of(opened(server, tokenizer=str(encoder), head="classifier"), [PairScore("a", "b")])


def test_vectors_come_as_floats_or_base64_and_are_normalised_as_asked(
    serve: Serve, opened: Open, encoder: Path
) -> None:
    def embeddings(body: dict[str, Any]) -> Any:
        whole = [0.6, 0.8] if body["use_activation"] else [3.0, 4.0]
        shapes = [base64.b64encode(struct.pack("<2f", *whole)).decode(), whole]
        places = range(len(body["input"]))
        return {"data": [{"index": i, "embedding": shapes[i % 2]} for i in places]}

    engine = opened(serve({"/v1/embeddings": embeddings}), tokenizer=str(encoder))
    asked = [Embed(Prompt(text=t), normalise=n) for n in (True, False) for t in ("one", "two")]
    rows = [reply.vectors.tolist() for reply in all_of(engine, asked)]
    assert rows[:2] == [[pytest.approx([0.6, 0.8])]] * 2
    assert rows[2:] == [[[3.0, 4.0]]] * 2
    with pytest.raises(EngineFault, match="transformers or vllm"):
        all_of(engine, [Embed(Prompt(text="one"), pooling="tokens")])


def test_scores_are_raw_logits_of_token_ids(serve: Serve, opened: Open, llama: Path) -> None:
    def classify(body: dict[str, Any]) -> Any:
        assert body["use_activation"] is False
        return {
            "data": [{"index": i, "probs": [len(x), -7.5]} for i, x in enumerate(body["input"])]
        }

    engine = opened(serve({"/classify": classify}), tokenizer=str(llama))
    (reply,) = all_of(engine, [Score(Prompt(text="some text"))])
    assert reply.logits == (reply.prompt_tokens, -7.5)


# Failures

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


def test_what_never_passes_is_a_failure_of_its_request_alone(serve: Serve, opened: Open) -> None:
    server = serve()
    engine = opened(server)
    assert engine.identity
    plain = server.routes["/v1/completions"]

    def poisoned(body: dict[str, Any]) -> Any:
        if any(len(prompt) > 60 for prompt in body["prompt"]):
            raise Refusal(500, {"error": {"message": "kernel panic"}})
        return plain(body)

    server.routes["/v1/completions"] = poisoned
    replies = all_of(engine, [label("a"), label("word " * 60), label("b")])
    assert [isinstance(reply, Failure) for reply in replies] == [False, True, False]
    assert "kernel panic" in replies[1].reason


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


# Several servers, deadlines, waiting


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
    assert engine.startup_seconds >= 0.2
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


# What is known of a server


def test_building_one_contacts_nobody(serve: Serve, opened: Open) -> None:
    server = serve()
    engine = opened(server)
    assert engine.supports(frozenset({NextToken, PairScore}))
    assert not engine.supports(frozenset({str}))
    assert server.keys == []


def test_identity_holds_the_address_only_where_nothing_else_tells_models_apart(
    serve: Serve, opened: Open, llama: Path
) -> None:
    known = opened(serve()).identity
    assert known["root"] == str(llama)
    assert "base_url" not in known
    nameless = serve(pair_routes("jina"))
    assert opened(nameless, model="n/n").identity["base_url"] == nameless.url
    assert all(isinstance(value, str) for value in known.values())


def test_an_adapter_is_posted_by_its_name_and_read_with_its_base(
    serve: Serve, opened: Open, llama: Path
) -> None:
    routes = scripted.vllm(str(llama))
    entries = [*routes["/v1/models"]({})["data"], {"id": "lora", "root": "/x", "parent": "m"}]
    server = serve({**routes, "/v1/models": lambda body: {"data": entries}})
    engine = opened(server, model=None, adapter="lora")
    all_of(engine, [label("a")])
    assert {body["model"] for body in server.bodies("/v1/completions")} == {"lora"}
    assert engine.identity["adapter_root"] == "/x"
    assert engine.identity["root"] == str(llama)


def test_the_context_is_the_least_that_anyone_tells(serve: Serve, opened: Open) -> None:
    assert opened(serve()).identity["context"] == "400"
    engine = opened(serve(), max_model_len=30)
    (reply,) = all_of(engine, [label("word " * 60)])
    assert isinstance(reply, Failure)
    assert "context of 30" in reply.reason


def test_texts_are_fitted_by_the_server_where_the_tokenizer_is_not_here(
    serve: Serve, opened: Open
) -> None:
    engine = opened(serve(pair_routes("tei")), model="n/n")
    long, short = engine.fit(["one two three four five", "one two"], 3)
    assert (long.text.split(), long.truncated) == (["one", "two", "three"], True)
    assert (short.text, short.truncated) == ("one two", False)
    routes = pair_routes("tei")
    del routes["/tokenize"]
    with pytest.raises(EngineFault, match="-o tokenizer=ID"):
        opened(serve(routes), model="n/n").fit(["one"], 3)


def test_requests_for_a_language_model_need_its_tokenizer(serve: Serve, opened: Open) -> None:
    engine = opened(serve(scripted.vllm("/nowhere/at/all")))
    with pytest.raises(EngineFault, match="tokenizer=ID"):
        all_of(engine, [label("a")])


def test_a_closed_engine_opens_again(serve: Serve, opened: Open) -> None:
    engine = opened(serve())
    first = all_of(engine, [label("a")])
    engine.close()
    assert all_of(engine, [label("a")]) == first
