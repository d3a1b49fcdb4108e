"""What to post for each kind of request, and how to read what comes back.

Prompts are posted as token ids. vLLM's own fields are documented in its `CompletionRequest`; a
server that does not know a field may ignore it with status 200, so every reply is checked for what
was asked: each label, each prompt as it was sent.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ...errors import EngineFault
from ...types import Embed, Generate, Likelihood, NextToken, PairScore, Score
from ..asks import Ask
from .client import Call
from .faults import ODD, Malformed
from .numbers import require_raw, unreported
from .pairs import Heard, Pairs, in_order, number

PATHS: Mapping[type, str] = {
    NextToken: "/v1/completions",
    Generate: "/v1/completions",
    Likelihood: "/v1/completions",
    Score: "/classify",
    Embed: "/v1/embeddings",
}
AT_ONCE: Mapping[type, int] = {
    NextToken: 16, Likelihood: 16, Generate: 1, PairScore: 100, Score: 16, Embed: 16,
}  # fmt: skip
"""Prompts or pairs in one call. Texts are written one a call, so that none waits for a longer."""


@dataclass(frozen=True)
class Completions:
    """How a server's `/v1/completions` is asked.

    labels: `exact` by token id, or the most top log-probabilities that it tells. extras: whether it
    takes vLLM's own fields. likelihood: by the log-probabilities of the prompt, or by its echo.
    """

    labels: Literal["exact", 20, 5, 1] | None = None
    likelihood: Literal["prompt", "echo"] | None = None
    extras: bool = False


@dataclass(frozen=True)
class Dialect:
    """Makes calls to servers that serve `model`. `spelled`: token ids by how they are written."""

    model: str
    completions: Completions = Completions()
    pairs: Pairs | None = None
    spelled: Callable[[str], int | None] = lambda text: None

    def call(self, kind: type, asks: Sequence[Any]) -> Call:
        """Post `asks` of one kind; what is read is one `Heard` per ask."""
        body, read = _MAKERS[kind](self, asks)
        path = self.pairs.path if kind is PairScore and self.pairs else PATHS[kind]

        def checked(payload: Any) -> list[Heard]:
            try:
                found = read(payload)
            except ODD as error:
                raise Malformed(f"{type(error).__name__}: {error}") from error
            if len(found) != len(asks):
                raise Malformed(f"{len(found)} answers to {len(asks)} questions")
            return found

        return Call(path, {"model": self.model, **body}, checked)


Made = tuple[dict[str, Any], Callable[[Any], list[Heard]]]


# Completions


def _prompts(asks: Sequence[Ask]) -> list[list[int]]:
    return [list(ask.ids) for ask in asks]


def _choices(payload: Any, asks: Sequence[Ask]) -> list[Any]:
    """The choices in order, each of the prompt that was sent."""
    choices = in_order(payload["choices"])
    for choice, ask in zip(choices, asks, strict=True):
        came_back = choice.get("prompt_token_ids")
        if came_back is not None and came_back != list(ask.ids):
            raise EngineFault(
                f"the server changed a prompt: {len(ask.ids)} token ids were sent and "
                f"{len(came_back)} came back, or others; it must serve the tokenizer used here"
            )
    return choices


def _cached(payload: Any, asks: Sequence[Any]) -> int:
    """Cached tokens; vLLM tells those of one prompt only, however many there were."""
    details = (payload.get("usage") or {}).get("prompt_tokens_details") or {}
    return int(details.get("cached_tokens") or 0) if len(asks) == 1 else 0


def _labels(dialect: Dialect, asks: Sequence[Ask]) -> Made:
    way = dialect.completions
    wanted = asks[0].labels
    body: dict[str, Any] = {"prompt": _prompts(asks), "max_tokens": 1, "temperature": 0}
    body["logprobs"] = 1 if way.labels == "exact" else way.labels
    if way.extras:
        body |= {"return_tokens_as_token_ids": True, "return_token_ids": True}
    if way.labels == "exact":
        body["logprob_token_ids"] = list(wanted)

    def read(payload: Any) -> list[Heard]:
        return [_scored(dialect, c, wanted, payload, asks) for c in _choices(payload, asks)]

    return body, read


def _scored(
    dialect: Dialect, choice: Any, wanted: Sequence[int], payload: Any, asks: Sequence[Ask]
) -> Heard:
    reported = {k: number(v) for k, v in first_position(choice).items()}
    told = {dialect.spelled(k): v for k, v in reported.items()}
    found = tuple(token for token in wanted if token in told)
    if dialect.completions.labels == "exact" and len(found) < len(wanted):
        raise EngineFault(
            f"the server left out {len(wanted) - len(found)} of {len(wanted)} labels that were "
            "asked for by token id; are all replicas of one version?"
        )
    bound = unreported(reported.values()) if len(found) < len(wanted) else None
    values = tuple(told[token] for token in found)
    return Heard(values, found, cached=_cached(payload, asks), bound=bound)


def first_position(choice: Any) -> dict[str, Any]:
    """Log-probabilities at the first position, in the shape of completions or of chats."""
    told = choice["logprobs"]
    if told.get("content"):  # llama.cpp tells completions in the shape of chats
        listed = told["content"][0]["top_logprobs"]
        return {_spelling(entry): entry["logprob"] for entry in listed}
    return dict(told["top_logprobs"][0])


def _spelling(entry: Any) -> str:
    return f"token_id:{entry['id']}" if "id" in entry else str(entry["token"])


def _likelihoods(dialect: Dialect, asks: Sequence[Ask]) -> Made:
    body: dict[str, Any] = {"prompt": _prompts(asks), "max_tokens": 1, "temperature": 0}
    body |= {"return_token_ids": True} if dialect.completions.extras else {}
    if dialect.completions.likelihood == "prompt":
        body["prompt_logprobs"] = 0
        read_one = _prompt_logprobs
    else:
        body |= {"echo": True, "logprobs": 1}
        read_one = _echoed

    def read(payload: Any) -> list[Heard]:
        both = zip(_choices(payload, asks), asks, strict=True)
        return [Heard((math.fsum(read_one(choice, ask)),)) for choice, ask in both]

    return body, read


def _prompt_logprobs(choice: Any, ask: Ask) -> list[float]:
    told = choice["prompt_logprobs"]
    start = len(ask.ids) - ask.ending
    return [number(told[i][str(ask.ids[i])]["logprob"]) for i in range(start, len(ask.ids))]


def _echoed(choice: Any, ask: Ask) -> list[float]:
    told = choice["logprobs"]["token_logprobs"]
    if len(told) < len(ask.ids):
        raise Malformed(f"{len(told)} log-probabilities for {len(ask.ids)} tokens")
    return [number(value) for value in told[len(ask.ids) - ask.ending : len(ask.ids)]]


def _texts(dialect: Dialect, asks: Sequence[Ask]) -> Made:
    (ask,) = asks
    body: dict[str, Any] = {
        "prompt": list(ask.ids),
        "max_tokens": ask.max_tokens,
        "temperature": ask.temperature,
        "top_p": ask.top_p,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "n": 1,
    }
    body |= {"seed": ask.seed} if ask.seed is not None else {}
    body |= {"stop": list(ask.stop)} if ask.stop else {}
    if dialect.completions.extras:
        body |= {
            "top_k": -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "min_tokens": 0,
            "ignore_eos": False,
            "stop_token_ids": list(ask.stop_ids),
            "skip_special_tokens": True,
            "return_token_ids": True,
            "logprobs": 0,
        }
        body |= {"structured_outputs": {"regex": ask.pattern}} if ask.pattern else {}
    elif ask.pattern:
        raise EngineFault("this server cannot force a pattern; leave it out or serve with vLLM")

    def read(payload: Any) -> list[Heard]:
        (choice,) = _choices(payload, asks)
        logprobs = (choice.get("logprobs") or {}).get("token_logprobs") or ()
        return [
            Heard(
                tuple(map(number, logprobs)),
                tuple(choice.get("token_ids") or ()),
                text=str(choice["text"]),
                finished=choice["finish_reason"] == "stop",
                written=int((payload.get("usage") or {}).get("completion_tokens") or 0),
                cached=_cached(payload, asks),
            )
        ]

    return body, read


# Heads


def _sequences(dialect: Dialect, asks: Sequence[Ask]) -> Made:
    def read(payload: Any) -> list[Heard]:
        rows = [tuple(map(number, entry["probs"])) for entry in in_order(payload["data"])]
        require_raw(rows)
        return [Heard(row) for row in rows]

    return {"input": _prompts(asks), "use_activation": False}, read


def _vectors(dialect: Dialect, asks: Sequence[Any]) -> Made:
    def read(payload: Any) -> list[Heard]:
        return [Heard(_floats(entry["embedding"])) for entry in in_order(payload["data"])]

    body = {
        "input": [list(ask.ids) for ask in asks],
        "encoding_format": "base64",
        "use_activation": asks[0].request.normalise,
    }
    return body, read


def _floats(told: Any) -> tuple[float, ...]:
    """Numbers as they are, or little-endian float32 in base64."""
    if not isinstance(told, str):
        return tuple(map(number, told))
    import numpy as np

    return tuple(np.frombuffer(base64.b64decode(told), dtype="<f4").tolist())


def _scores(dialect: Dialect, asks: Sequence[PairScore]) -> Made:
    way = dialect.pairs
    assert way is not None  # noqa: S101 - the engine asked for one before
    return way.body(asks[0].query, [ask.document for ask in asks]), way.read


_MAKERS: Mapping[type, Callable[[Dialect, Sequence[Any]], Made]] = {
    NextToken: _labels,
    Likelihood: _likelihoods,
    Generate: _texts,
    Score: _sequences,
    Embed: _vectors,
    PairScore: _scores,
}
