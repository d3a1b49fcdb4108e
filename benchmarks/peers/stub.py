"""A server that answers at once, so that what is timed is the client; the standard library alone.

    python stub.py ANSWER < /dev/null

It has the paths of vLLM that the clients of `listwise` and `pointwise` use, in a process of its
own. It writes ANSWER to every prompt, scores every document by its length, and keeps the bodies of
posts: `GET /posts` returns them and forgets them. Its first line of output is its port.
"""

from __future__ import annotations

import json
import math
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = {"id": "served", "max_model_len": 8192}
TEXT = sys.argv[1] if len(sys.argv) > 1 else ""
posts: list[tuple[str, dict[str, Any]]] = []


def completion(body: dict[str, Any]) -> Any:
    """Answer token ids with the text, or with log-probabilities of labels."""
    given = body["prompt"]
    prompts = given if isinstance(given[0], list) else [given]
    labels = {f"token_id:{i}": -1.0 - i / 100 for i in body.get("logprob_token_ids", [])}
    answer = {
        "text": TEXT,
        "logprobs": {"top_logprobs": [labels]} if labels else None,
        "finish_reason": "stop",
    }
    choices = [{"index": i, "prompt_token_ids": p, **answer} for i, p in enumerate(prompts)]
    return {"choices": choices, "usage": {"completion_tokens": 1}}


def chat(body: dict[str, Any]) -> Any:
    """Answer messages with the text."""
    message = {"role": "assistant", "content": TEXT, "reasoning": None}
    return {
        "id": "0",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


def logit(document: str) -> float:
    """Return the score of a document."""
    return len(document) % 97 / 50 - 1


def score(body: dict[str, Any]) -> Any:
    """Answer a query and its documents with raw scores."""
    texts = body["text_2"]
    data = [{"index": i, "score": logit(text)} for i, text in enumerate(texts)]
    return {"data": data, "usage": {"prompt_tokens": 100 * len(texts)}}


def rerank(body: dict[str, Any]) -> Any:
    """Answer a query and its documents with probabilities, best first."""
    logits = map(logit, body["documents"])
    found = [
        {"index": i, "document": {"text": text}, "relevance_score": 1 / (1 + math.exp(-value))}
        for i, (text, value) in enumerate(zip(body["documents"], logits, strict=True))
    ]
    return {"results": sorted(found, key=lambda entry: -entry["relevance_score"])}


GETS = {
    "/health": dict,
    "/version": lambda: {"version": "0.32.0"},
    "/v1/models": lambda: {"data": [MODEL]},
}
POSTS = {
    "/v1/completions": completion,
    "/v1/chat/completions": chat,
    "/score": score,
    "/v1/rerank": rerank,
}


class Handler(BaseHTTPRequestHandler):
    """One connection, which stays open."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each response waits 40 ms for an acknowledgement

    def do_GET(self) -> None:
        """Say what is served, or return and forget what was posted."""
        if self.path == "/posts":
            found, posts[:] = list(posts), []
            self.reply(found)
        else:
            self.reply(GETS[self.path]() if self.path in GETS else None)

    def do_POST(self) -> None:
        """Answer."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path in POSTS:
            posts.append((self.path, body))
        self.reply(POSTS[self.path](body) if self.path in POSTS else None)

    def reply(self, content: Any) -> None:
        """Send JSON; None is a path that is not served."""
        body = json.dumps(content).encode()
        self.send_response(200 if content is not None else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer.request_queue_size = 128
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
