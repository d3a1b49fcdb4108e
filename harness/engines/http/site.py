"""What servers turn out to be at first contact: model, tokenizer, and what they answer."""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ...errors import BadOption, EngineFault, unknown
from ...progress import bar
from ..identity import packages
from ..loading import Checkpoint, open_checkpoint
from ..tokens import Tokens
from .client import Client
from .dialects import Dialect
from .faults import Judge
from .look import Look, completions_of, look_at, pairs_of
from .pairs import RERANKING
from .probe import LABELS, TEXT, Numbers, fingerprint, numbers_of, require_alike
from .route import PairRoute

if TYPE_CHECKING:
    from .. import EngineOptions


@dataclass(frozen=True)
class Site:
    """Servers that were looked at. `model` is the name to post, `checkpoint` its tokenizer's files.

    context: longest sequence in tokens. tokenizer_missing: why there is no checkpoint, if so.
    """

    options: EngineOptions
    client: Client
    looks: tuple[Look, ...]
    model: str
    root: str | None
    checkpoint: Checkpoint | None
    tokenizer_missing: str
    context: int

    @functools.cached_property
    def dialect(self) -> Dialect:
        """How all of the servers are asked; found by asking each of them once."""
        found, paths = Dialect(self.model, spelled=self._spelled), self.looks[0].paths
        if self.checkpoint is not None and "/v1/completions" in paths:
            ids = self._probed_ids
            ways = self.client.each(
                lambda s: completions_of(self.client, s, found, ids=ids, labels=LABELS)
            )
            found = replace(found, completions=_same("/v1/completions", ways))
        if not set(RERANKING).isdisjoint(paths):
            pairs = self.client.each(lambda server: pairs_of(self.client, server, self.model))
            found = replace(found, pairs=_same("how they score pairs", pairs))
        return found

    @functools.cached_property
    def route(self) -> PairRoute:
        """How pairs are sent."""
        return PairRoute(self)

    @functools.cached_property
    def probed(self) -> Mapping[str, Numbers]:
        """Per server the numbers that it answers to a few questions."""
        asked, paths, ids = self.dialect, self.looks[0].paths, self._probed_ids
        told = self.client.each(lambda s: numbers_of(self.client, s, asked, paths, ids))
        require_alike(told)
        return told

    @property
    def _probed_ids(self) -> Sequence[int]:
        return self.tokens.encode([TEXT])[0] if self.checkpoint else ()

    @functools.cached_property
    def tokens(self) -> Tokens:
        """The model's tokenizer. Raises EngineFault where none was found."""
        if self.checkpoint is None:
            raise EngineFault(f"{self.tokenizer_missing}; name the tokenizer: -o tokenizer=ID")
        return Tokens(self.checkpoint.tokenizer, name=self.checkpoint.name)

    @functools.cached_property
    def _spellings(self) -> Mapping[str, int]:
        """Token ids by their text, where only one token has that text."""
        tokenizer = self.tokens.tokenizer
        found: dict[str, int] = {}
        doubled = set()
        for token, text in enumerate(tokenizer.batch_decode([[i] for i in range(len(tokenizer))])):
            if found.setdefault(text, token) != token:
                doubled.add(text)
        return {text: token for text, token in found.items() if text not in doubled}

    def _spelled(self, text: str) -> int | None:
        name, _, number = text.partition("token_id:")
        return self._spellings.get(text) if name or not number.isdigit() else int(number)

    def require(self, path: str, kind: type) -> None:
        """Raise EngineFault, naming what there is, where a server has no `path` for `kind`."""
        for look in self.looks:
            if path not in look.paths:
                served = ", ".join(p for p in look.paths if p != "/tokenize") or "nothing we know"
                raise EngineFault(
                    f"{look.url} cannot answer {kind.__name__}: it has no {path}; it has {served}"
                )

    @property
    def identity(self) -> Mapping[str, str | None]:
        """What tells these servers' replies from others'; None where it does not apply.

        Their addresses stand for what neither a name nor the answers to the probe can tell.
        """
        place = self.checkpoint.place if self.checkpoint else None
        probe = fingerprint(self.probed.values())
        words = self.dialect.completions
        return {
            "model": self.model,
            "root": self.root,
            "base_url": None if self.root and probe else ",".join(x.url for x in self.looks),
            "probe": probe,
            "version": ",".join(sorted({look.version for look in self.looks if look.version})),
            "tokenizer": str(place.fingerprint or place.revision) if place else None,
            "packages": packages(("tokenizers", "transformers")) if place else None,
            "context": str(self.context),
            "labels": words.labels and str(words.labels),
            "likelihood": words.likelihood,
            "pairs": str(self.route) or None,
            "adapter": self.options.adapter,
            "adapter_root": self.options.adapter and self.looks[0].root(self.model),
            "dtype": self.options.dtype,
            "head": self.options.head,
            "pair_template": self.checkpoint.pair_template if self.checkpoint else None,
        }

    @property
    def capabilities(self) -> Mapping[str, Mapping[str, str]]:
        """Per server what was found, or why it is no longer used."""
        gone = {server.url: server.gone for server in self.client.servers if server.gone}
        told = self.identity
        ways = {key: str(told[key]) for key in ("labels", "likelihood", "pairs") if told[key]}
        probes = {url: fingerprint([numbers]) for url, numbers in self.probed.items()}
        found = {
            look.url: {
                "model": self.model,
                "root": str(self.root),
                "version": str(look.version),
                "context": str(self.context),
                "tokenizer": self.checkpoint.name if self.checkpoint else self.tokenizer_missing,
                "serves": ", ".join(look.paths),
                "probe": str(probes.get(look.url)),
                **ways,
            }
            for look in self.looks
        }
        return {**found, **{url: {**found.get(url, {}), "gone": why} for url, why in gone.items()}}


