"""Looking at a server: what it serves, and in which way it answers, found by asking it once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...errors import EngineFault
from ...types import Likelihood, NextToken
from ..asks import Ask
from .client import MODELS, Call, Client, Server
from .dialects import PATHS, Completions, Dialect
from .faults import Malformed
from .pairs import PAIRS, RERANKING, Pairs

_PROBED = (*dict.fromkeys(PATHS.values()), *RERANKING, "/tokenize")
_NOT_SERVED = (403, 404, 405, 501)
_COMPLETIONS = (
    Completions("exact", extras=True),
    *(Completions(top, extras=extras) for top in (20, 5, 1) for extras in (True, False)),
)


@dataclass(frozen=True)
class Look:
    """What one server says of itself.

    entries: name -> what /v1/models says of that model. info: what text-embeddings-inference says
    at /info. paths: those of the ones we could use that it has.
    """

    url: str
    entries: Mapping[str, Mapping[str, Any]]
    info: Mapping[str, Any] = field(default_factory=dict)
    version: str | None = None
    paths: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The models that it names."""
        return list(self.entries) or [str(self.info[k]) for k in ("model_id",) if k in self.info]

    def root(self, model: str) -> str | None:
        """Hub id or folder of what it serves under the name `model`, if it says so."""
        return _words(self.entries.get(model, {}).get("root") or self.info.get("model_id"))

    def context(self, model: str) -> int:
        """Longest sequence in tokens; without end where it says nothing."""
        told = self.entries.get(model, {}).get("max_model_len") or self.info.get("max_input_length")
        return told if isinstance(told, int) and told > 0 else sys.maxsize


def _words(told: Any) -> str | None:
    """A text that a server tells; whatever else it may tell there says nothing."""
    return told if isinstance(told, str) and told else None


def _entries(listed: Any) -> dict[str, Mapping[str, Any]]:
    """The models that /v1/models lists, by name."""
    told = listed.get("data") if isinstance(listed, dict) else None
    entries = [entry for entry in told if isinstance(entry, dict)] if isinstance(told, list) else []
    return {entry["id"]: entry for entry in entries if _words(entry.get("id"))}


async def look_at(client: Client, server: Server) -> Look:
    """Look at one server. A path is there if it answers an empty body by anything but 404."""
    status, listed = await client.ask(server, MODELS)
    if status == 403:
        raise EngineFault(f"{server.url}{MODELS} lets nobody in (403); see api_key_env")
    entries = _entries(listed)
    answers = await asyncio.gather(*(client.ask(server, path, {}) for path in _PROBED))
    _, version = await client.ask(server, "/version")
    _, info = (None, None) if entries else await client.ask(server, "/info")
    info = info if isinstance(info, dict) else {}
    return Look(
        server.url,
        entries,
        info,
        _words((version if isinstance(version, dict) else info).get("version")),
        tuple(p for p, (told, _) in zip(_PROBED, answers, strict=True) if told not in _NOT_SERVED),
    )


async def completions_of(
    client: Client, server: Server, asked: Dialect, *, ids: Sequence[int], labels: Sequence[int]
) -> Completions:
    """The best way that a server understands; `labels` are more than it would tell by rank."""
    for way in _COMPLETIONS:
        call = replace(asked, completions=way).call(NextToken, [Ask("labels", ids, tuple(labels))])
        try:
            if await _understood(client, server, call):
                break
        except EngineFault:
            # Labels left out: the field was ignored. A changed prompt shows in the next way too.
            if way.labels != "exact":
                raise
    else:
        way = Completions()
    ways = (replace(way, likelihood="prompt"), replace(way, likelihood="echo"))
    for likely in ways if way.extras else ways[1:]:
        ask = Ask("likelihood", ids, ending=2)
        call = replace(asked, completions=likely).call(Likelihood, [ask])
        if await _understood(client, server, call):
            return likely
    return way


async def pairs_of(client: Client, server: Server, model: str) -> Pairs | None:
    """The best way in which a server scores pairs, if it does."""
    for way in PAIRS:
        body = {"model": model, **way.body("a query", ["a document"])}
        if await _understood(client, server, Call(way.path, body, way.read)):
            return way
    return None


async def pair_tokens(
    client: Client, server: Server, model: str, way: Pairs, pair: tuple[str, str]
) -> int:
    """The tokens that a server reads of a pair; 0 where it does not report them."""
    query, document = pair
    status, payload = await client.ask(
        server, way.path, {"model": model, **way.body(query, [document])}
    )
    return way.read(payload)[0].read if status == 200 else 0


async def _understood(client: Client, server: Server, call: Call) -> bool:
    status, payload = await client.ask(server, call.path, call.body)
    try:
        return status == 200 and bool(call.read(payload))
    except Malformed:
        return False
