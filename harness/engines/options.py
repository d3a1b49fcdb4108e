"""Engines by name: their options, and how an engine is chosen and opened.

An engine is a class behind an entry point of the group `rerank_bench.engines`. Its class attribute
`Options` is a frozen dataclass whose fields are its options, and `is_real` whether its numbers mean
anything; the class is called with an instance.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from importlib import metadata
from typing import Any, Protocol, cast

from ..errors import BadOption, EngineFault, RerankBenchError, unknown
from ..signatures import typed
from ..types import Engine

GROUP = "rerank_bench.engines"
DEFAULT_ENGINE = "transformers"


class EngineClass(Protocol):
    """What an entry point of the group `rerank_bench.engines` refers to."""

    Options: type
    is_real: bool

    def __call__(self, options: Any, /) -> Engine:
        """Open the engine; no model is loaded yet."""


def option(
    default: Any, *, least: int | None = None, in_label: bool = False, from_reranker: bool = False
) -> Any:
    """Declare a field of an engine's options.

    least: the lowest number that is allowed. in_label: a run's label shows that it was set, as
    replies depend on it. from_reranker: the reranker sets it, a user cannot.
    """
    declared = {"least": least, "in_label": in_label, "from_reranker": from_reranker}
    return field(default=default, metadata=declared)


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Options of engines that read a checkpoint.

    model: a hub id, a folder, a `.gguf` file, or a short name (`minilm`, `smollm2`) of a model that
        a pip package brings.
    revision: a hub revision.
    adapter: a LoRA adapter, hub id or folder.
    dtype: `float32`, `bfloat16` or `float16`; by default float32 on a CPU and bfloat16 on a GPU.
    head: what scores pairs: `classifier` or `maxsim`; by default read off the model.
    pair_template: how a query and a document become one text for a classification head: a Jinja
        template over `query` and `document`, or the path of one (.jinja).
    max_model_len: a context shorter than the model's, in tokens.
    max_num_batched_tokens: tokens in one forward pass.
    trust_remote_code: run code that comes with the model.
    """

    model: str
    revision: str | None = option(None, in_label=True)
    adapter: str | None = option(None, in_label=True)
    dtype: str | None = option(None, in_label=True)
    head: str | None = option(None, in_label=True)
    pair_template: str | None = option(None, in_label=True)
    max_model_len: int | None = option(None, least=1, in_label=True)
    max_num_batched_tokens: int | None = option(None, least=1)
    trust_remote_code: bool = False

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> ModelOptions:
        """Take the options of a checkpoint out of any engine's, given by name."""
        return cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values})

    def require_head(self, known: Sequence[str]) -> None:
        """Raise BadOption for a head that is none of `known`."""
        if self.head is not None and self.head not in known:
            raise BadOption(f"head {self.head!r} is none of {', '.join(known)}")


CHECKPOINT_OPTIONS = frozenset(f.name for f in fields(ModelOptions))
"""Options that say which checkpoint is read, and how."""


@dataclass(frozen=True)
class EngineChoice:
    """An engine's name and its options; equal choices share one engine."""

    name: str
    options: Any

    @property
    def values(self) -> dict[str, Any]:
        """The options by name."""
        return {f.name: getattr(self.options, f.name) for f in fields(self.options)}

    @property
    def model(self) -> str | None:
        """The model, where the engine has such an option and it is set."""
        return cast("str | None", self.values.get("model"))

    def open(self) -> Engine:
        """Open the engine; its model is loaded at the first request."""
        return engine_class(self.name)(self.options)


def engine_points() -> dict[str, metadata.EntryPoint]:
    """Return every installed engine, name -> entry point; nothing is imported."""
    return {entry.name: entry for entry in metadata.entry_points(group=GROUP)}


@functools.cache
def engine_class(name: str) -> EngineClass:
    """Import the engine `name`; raises UnknownName, or EngineFault where it cannot be imported."""
    points = engine_points()
    if name not in points:
        raise unknown("engine", name, points)
    try:
        return cast("EngineClass", points[name].load())
    except Exception as error:
        raise EngineFault(f"engine {name} cannot be imported: {error}") from error


def option_fields(name: str) -> dict[str, Field[Any]]:
    """Return the options of engine `name` that a user can set, by name."""
    found = fields(engine_class(name).Options)
    return {f.name: f for f in found if not f.metadata.get("from_reranker")}


def option_kinds(name: str) -> dict[str, Any]:
    """Return the options of engine `name` with their types."""
    kinds = typing.get_type_hints(engine_class(name).Options)
    return {option: kinds[option] for option in option_fields(name)}


def readers(option: str) -> list[str]:
    """Return the engines that have this option."""
    return [name for name in engine_points() if option in option_fields(name)]


def require_options(name: str, given: Mapping[str, Any]) -> None:
    """Raise BadOption or UnknownName for an option that engine `name` does not have."""
    known = option_fields(name)
    for key in given:
        if key not in known and readers(key):
            others = " or ".join(readers(key))
            raise BadOption(f"engine {name} has no option {key}; it is one of {others}")
        if key not in known:
            raise unknown(f"option of engine {name}:", key, known)


def missing_option(name: str, given: Mapping[str, Any]) -> str | None:
    """Return the first option of engine `name` that must be set and is not."""
    known = option_fields(name).values()
    required = (f.name for f in known if f.default is MISSING and f.default_factory is MISSING)
    return next((option for option in required if given.get(option) is None), None)


def choose_engine(name: str, given: Mapping[str, Any], **from_reranker: Any) -> EngineChoice:
    """Return engine `name` with options `given`, whose values may be strings.

    from_reranker: values of the options that a reranker sets; an engine without them ignores them.

    Raises UnknownName or BadOption for an engine or option that does not exist, and BadOption for
    one that is missing or has a wrong value.
    """
    require_options(name, given)
    missing = missing_option(name, given)
    if missing is not None:
        raise BadOption(f"engine {name} needs the option {missing}")
    known, kinds = option_fields(name), option_kinds(name)
    values = {
        key: typed(value, kinds[key], where=f"engine {name}: option {key}")
        for key, value in given.items()
    }
    for key, value in values.items():
        least = known[key].metadata.get("least")
        if least is not None and value is not None and value < least:
            raise BadOption(f"engine {name}: {key} must be at least {least}, not {value}")
    factory = engine_class(name).Options
    values |= {f.name: from_reranker[f.name] for f in fields(factory) if f.name in from_reranker}
    return EngineChoice(name, factory(**values))


def open_engine(name: str, **options: Any) -> Engine:
    """Open engine `name`; raises what `choose_engine` does."""
    return choose_engine(name, options).open()


def require_support(engine: Engine, kinds: frozenset[type], *, reranker: str) -> None:
    """Raise EngineFault, naming engines that would do, unless `engine` answers all of `kinds`."""
    if engine.supports(kinds):
        return
    wanted = ", ".join(sorted(kind.__name__ for kind in kinds))
    others = [
        name
        for name in engine_points()
        if name != engine.name and could_answer(name, kinds) and engine_class(name).is_real
    ]
    cure = f"use --engine {' or '.join(others)}" if others else "no engine here does"
    raise EngineFault(f"{reranker} yields {wanted}, which {engine.name} cannot answer; {cure}")


def could_answer(name: str, kinds: frozenset[type]) -> bool:
    """Return whether the engine `name` answers these request types with some model."""
    missing = missing_option(name, {})
    try:
        return choose_engine(name, {missing: "any"} if missing else {}).open().supports(kinds)
    except RerankBenchError:
        return False
