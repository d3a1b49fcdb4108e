"""The check at first use: what each server serves, and a few numbers that tell models apart.

No server reports which template, dtype or quantization it runs, but its numbers show it. Each
question is short and asked alone, twice: the second time its prompt is cached, as it will be in a
later run.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from ...errors import EngineFault
from ...types import Embed, Failure, Label, Logits, NextToken, PairScore, Prompt, Reply, Vectors
from ..prepare import Prepared
from .client import Client
from .completions import COMPLETIONS, reported
from .dialects import CLASSIFY, KINDS, PAIRS, Dialect
from .embeddings import EMBEDDINGS
from .responses import Call, Malformed, read_as, text_or_none

TEXT = "The first words of a text"
LABELS = tuple(range(24))  # more than are asked for by rank, so that none is there by chance
APART = 0.5
"""Numbers of equal models differ by less; those of bfloat16 differ by up to 0.15."""

_RANKED = 5  # the last ranks change places easily
PAIRS_ASKED = (
    PairScore("a query", "a document"),
    PairScore("why is the sky blue", "Air scatters blue light more than red light."),
    PairScore("why is the sky blue", "The market opens at seven in winter."),
)
_NOT_SERVED = (403, 404, 405, 501)


@dataclass(frozen=True)
class Listed:
    """What one server reports of itself: its models, name -> entry, and its version."""

    models: Mapping[str, Mapping[str, Any]]
    version: str | None = None

    def root(self, model: str) -> str | None:
        """Return the hub id or folder of what is served as `model`, where the server reports it."""
        return text_or_none(self.models.get(model, {}).get("root"))

    def context(self, model: str) -> int:
        """Return the longest sequence in tokens; without end where it is not reported."""
        tokens = self.models.get(model, {}).get("max_model_len")
        return tokens if isinstance(tokens, int) and tokens > 0 else sys.maxsize


@dataclass(frozen=True)
class Checked:
    """What one server answered to the check.

    numbers: answers to the questions. pair_tokens: tokens that it read of the first pair, 0 where
    it does not report them. unserved: path -> why it cannot be used.
    """

    numbers: tuple[float, ...]
    pair_tokens: int
    unserved: Mapping[str, str]

    @property
    def probe(self) -> str:
        """A hash of the numbers; empty where there are none.

        Their three digits are the same on two servers of one kind, and not under two dtypes or
        templates.
        """
        digits = " ".join(f"{number + 0.0:.3g}" for number in self.numbers)
        return hashlib.sha256(digits.encode()).hexdigest()[:16] if digits else ""


async def list_models(client: Client, url: str, dialect: str, model: str | None) -> Listed:
    """Return the models of a server, and `model` where its API has no list of them."""
    if dialect in ("jina", "cohere"):
        return Listed({model: {}} if model else {})
    path = "/info" if dialect == "tei" else "/v1/models"
    where, response = url + path, await client.exchange(path, url=url)
    if response.status_code == HTTPStatus.NOT_FOUND:
        raise EngineFault(
            f"{where} answers 404: it is no server of dialect={dialect}; set dialect="
        )
    try:
        payload = client.key.payload(where, response)
        listed: Listed = read_as(lambda found: _listed(found, dialect, model), payload)
    except Malformed as error:
        reason = client.key.redacted(str(error))
        raise EngineFault(f"{where} is not that of dialect={dialect} ({reason})") from None
    version = await _version(client, url) if dialect == "vllm" else listed.version
    return Listed(listed.models, version)


def _listed(payload: Any, dialect: str, model: str | None) -> Listed:
    if dialect == "tei":
        entry = {"root": payload["model_id"], "max_model_len": payload["max_input_length"]}
        return Listed({model or payload["model_id"]: entry}, text_or_none(payload.get("version")))
    return Listed({str(entry["id"]): entry for entry in payload["data"]})


async def _version(client: Client, url: str) -> str | None:
    response = await client.exchange("/version", url=url)
    try:
        return text_or_none(read_as(lambda reply: reply.json()["version"], response))
    except Malformed:
        return None


async def check(client: Client, url: str, dialect: Dialect, ids: Sequence[int]) -> Checked:
    """Ask a server the questions of its dialect.

    ids: `TEXT` in the model's tokens; without them only pairs are asked. Raises EngineFault for
    what is not answered in the dialect; a server that fails to give vectors can give all else.
    """
    numbers: list[float] = []
    unserved: dict[str, str] = {}
    pair_tokens = 0
    for call in _questions(dialect, ids):
        if call.path in unserved:
            continue
        try:
            payload, reply = await _asked_twice(client, url, dialect, call)
        except EngineFault as error:
            if call.path != EMBEDDINGS:
                raise
            payload, reply = None, Failure(str(error))
        if isinstance(reply, Failure):
            unserved[call.path] = reply.reason
        elif isinstance(reply, Logits):
            # tokens of a pair show a template; those of token ids are known
            tokens = reply.prompt_tokens if call.path != CLASSIFY else 0
            numbers += (float(tokens), *reply.logits[: len(LABELS)])
            pair_tokens = pair_tokens or tokens
        elif isinstance(reply, Vectors):
            numbers += map(float, reply.array[0, : len(LABELS)])
        else:
            ranked = sorted(reported(payload["choices"][0]).values(), reverse=True)
            numbers += ranked[: len(LABELS) if dialect.name == "vllm" else _RANKED]
    return Checked(tuple(numbers), pair_tokens, unserved)


def _questions(dialect: Dialect, ids: Sequence[int]) -> Iterator[Call]:
    if dialect.name in PAIRS:
        for pair in PAIRS_ASKED:
            yield dialect.call(PairScore, [Prepared(0, pair, (), 0)])
    if ids and NextToken in KINDS[dialect.name]:
        labels: dict[Label, int] = {label: label for label in LABELS}
        yield dialect.call(NextToken, [Prepared(0, None, ids, len(ids), labels=labels)])
    if ids and Embed in KINDS[dialect.name]:
        asked = Embed(Prompt(text=TEXT))
        yield dialect.call(Embed, [Prepared(0, asked, ids, len(ids))])
    if ids and dialect.name == "vllm":
        yield dialect.call(PairScore, [Prepared(0, None, ids, len(ids))], as_ids=True)


async def _asked_twice(
    client: Client, url: str, dialect: Dialect, call: Call
) -> tuple[Any, Reply | Failure]:
    """Return the second response's JSON and its reply: the Failure of what is not served."""
    for _ in range(2):
        response = await client.exchange(call.path, call.body, url=url)
        if response.status_code in _NOT_SERVED:
            return None, Failure(f"it has no {call.path}")
    try:
        payload = client.key.payload(url + call.path, response)
        if isinstance(payload, Failure):
            ranks = call.path == COMPLETIONS and dialect.name == "openai"
            return None, Failure(payload.reason + ("; or set top_logprobs=" if ranks else ""))
        (reply,) = call.replies(payload)
    except Malformed as error:
        reply = Failure(f"is that dialect={dialect.name}? ({client.key.redacted(str(error))})")
    if isinstance(reply, Failure):
        raise EngineFault(f"{url}{call.path} does not answer the check: {reply.reason}")
    return payload, reply


def require_alike(found: Mapping[str, Checked]) -> None:
    """Raise EngineFault where one server's numbers are not those of the others."""
    (first, one), *others = found.items()
    for url, other in others:
        far = any(abs(x - y) > APART for x, y in zip(one.numbers, other.numbers, strict=False))
        if far or len(one.numbers) != len(other.numbers):
            raise EngineFault(
                f"{first} and {url} answer differently, as with other templates or weights: "
                "run them apart"
            )
