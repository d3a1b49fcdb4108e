"""A suite as a table: the flags of `rerank-bench run`, or the same names in a TOML file.

[defaults]          # any flag
queries = 50
[[task]]            # task, and the flags that a task has
task = "NanoMMTEB-v2/belebele"
[[profile]]         # profile, and the flags that a profile has
profile = "bm25"
[[reranker]]        # reranker, and any of its options
reranker = "listwise"
model = "./my-model"
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engines import option_kinds
from ..errors import BadData, BadOption, unknown
from ..folders import cache_folder
from ..pools import PoolOptions
from ..reranking import Choice, Defaults, Scope, choose_with, with_stages
from ..runs import variants
from ..tasks import TaskOptions
from .prepared import Suite
from .shards import Shard

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

Table = Mapping[str, Any]

TASK_FLAGS = {
    "hub": str,
    "revision": str,
    "qrels": str,
    "min-grade": int,
    "exclude-identical": bool,
    "query-id": str,
    "ignore-column": list,
}
PROFILE_FLAGS = {"query-prompt": str, "query-prompt-name": str, "doc-prompt": str, "device": str}
SCOPE_FLAGS = {
    "queries": int,
    "seed": int,
    "depth": int,
    "max-doc-chars": int,
    "max-doc-tokens": int,
    "instructions": str,
    "keep-going": bool,
}
VARIANT_FLAGS = {"orders": str, "repeat": int, "shuffle-submission": bool, "one-at-a-time": bool}
PLACE_FLAGS = {"out": str, "cache": str, "no-cache": bool, "shard": str}
RERANKER_FLAGS = {
    "model": str,
    "engine": str,
    "base-url": str,
    "data-parallel": int,
    "ray-address": str,
    "option": dict,
}
DEFAULTS = TASK_FLAGS | PROFILE_FLAGS | SCOPE_FLAGS | VARIANT_FLAGS | PLACE_FLAGS | RERANKER_FLAGS
_LISTS: Mapping[str, Mapping[str, type] | None] = {
    "task": TASK_FLAGS,
    "profile": PROFILE_FLAGS,
    "reranker": None,  # whatever options it has: the registry checks them
}


def shipped_suites() -> dict[str, Traversable]:
    """Return the suite files of this package by name."""
    files = resources.files(__package__).iterdir()
    return {f.name.removesuffix(".toml"): f for f in files if f.name.endswith(".toml")}


def read_suite(path: Path) -> Table:
    """Read a suite file, or the shipped suite of this name where no such file is.

    UnknownName for a mere name that is neither; BadData names the file and the key that is wrong.
    """
    shipped = {} if path.exists() else shipped_suites()
    is_name = path.name == str(path) and not path.suffix
    if is_name and not path.exists() and path.name not in shipped:
        raise unknown("suite file or shipped suite", path.name, shipped)
    file = shipped.get(str(path), path)
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadData(f"suite {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadData(f"suite {path}: {error}") from error
    for key in table:
        if key not in {"defaults", *_LISTS}:
            raise unknown(f"table in {path}:", key, ["defaults", *_LISTS])
    where = f"{path}: [defaults]"
    _check(_is_table(table.get("defaults", {}), where), DEFAULTS, where=where)
    for kind, flags in _LISTS.items():
        rows = table.get(kind, [])
        if not isinstance(rows, list):
            raise BadData(f"{path}: write [[{kind}]], for a list, not [{kind}]")
        for row in rows:
            if not isinstance(_is_table(row, f"{path}: [[{kind}]]").get(kind), str):
                raise BadData(f'{path}: a [[{kind}]] has no {kind} = "…"')
            if flags is not None:
                _check(row, {kind: str, **flags}, where=f"{path}: [[{kind}]]")
    return table


def _is_table(value: Any, where: str) -> Table:
    if not isinstance(value, dict):
        raise BadData(f"{where} is no table")
    return value


def _check(row: Table, kinds: Mapping[str, type], *, where: str) -> None:
    for key, value in row.items():
        if key not in kinds:
            raise unknown(f"key in {where}", key, kinds)
        if type(value) is not kinds[key]:
            raise BadOption(f"{where}: {key} takes {kinds[key].__name__}, not {value!r}")


def merge(file: Table, flags: Table) -> dict[str, Any]:
    """Lay flags over a suite file: lists that are given replace the file's, defaults are mixed."""
    below, above = file.get("defaults", {}), flags["defaults"]
    merged: dict[str, Any] = {"defaults": {**below, **above}}
    option = {**below.get("option", {}), **above.get("option", {})}
    if option:
        merged["defaults"]["option"] = option
    for kind in _LISTS:
        merged[kind] = list(flags.get(kind) or file.get(kind, ()))
    return merged


