"""Rerankers by name: installed methods, catalogue entries, and a file of yours.

A reranker is written `NAME` or `NAME:option=value,option=value`, where NAME is

* a method: an entry point in group `rerank_bench.rerankers`, such as `listwise`;
* a named reranker: an entry of a `catalog.toml`, which fixes method, model, prompt and options;
* `./mine.py:MyReranker`: a class in a file.

Options are the parameters of the method's class and the options of the engine that `engine` names;
`as` sets the label under which runs are stored.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, cast

from ..engines import (
    CHECKPOINT_OPTIONS,
    DEFAULT_ENGINE,
    NO_ENGINE,
    EngineChoice,
    choose_engine,
    missing_option,
    option_fields,
    option_kinds,
    readers,
)
from ..errors import BadData, BadOption, RerankBenchError, RerankerFault, unknown
from ..signatures import parameters, signature, typed
from ..types import Reranker
from .choice import Choice
from .declared import Declared
from .entries import Entry, catalogue

RERANKERS = "rerank_bench.rerankers"
_FILE = re.compile(r"(?P<path>[^:]+\.py):(?P<name>[A-Za-z_]\w*)(?::(?P<options>.*))?", re.DOTALL)
_NEXT_OPTION = re.compile(r",(?=\s*[A-Za-z_]\w*=)")


@dataclass(frozen=True)
class Defaults:
    """What `--model`, `--engine` and `-o` set for every reranker that does not say otherwise."""

    model: str | None = None
    engine: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    def named(self) -> dict[str, str]:
        """Model and engine, where they are set; a catalogue's own model goes before."""
        named = {"model": self.model, "engine": self.engine}
        return {k: v for k, v in named.items() if v is not None}


@functools.cache
def methods() -> Mapping[str, metadata.EntryPoint]:
    """Every installed method, name -> entry point; nothing is imported."""
    return {entry.name: entry for entry in metadata.entry_points(group=RERANKERS)}


def parse(text: str, *, kind: str = "reranker") -> tuple[str, dict[str, Any]]:
    """Split `NAME:option=value,…` into the name and its options, all still strings.

    A comma ends a value only where another `option=` follows. `kind` is for a BadOption's message.
    """
    match = _FILE.fullmatch(text)
    if match:
        name, rest = f"{match['path']}:{match['name']}", match["options"] or ""
    else:
        name, _, rest = text.partition(":")
    options: dict[str, Any] = {}
    for part in _NEXT_OPTION.split(rest) if rest else ():
        key, equals, value = part.partition("=")
        if not equals:
            raise BadOption(f"{kind} {name}: {part!r} is not option=value")
        options[key.strip()] = value
    return name, options


def build(name: str, given: Mapping[str, Any], defaults: Defaults) -> Choice:
    """Build the reranker `name` with options `given`; what they leave open, `defaults` fill.

    Raises UnknownName for a method, name or option that does not exist, BadOption for a value of
    the wrong type or an option that is missing, RerankerFault for a class that cannot be built.
    """
    entry = find_entry(name)
    factory = load_method(entry.method)
    engines = {**defaults.named(), **entry.options, **defaults.options, **given}
    engine_name = str(engines.get("engine", DEFAULT_ENGINE))
    of_engine, of_method = option_kinds(engine_name), parameters(factory)
    fixed = _fixed(entry, of_engine)
    asked = {**defaults.named(), **fixed, **defaults.options, **given}
    kinds = {"engine": str, **of_engine, **of_method, "as": str}
    _check_names(name, {**fixed, **given}, kinds)

    def read(layer: Mapping[str, Any]) -> dict[str, Any]:
        where = f"reranker {name}: option "
        return {k: typed(v, kinds[k], where=where + k) for k, v in layer.items() if k in kinds}

    values = read(asked)
    options = {k: v for k, v in values.items() if k in of_method}
    reranker = _construct(name, factory, options)
    chosen = {k: v for k, v in values.items() if k in of_engine}
    engine = _engine(name, Declared.of(reranker), engine_name, chosen)
    changed = _changed(values, read(fixed), factory, engine.name)
    label = values.get("as") or _label(entry, engine, changed)
    return Choice(label, entry.method, reranker, options, engine, _code(entry.method))


