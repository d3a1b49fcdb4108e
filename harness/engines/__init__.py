"""That which answers requests. The seam is three verbs: `supports`, `answer`, `fit`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from ..errors import EngineFault, unknown

if TYPE_CHECKING:
    from ..types import Engine

ENGINES = {
    "fake": ("fake", "open_overlap"),
    "none": ("none", "NoEngine"),
    "transformers": ("transformers", "TransformersEngine"),
}
"""Engine name -> (module in this folder, what builds it from options)."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How to open an engine. Only what is named here can be set with `-o` or in a reranker's name.

    engine: a name of `ENGINES`. model: a hub id, a folder, a `.gguf` file, or a short name
    (`minilm`, `smollm2`) of a model that a pip package brings. revision: a hub revision.
    adapter: a LoRA adapter, hub id or folder. dtype: `float32`, `bfloat16` or `float16`; by default
    float32 on a CPU and bfloat16 on a GPU. device: `cpu`, `cuda`, `cuda:1`, `mps`.
    head: how pairs are scored, `classifier` or `maxsim`; by default read off the model.
    batch_tokens: padded tokens in one forward pass. max_length: a context shorter than the model's.
    trust_remote_code: run code that comes with the model; off unless asked for.
    """

    engine: str = "transformers"
    model: str | None = None
    revision: str | None = None
    adapter: str | None = None
    dtype: str | None = None
    device: str | None = None
    head: str | None = None
    batch_tokens: int | None = None
    max_length: int | None = None
    trust_remote_code: bool = False


def open_engine(options: EngineOptions) -> Engine:
    """Build the engine that `options` names; its model is loaded when it is first used.

    Raises UnknownName for an engine that does not exist.
    """
    if options.engine not in ENGINES:
        raise unknown("engine", options.engine, ENGINES)
    module, builder = ENGINES[options.engine]
    found = importlib.import_module(f".{module}", __name__)
    return cast("Engine", getattr(found, builder)(options))


def require_support(engine: Engine, asks: frozenset[type], *, reranker: str) -> None:
    """Raise EngineFault, naming engines that would do, unless `engine` answers all of `asks`."""
    if engine.supports(asks):
        return
    wanted = ", ".join(sorted(kind.__name__ for kind in asks))
    others = [n for n in ENGINES if n != engine.name and _could(n, asks)]
    cure = f"use --engine {' or '.join(others)}" if others else "no engine here does"
    raise EngineFault(f"{reranker} asks for {wanted}, which {engine.name} cannot answer; {cure}")


def _could(name: str, asks: frozenset[type]) -> bool:
    return open_engine(EngineOptions(engine=name)).supports(asks)