def to_toml(table: Table) -> str:
    """Write a suite table as the TOML that `read_suite` reads back."""
    import tomli_w

    return tomli_w.dumps({key: value for key, value in table.items() if value})


def build_suite(table: Table) -> Suite:
    """Resolve every name of a suite table; raises what the registry raises, and BadOption."""
    defaults = table.get("defaults", {})
    if not table.get("reranker"):
        raise BadOption("nothing to run: name a reranker with --reranker or in a suite file")
    orders = [text.strip() for text in defaults.get("orders", "").split(",") if text.strip()]
    found = variants(
        orders,
        repeat=defaults.get("repeat", 1),
        shuffled=defaults.get("shuffle-submission", False),
        alone=defaults.get("one-at-a-time", False),
    )
    cache = Path(defaults.get("cache") or cache_folder() / "replies")
    return replace(
        pool_suite(table),
        rerankers=choices(table["reranker"], defaults),
        out=Path(defaults.get("out", "runs")),
        cache=None if defaults.get("no-cache") else cache,
        scope=Scope(**_named(defaults, SCOPE_FLAGS)),
        variants=found,
        shard=Shard.of(defaults["shard"]) if "shard" in defaults else Shard(),
    )


def pool_suite(table: Table) -> Suite:
    """Read the tasks and profiles of a suite table, for a suite without rerankers."""
    defaults = table.get("defaults", {})
    if not table.get("task"):
        raise BadOption("nothing to run: name a task with --task or in a suite file")
    tasks = [(row["task"], _named({**defaults, **row}, TASK_FLAGS)) for row in table["task"]]
    profiles = [
        (row["profile"], _named({**defaults, **row}, PROFILE_FLAGS))
        for row in table.get("profile") or [{"profile": "bm25"}]
    ]
    return Suite(
        tasks=[(name, TaskOptions(**options)) for name, options in tasks],
        profiles=[(name, PoolOptions(**options)) for name, options in profiles],
        rerankers=[],
        out=Path("runs"),
        scope=Scope(keep_going=defaults.get("keep-going", False)),
    )


def _named(flags: Table, wanted: Mapping[str, type]) -> dict[str, Any]:
    return {name.replace("-", "_"): flags[name] for name in wanted if flags.get(name) is not None}


def choices(rows: Sequence[Table], defaults: Table) -> list[Choice]:
    """Build the rerankers of a suite's `[[reranker]]` tables, and the stages of cascades."""
    names = ("base_url", "data_parallel", "ray_address")
    flags = {name: defaults.get(name.replace("_", "-")) for name in names}
    asked = {name: value for name, value in flags.items() if value is not None}
    fallback = Defaults(
        defaults.get("model"), defaults.get("engine"), {**asked, **defaults.get("option", {})}
    )
    built = []
    for row in rows:
        further = {key: value for key, value in row.items() if key != "reranker"}
        built.append(choose_with(row["reranker"], further, fallback))
    built = with_stages(built)
    for option in fallback.options:
        if not any(option in c.options or option in option_kinds(c.engine.name) for c in built):
            flag = f"--{option.replace('_', '-')}" if option in asked else f"-o {option}"
            engines = ", ".join(sorted({choice.engine.name for choice in built}))
            raise BadOption(
                f"{flag}: neither a reranker nor its engine ({engines}) has this option"
            )
    return built
