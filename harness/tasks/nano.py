"""The Nano layout, wherever it lies: configs `corpus`, `queries`, qrels and candidate lists.

Each config has one split per task. The layout is that of HAKARI-Bench's and sentence-transformers'
Nano data sets: `_id` and `text`; `query-id`, `corpus-id` and perhaps `score`; `query-id` and
`corpus-ids`, best first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from ..errors import BadData, unknown
from .checking import Tables, make_task
from .tables import Table, ranked_lists
from .task import Source, Task, TaskOptions, TaskRef
from .trec import read_trec_qrels


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


def nano_tasks(
    reader: NanoReader,
    set_name: str,
    *,
    options: TaskOptions,
    splits: Sequence[str] | None = None,
) -> list[TaskRef]:
    """Return the data set's tasks, or those of `splits`, without reading a row.

    Raises BadData where a needed config or split is missing, UnknownName where no config knows a
    split that was asked for.
    """
    needed = _needed(reader, options)
    known = dict.fromkeys(split for config in needed for split in reader.splits(config))
    for split in splits or ():
        if split not in known:
            raise unknown(f"task of {reader.source.dataset}", split, known)
    wanted = list(splits or known)
    if not wanted:
        raise BadData(f"{reader.source.dataset}: config {needed[0]!r} has no splits")
    for config in needed:
        _check_splits(reader, config, wanted)
    return [
        TaskRef(
            f"{set_name}/{split}", partial(_load, reader, f"{set_name}/{split}", split, options)
        )
        for split in wanted
    ]


def _needed(reader: NanoReader, options: TaskOptions) -> list[str]:
    configs = reader.configs()
    for config in ("corpus", "queries"):
        if config not in configs:
            raise _no_config(reader, config)
    if options.qrels in configs:
        return ["corpus", "queries", options.qrels]
    if Path(options.qrels).is_file():
        return ["corpus", "queries"]
    if options.qrels == "qrels":
        raise _no_config(reader, "qrels")
    raise unknown("qrels config or file", options.qrels, _qrels_configs(configs))


def _no_config(reader: NanoReader, config: str) -> BadData:
    has = ", ".join(reader.configs()) or "none"
    where = f"{reader.source.dataset} has no config {config!r} (has: {has})"
    return BadData(f"{where}; a Nano data set needs corpus, queries and qrels")


def _qrels_configs(configs: Sequence[str]) -> list[str]:
    return [config for config in configs if config.startswith("qrels")]


def _check_splits(reader: NanoReader, config: str, wanted: Sequence[str]) -> None:
    has = reader.splits(config)
    missing = [split for split in wanted if split not in has]
    if missing:
        where = f"{reader.source.dataset}: config {config!r} has no split {', '.join(missing)}"
        raise BadData(f"{where} (has: {', '.join(has) or 'none'}); name one task that is whole")


def _load(reader: NanoReader, name: str, split: str, options: TaskOptions) -> Task:
    in_config = options.qrels in reader.configs()
    return make_task(
        name,
        split,
        tables=Tables(
            queries=reader.read("queries", split),
            corpus=reader.read("corpus", split),
            qrels=reader.read(options.qrels, split)
            if in_config
            else read_trec_qrels(Path(options.qrels)),
        ),
        source=reader.source,
        shipped=NanoLists(reader, split),
        options=options,
    )


@dataclass(frozen=True, slots=True)
class NanoLists:
    """The candidate configs that hold a list for one split."""

    reader: NanoReader
    split: str

    def names(self) -> tuple[str, ...]:
        """Return the candidate configs that have this split."""
        return tuple(c for c in self._configs() if self.split in self.reader.splits(c))

    def _configs(self) -> list[str]:
        configs = self.reader.configs()
        known = {"corpus", "queries", *_qrels_configs(configs)}
        return [config for config in configs if config not in known]

    def load(self, config: str) -> Mapping[str, tuple[str, ...]]:
        """Return query id -> document ids, best first; raise UnknownName or BadData."""
        candidates = self._configs()
        if config not in candidates:
            raise unknown(f"candidate list of {self.reader.source.dataset}", config, candidates)
        _check_splits(self.reader, config, [self.split])
        return ranked_lists(self.reader.read(config, self.split))
