"""A transformers engine on a CPU, and texts to ask about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rerank_bench.engines.local import TransformersEngine, TransformersOptions

Engines = Callable[..., TransformersEngine]


@pytest.fixture(scope="session")
def engine() -> Engines:
    """Open a CPU engine: `engine(folder, option=…)`; each distinct one loads once."""
    opened: dict[TransformersOptions, TransformersEngine] = {}

    def open_one(folder: Path, **options: Any) -> TransformersEngine:
        key = TransformersOptions(model=str(folder), device="cpu", **options)
        if key not in opened:
            opened[key] = TransformersEngine(key)
        return opened[key]

    return open_one


@pytest.fixture(scope="session")
def texts(checkpoints: Any) -> list[str]:
    """Real sentences of very different lengths."""
    lines = checkpoints.TEXTS
    return [*lines[:40], "", "one", " ".join(lines[100:106]), "naïve 日本語 text 🙂"]
