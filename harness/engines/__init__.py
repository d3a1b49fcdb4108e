"""That which answers requests. The seam is three verbs: `supports`, `answer`, `fit`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

from ..errors import EngineFault, unknown
from .buffers import load_whole
from .cache import Keys, ReplyCache, decode
from .fake import FakeEngine, overlap
from .loading import Checkpoint, no_language_model, open_checkpoint
from .models import PACKAGED, ModelPlace, find_model, packaged, small_json
from .none import NoEngine
from .options import EngineOptions, check_options, option_kinds, readers
from .pairs import no_pair_head, pair_head, require_pair_text
from .pairtemplate import PairTemplate
from .thinking import thoughts
from .tokens import Tokens
from .works import Works

if TYPE_CHECKING:
    from ..types import Engine

__all__ = [
    "ENGINES",
    "PACKAGED",
    "Checkpoint",
    "EngineOptions",
    "FakeEngine",
    "Keys",
    "ModelPlace",
    "NoEngine",
    "PairTemplate",
    "ReplyCache",
    "Tokens",
    "Works",
    "check_options",
    "decode",
    "find_model",
    "load_whole",
    "no_language_model",
    "no_pair_head",
    "open_checkpoint",
    "open_engine",
    "option_kinds",
    "overlap",
    "packaged",
    "pair_head",
    "readers",
    "require_pair_text",
    "require_support",
    "small_json",
    "thoughts",
]

ENGINES = {
    "transformers": ("transformers", "TransformersEngine", "a model in this process, CPU or GPU"),
    "vllm": ("vllm", "VllmEngine", "a model in a vLLM process of its own; extra vllm"),
    "http": ("http", "HttpEngine", "a vLLM server, or another that speaks as OpenAI's does"),
    "fake": ("fake", "open_overlap", "word overlap: to try a reranker, not to judge one"),
    "none": ("none", "NoEngine", "for rerankers that ask nothing"),
}
"""Engine name -> (module in this folder, what builds it from options, what it is)."""


def open_engine(options: EngineOptions) -> Engine:
    """Build the engine that `options` names; its model is loaded when it is first used.

    Raises UnknownName for an engine that does not exist, BadOption for an option it does not read.
    """
    if options.engine not in ENGINES:
        raise unknown("engine", options.engine, ENGINES)
    check_options(options)
    module, builder, _ = ENGINES[options.engine]
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