def open_site(options: EngineOptions) -> tuple[Site, float]:
    """Wait for the servers and look at them; returns the seconds that the waiting took.

    Raises EngineFault where none is up, or where they serve no such model, or different ones.
    """
    client = Client(
        _urls(options),
        Judge(_key(options), options.api_key_env),
        concurrency=options.concurrency,
        request_seconds=options.request_seconds,
    )
    try:
        waited = _await(client, options.wait_seconds)
        return _site(options, client), waited
    except BaseException:
        client.close()
        raise


def _urls(options: EngineOptions) -> list[str]:
    """Where the servers are; /v1 at the end is left off, as the paths posted to begin with it."""
    given = [url.strip().rstrip("/") for url in (options.base_url or "").split(",") if url.strip()]
    if not given:
        raise BadOption("engine http needs --base-url URL")
    for url in given:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadOption(f"base_url {parts.hostname or url!r} is no http:// or https:// address")
        if parts.username is not None:
            raise BadOption("base_url must not hold a name or password: use api_key_env")
    return list(dict.fromkeys(url.removesuffix("/v1") for url in given))


def _key(options: EngineOptions) -> str | None:
    if options.api_key_env is None:
        return None
    key = os.environ.get(options.api_key_env, "").strip()
    if not key:
        raise BadOption(
            f"api_key_env: the environment has no {options.api_key_env}, or it is empty"
        )
    if not key.isascii() or not key.isprintable():
        raise BadOption(f"api_key_env: {options.api_key_env} holds characters that no key has")
    return key


def _await(client: Client, seconds: float) -> float:
    """Wait until the servers are up, with a progress line; returns seconds."""
    started = time.perf_counter()
    client.each(lambda server: client.await_up(server, 0.0))
    late = [server for server in client.servers if server.gone]
    if late and seconds > 0:
        for server in late:
            server.gone = None
        with bar(f"waiting for {', '.join(server.url for server in late)}"):
            client.each(lambda server: client.await_up(server, seconds))
    if not client.there:
        told = "; ".join(f"{server.url} is {server.gone}" for server in client.servers)
        raise EngineFault(f"{told}: start it, or look at base_url and wait_seconds")
    return time.perf_counter() - started


def _site(options: EngineOptions, client: Client) -> Site:
    looks = tuple(client.each(lambda server: look_at(client, server)).values())
    model = _model(options, looks)
    base = _base(options, looks[0], model)
    root = _same(f"model {base}", {look.url: look.root(base) for look in looks})
    checkpoint, missing = _checkpoint(options, root, base)
    told = [look.context(base) for look in looks]
    own = checkpoint.context if checkpoint else sys.maxsize
    context = min([options.max_model_len or sys.maxsize, own, *told])
    return Site(options, client, looks, model, root, checkpoint, missing, context)


def _model(options: EngineOptions, looks: Sequence[Look]) -> str:
    """The name to post: the adapter's or the model's, else that of the only model served."""
    wanted = options.adapter or options.model
    for look in looks:
        if wanted is None and len(look.names) != 1:
            told = ", ".join(look.names) or "does not say what"
            raise EngineFault(f"{look.url} serves {told}: choose a --model")
        wanted = wanted or look.names[0]
        if look.entries and wanted not in look.entries:
            raise EngineFault(f"{look.url}: {unknown('served model', wanted, look.entries)}")
    assert wanted is not None  # noqa: S101 - there is at least one server
    return wanted


def _base(options: EngineOptions, look: Look, model: str) -> str:
    """The model behind the name that is posted, which may be an adapter's."""
    return options.model or str(look.entries.get(model, {}).get("parent") or model)


def _same(what: str, found: Mapping[str, Any]) -> Any:
    """What all servers have in common. Raises EngineFault where they differ."""
    if len(set(found.values())) > 1:
        told = "; ".join(f"{url}: {value}" for url, value in found.items())
        raise EngineFault(f"the servers differ in {what} ({told}): run them apart")
    return next(iter(found.values()))


def _checkpoint(
    options: EngineOptions, root: str | None, model: str
) -> tuple[Checkpoint | None, str]:
    """The tokenizer's files: as told, else of what the server serves, else of the model's name.

    Code that comes with a model is run only if the user named the model, not if a server did.
    """
    local = replace(options, engine="transformers", adapter=None, dtype=None)
    if options.tokenizer:
        return open_checkpoint(replace(local, model=options.tokenizer)), ""
    missing = []
    for name in dict.fromkeys([root, model]):
        trusted = options.trust_remote_code and name == options.model
        try:
            if name:
                told = replace(local, model=name, trust_remote_code=trusted)
                return open_checkpoint(told), ""
        except EngineFault as error:
            missing.append(str(error))
    return None, missing[0] if missing else "the server does not say what it serves"
