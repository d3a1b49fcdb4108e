"""A scripted server on a loopback port that speaks as vLLM does, or worse."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rerank_bench import Message, NextToken, Prompt

LETTERS = tuple("ABCDE")
KEY = "sk-secret-1234"
Route = Callable[[dict[str, Any]], Any]


@dataclass
class Fault:
    """What a server does instead of answering: a status, broken bytes, or nothing in time."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    seconds: float = 0.0


@dataclass
class Scripted:
    """A server with `routes`; `faults` come first, one a post. `posts`: (path, body) as they came.

    most: the most posts under way at once. overlaps: pairs of kinds that were under way together.
    """

    routes: dict[str, Route] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    posts: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    url: str = ""
    most: int = 0
    overlaps: set[frozenset[str]] = field(default_factory=set)
    down: bool = False
    close: Callable[[], None] = lambda: None
    _under_way: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def bodies(self, path: str) -> list[dict[str, Any]]:
        """What was posted to `path` by requests, probes left out."""
        return [body for p, body in self.posts if p == path and body]

    @contextmanager
    def handling(self, kind: str) -> Iterator[None]:
        with self._lock:
            self._under_way.append(kind)
            self.most = max(self.most, len(self._under_way))
            self.overlaps.add(frozenset(self._under_way))
        try:
            yield
        finally:
            with self._lock:
                self._under_way.remove(kind)

    def next_fault(self) -> Fault | None:
        with self._lock:
            return self.faults.pop(0) if self.faults else None


class Refusal(Exception):
    """A route's error status, with its payload."""

    def __init__(self, status: int, payload: Any, headers: dict[str, str] | None = None) -> None:
        super().__init__(status)
        self.status, self.payload, self.headers = status, payload, headers


def _handler(server: Scripted) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
            server.posts.append((self.path, body))
            if not body:  # a probe
                return self._send(400 if self.path in server.routes else 404, b"{}")
            fault = server.next_fault()
            if fault is not None:
                return self._fail(fault)
            kind = "labels" if "logprob_token_ids" in body else "others"
            with server.handling(kind):
                self._answer(body)
            return None

        def _answer(self, body: dict[str, Any]) -> None:
            server.keys.append(self.headers.get("Authorization"))
            if server.down:
                self.close_connection = True
                return None
            route = server.routes.get(self.path)
            if route is None:
                return self._send(404, b'{"detail": "Not Found"}')
            try:
                return self._send(200, json.dumps(route(body)).encode())
            except Refusal as refusal:
                payload = json.dumps(refusal.payload).encode()
                return self._send(refusal.status, payload, refusal.headers)

        def _fail(self, fault: Fault) -> None:
            if fault.seconds:
                threading.Event().wait(fault.seconds)
            self._send(fault.status, fault.body, fault.headers, longer=100 * fault.cut)
            self.close_connection = self.close_connection or fault.cut

        def _send(
            self, status: int, body: bytes, headers: dict[str, str] | None = None, longer: int = 0
        ) -> None:
            try:
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body) + longer))
                self.end_headers()
                self.wfile.write(body)
            except OSError:  # the client did not wait
                self.close_connection = True

    return Handler


def serve(routes: dict[str, Route], *, port: int = 0) -> Scripted:
    """Start a server in a thread of its own."""
    found = Scripted(routes)
    ThreadingHTTPServer.request_queue_size = 64
    listening = ThreadingHTTPServer(("127.0.0.1", port), _handler(found))
    listening.daemon_threads = True
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True)
    thread.start()

    def close() -> None:
        listening.shutdown()
        listening.server_close()
        thread.join()

    found.url, found.close = f"http://127.0.0.1:{listening.server_port}", close
    return found


def logprob(token: int) -> float:
    """The model's opinion: every token has its own probability, lower ids the higher."""
    return -0.5 - token / 100


def vllm(root: str, *, exact: bool = True, most: int = 20) -> dict[str, Route]:
    """A generating vLLM 0.32; not `exact`: one that ignores what it does not know."""

    def completions(body: dict[str, Any]) -> Any:
        given = body["prompt"]
        prompts = given if isinstance(given[0], list) else [given]
        if (body.get("logprobs") or 0) > most:
            raise Refusal(400, {"error": {"message": f"logprobs: at most {most}"}})
        choices = [_choice(body, prompt, i) for i, prompt in enumerate(prompts)]
        usage = {"completion_tokens": len(choices), "prompt_tokens_details": {"cached_tokens": 2}}
        return {"choices": choices[::-1], "usage": usage}

    def _choice(body: dict[str, Any], prompt: list[int], index: int) -> dict[str, Any]:
        choice = {"index": index, "text": "ab", "finish_reason": "stop", "logprobs": None}
        wanted = body.get("logprob_token_ids") if exact else None
        shown = wanted or range(body.get("logprobs") or 0)
        top = {f"token_id:{token}": logprob(token) for token in shown}
        told = [None, *map(logprob, prompt[1:])]
        if body.get("logprobs") is not None:
            choice["logprobs"] = {"top_logprobs": [top], "token_logprobs": [-0.25, -0.5]}
        if body.get("echo"):
            choice["logprobs"] = {"token_logprobs": [*told, -9.0]}
        if exact and body.get("prompt_logprobs") == 0:
            one = [{str(t): {"logprob": v}} for t, v in zip(prompt[1:], told[1:], strict=True)]
            choice["prompt_logprobs"] = [None, *one]
        if exact and body.get("return_token_ids"):
            choice |= {"prompt_token_ids": prompt, "token_ids": [69, 70]}
        return choice

    entry = {"id": "m", "root": root, "max_model_len": 400}
    return {
        "/v1/models": lambda body: {"data": [entry]},
        "/version": lambda body: {"version": "0.32.0"},
        "/health": lambda body: {},
        "/v1/completions": completions,
    }


def chat(text: str) -> Prompt:
    """A prompt of one message and the beginning of its answer."""
    return Prompt(messages=(Message("user", text),), prefill="[")


def label(text: str) -> NextToken:
    """A question after five letters."""
    return NextToken(chat(text), LETTERS)


def all_of(engine: Any, requests: list[Any]) -> list[Any]:
    """The replies in order, one to each request."""
    found = list(engine.answer(requests))
    assert sorted(index for index, _ in found) == list(range(len(requests)))
    return [reply for _, reply in sorted(found, key=lambda pair: pair[0])]


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
