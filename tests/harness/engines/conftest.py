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


@pytest.fixture(scope="session")
def composed(base_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-encoder of two modules: a language model, and a score of two of its logits."""
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.cross_encoder.modules import LogitScore

    folder = tmp_path_factory.mktemp("composed")
    transformer = Transformer(str(base_llama), transformer_task="text-generation")
    yes, no = (transformer.tokenizer.encode(t, add_special_tokens=False)[0] for t in ("y", "n"))
    CrossEncoder(modules=[transformer, LogitScore(yes, no)]).save_pretrained(str(folder))
    return folder
