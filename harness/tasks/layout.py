"""Which configs and splits hold a task: in the Nano layout, and in MTEB's.

Nano: configs `corpus`, `queries` and `qrels`, with one split per task. MTEB (as its loader of
retrieval data sets reads them, https://github.com/embeddings-benchmark/mteb): the qrels may be
config `default`; corpus and queries may have one split for all tasks, named `corpus` and `queries`;
a subset, often a language, has configs of its own: `SUBSET-corpus`, `SUBSET-queries`, …
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..errors import BadData, unknown
from .tables import Table
from .task import Source

_FOR_ALL = frozenset({"corpus", "queries", "train", "validation", "dev", "test"})
"""Names of an only split which may hold the rows of all tasks."""


class NanoReader(Protocol):
    """What can list and read the configs of one data set in the Nano layout."""

    @property
    def source(self) -> Source:
        """Where the data lie; its sha256 is not known yet."""
        ...

    def configs(self) -> tuple[str, ...]:
        """Return the names of all configs."""
        ...

    def splits(self, config: str) -> tuple[str, ...]:
        """Return the splits of one config, in the data set's order."""
        ...

    def read(self, config: str, split: str) -> Table:
        """Return one split; raise BadData where it cannot be read."""
        ...

    def columns(self, config: str, split: str) -> Sequence[str] | None:
        """Return the columns of one split, None where only reading it would tell them."""
        ...


@dataclass(frozen=True, slots=True)
class Layout:
    """The configs of one subset of a data set: those whose names begin with `prefix`.

    `qrels` is the config of the judgements, None where they come from a file.
    """

    reader: NanoReader
    prefix: str
    qrels: str | None

    def configs(self) -> list[str]:
        """Return the configs that every task needs."""
        needed = [f"{self.prefix}corpus", f"{self.prefix}queries"]
        return needed if self.qrels is None else [*needed, self.qrels]

    def is_shared(self, config: str) -> bool:
        """Say whether `config` has one split, which is for all tasks."""
        has = self.reader.splits(config)
        if config == self.qrels or len(has) != 1 or has[0] not in _FOR_ALL:
            return False
        if self.qrels is None:
            return f"{self.prefix}{has[0]}" == config
        return has[0] not in self.reader.splits(self.qrels)

    def splits(self) -> list[str]:
        """Return the splits that are tasks, those too that some config lacks."""
        own = [config for config in self.configs() if not self.is_shared(config)]
        return list(dict.fromkeys(split for c in own for split in self.reader.splits(c)))

    def check(self, wanted: Sequence[str]) -> None:
        """Raise BadData where a config lacks one of the splits `wanted`."""
        for config in self.configs():
            if not self.is_shared(config):
                check_splits(self.reader, config, wanted)

    def read(self, name: str, split: str) -> Table:
        """Return the rows of task `split` in config `corpus` or `queries`."""
        config = f"{self.prefix}{name}"
        shared = self.is_shared(config)
        return self.reader.read(config, self.reader.splits(config)[0] if shared else split)

    def candidates(self) -> list[str]:
        """Return the configs with candidate lists, without their prefix.

        MTEB's `top_ranked` is none: its documents are in no order.
        """
        configs = self.reader.configs()
        others = [p for p in _prefixes(configs) if p and not self.prefix]
        mine = [c.removeprefix(self.prefix) for c in configs if c.startswith(self.prefix)]
        known = {"corpus", "queries", "default", "top_ranked", *qrels_configs(mine)}
        return [c for c in mine if c not in known and not c.startswith(tuple(others))]


def layouts(reader: NanoReader, qrels: str) -> list[Layout]:
    """Return the subsets of a data set, with the judgements that `qrels` names.

    Raises BadData where a config is missing, UnknownName where `qrels` is no config and no file.
    """
    configs = reader.configs()
    return [Layout(reader, p, _qrels(reader, p, qrels)) for p in _prefixes(configs) or [""]]


def _prefixes(configs: Sequence[str]) -> list[str]:
    ends = [config.removesuffix("corpus") for config in configs if config.endswith("corpus")]
    return [p for p in ends if p[-1:] in ("", "-") and f"{p}queries" in configs]


def _qrels(reader: NanoReader, prefix: str, asked: str) -> str | None:
    configs = reader.configs()
    for config in ("corpus", "queries"):
        if f"{prefix}{config}" not in configs:
            raise _no_config(reader, config)
    names = [asked, "default"] if asked == "qrels" else [asked]
    found = next((f"{prefix}{name}" for name in names if f"{prefix}{name}" in configs), None)
    if found is None and not Path(asked).is_file():
        if asked == "qrels":
            raise _no_config(reader, f"{prefix}qrels")
        raise unknown("qrels config or file", asked, qrels_configs(configs))
    return found


def _no_config(reader: NanoReader, config: str) -> BadData:
    has = ", ".join(reader.configs()) or "none"
    where = f"{reader.source.dataset} has no config {config!r} (has: {has})"
    return BadData(f"{where}; a Nano data set needs corpus, queries and qrels")


def qrels_configs(configs: Sequence[str]) -> list[str]:
    """Return the configs that hold judgements, by their names."""
    return [config for config in configs if config.startswith("qrels")]


def check_splits(reader: NanoReader, config: str, wanted: Sequence[str]) -> None:
    """Raise BadData where `config` lacks one of the splits `wanted`."""
    has = reader.splits(config)
    missing = [split for split in wanted if split not in has]
    if missing:
        where = f"{reader.source.dataset}: config {config!r} has no split {', '.join(missing)}"
        raise BadData(f"{where} (has: {', '.join(has) or 'none'}); name one task that is whole")
