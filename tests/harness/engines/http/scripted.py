"""A scripted server on a loopback port that answers as a server of each dialect does, or fails."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rerank_bench import Message, NextToken, Prompt

LETTERS = tuple("ABCDE")
Route = Callable[[dict[str, Any]], Any]


@dataclass
class Response:
    """What a server sends instead of a route's JSON; `cut`: less than it announced."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    seconds: float = 0.0


class Refusal(Exception):
    """A route's error response."""

    def __init__(self, status: int, payload: Any, headers: dict[str, str] | None = None) -> None:
        super().__init__(status)
        self.response = Response(status, json.dumps(payload).encode(), headers or {})


@dataclass
class Scripted:
    """A server with `routes`. The responses in `first` come before theirs, one a post.

    posts: (path, body) in the order of arrival. headers: those of each request. most: the most
    posts under way at once. overlaps: pairs of kinds that were under way together.
    """

    routes: dict[str, Route]
    first: list[Response] = field(default_factory=list)
    posts: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    url: str = ""
    most: int = 0
    overlaps: set[frozenset[str]] = field(default_factory=set)
    down: bool = False
    close: Callable[[], None] = lambda: None
    under_way: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [body for _, body in self.posts]

    def answer(self, path: str, body: dict[str, Any] | None) -> Response:
        """Answer one request; a body of None is a GET."""
        if body is None:
            return self._routed(path, {})
        kind = "labels" if "logprob_token_ids" in body else "others"
        with self.lock:
            self.posts.append((path, body))
            self.under_way.append(kind)
            self.most = max(self.most, len(self.under_way))
            self.overlaps.add(frozenset(self.under_way))
            first = self.first.pop(0) if self.first else None
        try:
            return self._routed(path, body) if first is None else first
        finally:
            with self.lock:
                self.under_way.remove(kind)

    def _routed(self, path: str, body: dict[str, Any]) -> Response:
        if path not in self.routes:
            return Response(404, b'{"detail": "Not Found"}')
        try:
            return Response(body=json.dumps(self.routes[path](body)).encode())
        except Refusal as refusal:
            return refusal.response

    def change(self, path: str, change: Callable[[dict[str, Any]], Any]) -> None:
        """Let `change` alter the first choice of every response at a path of completions."""
        plain = self.routes[path]

        def route(body: dict[str, Any]) -> Any:
            found = plain(body)
            for choice in found["choices"]:
                change(choice)
            return found

        self.routes[path] = route

    def slow(self, path: str, seconds: float) -> None:
        """Answer at a path after `seconds` only."""
        plain = self.routes[path]
        self.routes[path] = lambda body: (time.sleep(seconds), plain(body))[1]


def _handler(server: Scripted) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else each response waits 40 ms for an acknowledgement

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._send(server.answer(self.path, None))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._send(server.answer(self.path, body))

        def _send(self, response: Response) -> None:
            server.headers.append(dict(self.headers))
            time.sleep(response.seconds)
            self.close_connection = server.down or response.cut
            if server.down:
                return
            try:
                self.send_response(response.status)
                for name, value in response.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(response.body) + 100 * response.cut))
                self.end_headers()
                self.wfile.write(response.body)
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
    """A generating vLLM 0.32; not `exact`: a server that ignores vLLM's own fields."""

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
        values = [None, *map(logprob, prompt[1:])]
        if body.get("logprobs") is not None:
            choice["logprobs"] = {"top_logprobs": [top], "token_logprobs": [-0.25, -0.5]}
        if body.get("echo"):
            choice["logprobs"] = {"token_logprobs": [*values, -9.0]}
        if exact and body.get("prompt_logprobs") == 0:
            one = [{str(t): {"logprob": v}} for t, v in zip(prompt[1:], values[1:], strict=True)]
            choice["prompt_logprobs"] = [None, *one]
        if exact and body.get("return_token_ids"):
            choice |= {"prompt_token_ids": prompt, "token_ids": [69, 70]}
        return choice

    routes = models(root)
    return {**routes, "/health": lambda body: {}, "/v1/completions": completions}


def models(root: str = "") -> dict[str, Route]:
    """What a vLLM reports of itself."""
    entry = {"id": "m", "root": root, "max_model_len": 400}
    return {
        "/v1/models": lambda body: {"data": [entry]},
        "/version": lambda body: {"version": "0.32.0"},
    }


def scoring(dialect: str, root: str = "") -> dict[str, Route]:
    """A server that scores a document by its length, best first."""

    def listed(documents: list[str], name: str) -> list[Any]:
        found = [{"index": i, name: float(len(d))} for i, d in enumerate(documents)]
        return sorted(found, key=lambda entry: -entry[name])

    def score(body: dict[str, Any]) -> Any:
        assert body["use_activation"] is False
        return {"data": listed(body["text_2"], "score"), "usage": {"prompt_tokens": 10}}

    def texts(body: dict[str, Any]) -> Any:
        assert body["raw_scores"] is True
        return listed(body["texts"], "score")

    def documents(body: dict[str, Any]) -> Any:
        assert body["top_n"] == len(body["documents"])
        return {"results": listed(body["documents"], "relevance_score")}

    info = {"model_id": root, "max_input_length": 512, "version": "1.8"}
    counting = {
        "/info": lambda body: info,
        "/tokenize": lambda body: [body["inputs"].split()],
    }
    return {
        "vllm": {**models(root), "/score": score},
        "tei": {**counting, "/rerank": texts},
        "jina": {"/v1/rerank": documents},
        "cohere": {"/v2/rerank": documents},
    }[dialect]


def classifying(outputs: list[float]) -> dict[str, Route]:
    """A vLLM with a classification head that gives every text the same outputs."""

    def classify(body: dict[str, Any]) -> Any:
        assert body["use_activation"] is False
        return {"data": [{"index": i, "probs": outputs} for i in range(len(body["input"]))]}

    return {**models(), "/classify": classify}


def chat(text: str) -> Prompt:
    """A prompt of one message and the beginning of its answer."""
    return Prompt(messages=(Message("user", text),), prefill="[")


def label(text: str) -> NextToken:
    """A request for the probabilities of five letters."""
    return NextToken(chat(text), LETTERS)


def all_of(engine: Any, requests: list[Any]) -> list[Any]:
    """The replies in order, one to each request."""
    found = list(engine.stream(iter(requests)))
    assert sorted(index for index, _ in found) == list(range(len(requests)))
    return [reply for _, reply in sorted(found, key=lambda pair: pair[0])]
