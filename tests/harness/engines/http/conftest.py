"""Scripted servers, and engines that send requests to them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import _base_client

from rerank_bench.engines.http import HttpEngine, HttpOptions, client


def _neighbour(name: str) -> Any:
    """The module `name` of this folder, under the same name to all of its tests."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


scripted = _neighbour("scripted")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_base_client, "INITIAL_RETRY_DELAY", 0.002)
    monkeypatch.setattr(client, "POLL_SECONDS", 0.02)


@pytest.fixture
def serve(llama: Path) -> Iterator[Callable[..., Any]]:
    """Start scripted servers: `serve(routes)`, or one that is as vLLM with the tiny Llama."""
    started: list[Any] = []

    def start(routes: dict[str, Any] | None = None, **options: Any) -> Any:
        routes = scripted.vllm(str(llama), **options) if routes is None else routes
        started.append(scripted.serve(routes))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def opened() -> Iterator[Callable[..., HttpEngine]]:
    """Open engines on servers; they are closed at the test's end."""
    engines: list[HttpEngine] = []

    def start(*servers: Any, model: str | None = "m", **options: Any) -> HttpEngine:
        urls = ",".join(getattr(server, "url", server) for server in servers)
        given = {"wait_seconds": 0.0, **options}
        engines.append(HttpEngine(HttpOptions(model=model, base_url=urls, **given)))
        return engines[-1]

    yield start
    for engine in engines:
        engine.close()


@pytest.fixture
def checked(opened: Callable[..., HttpEngine]) -> Callable[..., HttpEngine]:
    """Open an engine whose check is over, and forget what was posted for it."""

    def start(*servers: Any, **options: Any) -> HttpEngine:
        engine = opened(*servers, **options)
        assert engine.identity
        for server in servers:
            server.posts.clear()
            server.most = 0
        return engine

    return start


@pytest.fixture
def served(
    serve: Callable[..., Any], checked: Callable[..., HttpEngine]
) -> Callable[..., tuple[Any, HttpEngine]]:
    """Start a scripted server, and open an engine on it whose check is over."""

    def start(routes: dict[str, Any] | None = None, **options: Any) -> tuple[Any, HttpEngine]:
        server = serve(routes)
        return server, checked(server, **options)

    return start
