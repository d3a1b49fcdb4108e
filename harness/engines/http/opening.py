"""Opening servers: wait for them, read what they serve, and find the model's tokenizer."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any
from urllib.parse import urlsplit

from ...errors import BadOption, EngineFault, unknown
from ...progress import bar
from ..checkpoint import Checkpoint, open_checkpoint
from ..options import ModelOptions
from .check import Listed, list_models
from .client import Client
from .failures import ApiKey
from .options import HttpOptions
from .service import Service


def open_service(options: HttpOptions) -> tuple[Service, float]:
    """Wait for the servers and read what they serve; return the seconds of waiting too.

    Raises EngineFault where none is up, or where they serve no such model, or different ones.
    """
    urls = _urls(options)
    client = Client(
        urls,
        _key(options),
        concurrency=options.concurrency,
        request_seconds=options.request_seconds,
    )
    try:
        waited = _await_up(client, urls, options.wait_seconds)
        return _service(options, client), waited
    except BaseException:
        client.close()
        raise


def _urls(options: HttpOptions) -> list[str]:
    """Return the addresses without a final /v1, with which the paths begin that are posted to."""
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


def _key(options: HttpOptions) -> ApiKey:
    name = options.api_key_env
    if name is None:
        return ApiKey()
    key = os.environ.get(name, "").strip()
    if not key:
        raise BadOption(f"api_key_env: the environment has no {name}, or it is empty")
    if not key.isascii() or not key.isprintable():
        raise BadOption(f"api_key_env: {name} holds characters that no key has")
    return ApiKey(key, name)


def _await_up(client: Client, urls: Sequence[str], seconds: float) -> float:
    """Wait until the servers are up, with a progress line; return seconds."""
    started = time.perf_counter()
    with bar(f"waiting for {', '.join(urls)}"):
        client.await_up(seconds)
    if not client.servers:
        raise EngineFault(
            f"{', '.join(urls)}: not up within {seconds:g} s; start it, or check base_url and "
            "wait_seconds"
        )
    return time.perf_counter() - started


def _service(options: HttpOptions, client: Client) -> Service:
    listed = client.each(lambda url: list_models(client, url, options.dialect, options.model))
    model = _model(options, listed)
    first = next(iter(listed.values()))
    base = options.model or str(first.models[model].get("parent") or model)
    root = _same(f"model {base}", {url: one.root(base) for url, one in listed.items()})
    checkpoint, missing = _checkpoint(options, root, base)
    own = checkpoint.context if checkpoint else sys.maxsize
    reported = [one.context(base) for one in listed.values()]
    context = min([options.max_model_len or sys.maxsize, own, *reported])
    return Service(options, client, listed, model, root, checkpoint, missing, context)


def _model(options: HttpOptions, listed: Mapping[str, Listed]) -> str:
    """Return the name to post: the adapter's or the model's, else that of the only model served."""
    wanted = options.adapter or options.model
    for url, one in listed.items():
        if wanted is None and len(one.models) != 1:
            names = ", ".join(one.models) or "models that it does not list"
            raise EngineFault(f"{url} serves {names}: choose a --model")
        wanted = wanted or next(iter(one.models))
        if wanted not in one.models:
            raise EngineFault(f"{url}: {unknown('served model', wanted, one.models)}")
    return str(wanted)


def _same(what: str, found: Mapping[str, Any]) -> Any:
    """Return what all servers have in common. Raises EngineFault where they differ."""
    if len(set(found.values())) > 1:
        values = "; ".join(f"{url}: {value}" for url, value in found.items())
        raise EngineFault(f"the servers differ in {what} ({values}): run them apart")
    return next(iter(found.values()))


def _checkpoint(
    options: HttpOptions, root: str | None, model: str
) -> tuple[Checkpoint | None, str]:
    """Open the tokenizer that the options name, else that of the root, else that of the model.

    Code that comes with a model is run only if the user named the model, not if a server did.
    """
    local = ModelOptions.of({**asdict(options), "model": model, "adapter": None, "dtype": None})
    if options.tokenizer:
        return open_checkpoint(replace(local, model=options.tokenizer)), ""
    missing = []
    for name in filter(None, dict.fromkeys([root, model])):
        trusted = options.trust_remote_code and name == options.model
        try:
            return open_checkpoint(replace(local, model=name, trust_remote_code=trusted)), ""
        except EngineFault as error:
            missing.append(str(error))
    return None, missing[0]