def _fixed(entry: Entry, of_engine: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry's options without those of a checkpoint where the engine reads none."""
    fixed = dict(entry.options) | ({} if entry.model is None else {"model": entry.model})
    if "revision" in of_engine:
        return fixed
    return {k: v for k, v in fixed.items() if k in of_engine or k not in CHECKPOINT_OPTIONS}


def _check_names(name: str, given: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    for key in (key for key in given if key not in kinds):
        if others := " or ".join(readers(key)):
            raise BadOption(f"reranker {name}: {key} is an option of engine {others}")
        raise unknown(f"option of reranker {name}:", key, kinds)


def _engine(name: str, declared: Declared, engine: str, values: Mapping[str, Any]) -> EngineChoice:
    """Choose the engine of a reranker: none at all where it yields no requests."""
    missing = missing_option(engine, values)
    if declared.yields_nothing or (missing and declared.asks is None):
        return NO_ENGINE
    if missing == "model":
        raise BadOption(
            f"reranker {name} needs a model: write {name}:model=ID_OR_FOLDER, or give --model"
        )
    if "head" not in option_fields(engine):
        return choose_engine(engine, values)
    given = {**values, "head": values.get("head") or declared.head}
    if given["head"] != "labels":
        return choose_engine(engine, given)
    if not declared.fixed_labels:
        raise BadOption(f"reranker {name} has no fixed labels, so head=labels does not suit it")
    return choose_engine(engine, given, labels=tuple(declared.fixed_labels))


def find_entry(name: str) -> Entry:
    """Return the catalogue entry `name`, or an empty one for a method or a file."""
    if name in catalogue():
        return catalogue()[name]
    if name in methods() or ":" in name:
        return Entry(name, method=name)
    if name.endswith(".py"):
        raise BadOption(f"reranker {name} is a file: name its class too, as {name}:CLASS")
    raise unknown("reranker", name, [*methods(), *catalogue()])


def load_method(method: str) -> type:
    """Import the class behind a method's name or `FILE.py:Class`."""
    if method in methods():
        try:
            return cast(type, methods()[method].load())
        except Exception as error:
            raise RerankerFault(f"reranker {method} cannot be imported: {error}") from error
    path, _, name = method.rpartition(":")
    if not path:
        raise unknown("reranker method", method, methods())
    return _from_file(Path(path), name)


def _code(method: str) -> str:
    """Which code a method is, so that a changed file is not taken for the one that ran."""
    if method in methods():
        home = methods()[method].dist
        return f"{home.name} {home.version}" if home else method
    return hashlib.sha256(Path(method.rpartition(":")[0]).read_bytes()).hexdigest()


def _from_file(path: Path, name: str) -> type:
    if not path.is_file():
        raise BadData(f"reranker file {path} does not exist")
    unique = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(f"rerank_bench_file_{unique}", path)
    assert spec is not None and spec.loader is not None  # noqa: S101, PT018
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their own module up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name:
            what = f"{path} imports {error.name}, which is not here"
            cure = "install the package that has it, or put it on PYTHONPATH"
            raise RerankerFault(f"{what}: {cure}") from error
        raise RerankerFault(f"{path}: {_first_line(error)}") from error
    classes = {k: v for k, v in vars(module).items() if isinstance(v, type)}
    if name not in classes:
        own = [k for k, v in classes.items() if v.__module__ == spec.name]
        raise unknown(f"class in {path}:", name, own)
    return classes[name]


def _construct(name: str, factory: type, options: Mapping[str, Any]) -> Reranker:
    missing = [
        p.name
        for p in signature(factory).values()
        if p.default is p.empty and p.kind is not p.VAR_KEYWORD and p.name not in options
    ]
    if missing:
        raise BadOption(f"reranker {name} needs the option {missing[0]}")
    try:
        reranker = factory(**options)
    except RerankBenchError:
        raise
    except Exception as error:
        raise RerankerFault(f"reranker {name}: {_first_line(error)}") from error
    if not isinstance(reranker, Reranker):
        raise RerankerFault(f"reranker {name} has no method rerank(candidates)")
    return reranker


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _changed(
    values: Mapping[str, Any], fixed: Mapping[str, Any], factory: type, engine: str
) -> dict[str, Any]:
    """Return the options that set a reranker apart from its namesake with all at its default."""
    usual = {p.name: p.default for p in signature(factory).values()}
    usual |= {k: f.default for k, f in option_fields(engine).items() if f.metadata.get("in_label")}
    usual |= fixed
    return {k: v for k, v in values.items() if k in usual and k != "model" and usual[k] != v}


def _label(entry: Entry, engine: EngineChoice, changed: Mapping[str, Any]) -> str:
    """Catalogue name, or method and the last part of the model; a hash where options differ."""
    label = entry.name.rpartition(":")[2]
    if engine.model and engine.model != entry.model:
        label += "-" + engine.model.rstrip("/").rpartition("/")[2]
    if changed:
        label += "~" + hashlib.sha256(json.dumps(sorted(changed.items())).encode()).hexdigest()[:6]
    return label
