"""Read tasks in the Nano layout or MTEB's: configs of corpus, queries, qrels and candidate lists.

Nano (HAKARI-Bench, sentence-transformers): configs `corpus`, `queries` and `qrels` with one split
per task, and configs with candidate lists. MTEB (https://github.com/embeddings-benchmark/mteb): the
qrels may be config `default`; corpus and queries may have one split for all tasks, named `corpus`
and `queries`; a subset, often a language, has configs of its own: `SUBSET-corpus`, ….
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from ..errors import BadData, unknown
from .build import Tables, build_task
from .columns import unread_columns
from .files import read_trec_qrels
from .table import Table, ranked_lists
from .task import RankedLists, Source, Task, TaskOptions, TaskRef

_SHARED = frozenset({"corpus", "queries", "train", "validation", "dev", "test"})
"""Names that the only split of a config may have if it holds the rows of all tasks."""


class NanoReader(Protocol):
    """List and read the configs of one data set."""

    @property
    def source(self) -> Source:
        """Where the data are; without a sha256."""

    def configs(self) -> tuple[str, ...]:
        """Return the names of all configs."""

    def splits(self, config: str) -> tuple[str, ...]:
        """Return the splits of one config, in the data set's order."""

    def read(self, config: str, split: str) -> Table:
        """Return one split; raise BadData if it cannot be read."""

    def columns(self, config: str, split: str) -> Sequence[str] | None:
        """Return the columns of one split, None if they are not known before it is read."""


@dataclass(frozen=True, slots=True)
class Subset:
    """The configs of a data set whose names begin with `prefix`.

    qrels: config of the judgements; None if they are read from a file.
    """

    reader: NanoReader
    prefix: str
    qrels: str | None

    def is_shared(self, config: str) -> bool:
        """Return whether `config` has one split, which holds the rows of all tasks."""
        has = self.reader.splits(config)
        if config == self.qrels or len(has) != 1 or has[0] not in _SHARED:
            return False
        if self.qrels is None:
            return f"{self.prefix}{has[0]}" == config
        return has[0] not in self.reader.splits(self.qrels)

    def own(self) -> list[str]:
        """Return the needed configs that have one split per task."""
        needed = [f"{self.prefix}corpus", f"{self.prefix}queries", self.qrels]
        return [config for config in needed if config is not None and not self.is_shared(config)]

    def splits(self) -> list[str]:
        """Return the splits that are tasks, including those that some config lacks."""
        return list(dict.fromkeys(split for c in self.own() for split in self.reader.splits(c)))

    def check(self, wanted: Sequence[str]) -> None:
        """Raise BadData if a config lacks one of the splits `wanted`."""
        for config in self.own():
            has = self.reader.splits(config)
            missing = ", ".join(split for split in wanted if split not in has)
            if missing:
                where = f"{self.reader.source.dataset}: config {config!r} has no split {missing}"
                raise BadData(f"{where} (has: {', '.join(has) or 'none'}); name a complete task")

    def read(self, name: str, split: str) -> Table:
        """Return the rows of task `split` in config `corpus` or `queries`."""
        config = f"{self.prefix}{name}"
        shared = self.is_shared(config)
        return self.reader.read(config, self.reader.splits(config)[0] if shared else split)

    def candidates(self, split: str) -> list[str]:
        """Return the configs of `split` that may hold candidate lists, without their prefix.

        MTEB's `top_ranked` is left out, because its documents are in no order.
        """
        configs = self.reader.configs()
        others = tuple(p for p in _prefixes(configs) if p and not self.prefix)
        mine = [c.removeprefix(self.prefix) for c in configs if c.startswith(self.prefix)]
        no_list = ("corpus", "queries", "default", "top_ranked")
        found = [c for c in mine if c not in no_list and not c.startswith(("qrels", *others))]
        return [c for c in found if split in self.reader.splits(f"{self.prefix}{c}")]


def nano_tasks(
    reader: NanoReader,
    set_name: str,
    *,
    options: TaskOptions,
    splits: Sequence[str] | None = None,
) -> list[TaskRef]:
    """Return the data set's tasks, or those of `splits`, without reading a row.

    A task is named after its split, or `SUBSET-SPLIT` if the data set has subsets. Raises BadData
    if a needed config or split is missing, UnknownName for a split that no config has.
    """
    subsets = _subsets(reader, options.qrels)
    known = _known(subsets, options)
    for split in splits or ():
        if split not in known:
            raise unknown(f"task of {reader.source.dataset}", split, known)
    wanted = {name: known[name] for name in splits or known}
    if not wanted:
        raise BadData(f"{reader.source.dataset}: config 'corpus' has no splits")
    for subset in subsets:
        subset.check([split for other, split in wanted.values() if other is subset])
    return [
        TaskRef(f"{set_name}/{name}", partial(_load, *part, f"{set_name}/{name}", options))
        for name, part in wanted.items()
    ]


def _known(subsets: Sequence[Subset], options: TaskOptions) -> dict[str, tuple[Subset, str]]:
    # if corpus and queries are shared, a file of judgements makes the task, as in a BEIR folder
    stem = [Path(options.qrels).stem]
    return {
        f"{subset.prefix}{split}": (subset, split)
        for subset in subsets
        for split in subset.splits() or (stem if subset.qrels is None else [])
    }


def _subsets(reader: NanoReader, qrels: str) -> list[Subset]:
    prefixes = _prefixes(reader.configs()) or [""]
    return [Subset(reader, prefix, _qrels_config(reader, prefix, qrels)) for prefix in prefixes]


def _prefixes(configs: Sequence[str]) -> list[str]:
    ends = [config.removesuffix("corpus") for config in configs if config.endswith("corpus")]
    return [p for p in ends if p[-1:] in ("", "-") and f"{p}queries" in configs]


def _qrels_config(reader: NanoReader, prefix: str, qrels: str) -> str | None:
    """Return the config that `qrels` names, None if it is a file; raise if it is neither."""
    configs = reader.configs()
    names = [qrels, "default"] if qrels == "qrels" else [qrels]
    found = next((f"{prefix}{name}" for name in names if f"{prefix}{name}" in configs), None)
    is_file = found is None and Path(qrels).is_file()
    missing = [c for c in (f"{prefix}corpus", f"{prefix}queries") if c not in configs]
    if found is None and not is_file and qrels == "qrels":
        missing.append(f"{prefix}qrels")
    if missing:
        has = ", ".join(configs) or "none"
        where = f"{reader.source.dataset} has no config {missing[0]!r} (has: {has})"
        raise BadData(f"{where}; a Nano data set needs corpus, queries and qrels")
    if found is None and not is_file:
        raise unknown("qrels config or file", qrels, [c for c in configs if c.startswith("qrels")])
    return found


def _load(subset: Subset, split: str, name: str, options: TaskOptions) -> Task:
    return build_task(
        name,
        f"{subset.prefix}{split}",
        tables=Tables(
            queries=subset.read("queries", split),
            corpus=subset.read("corpus", split),
            qrels=read_trec_qrels(Path(options.qrels))
            if subset.qrels is None
            else subset.reader.read(subset.qrels, split),
            shared=subset.is_shared(f"{subset.prefix}queries"),
        ),
        source=subset.reader.source,
        options=options,
        shipped=_candidate_lists(subset, split, options.ignore_column),
        list_columns=_list_columns(subset, split),
    )


def _candidate_lists(
    subset: Subset, split: str, ignored: Sequence[str]
) -> dict[str, Callable[[], RankedLists]]:
    """Return the functions that read the configs with this split and a column of candidates."""

    def read(config: str) -> RankedLists:
        table = subset.reader.read(config, split).without(ignored)
        unread_columns(table, "candidates")
        return ranked_lists(table)

    found: dict[str, Callable[[], RankedLists]] = {}
    for name in subset.candidates(split):
        config = f"{subset.prefix}{name}"
        columns = subset.reader.columns(config, split)
        if columns is None or "corpus-ids" in columns:
            found[name] = partial(read, config)
    return found


def _list_columns(subset: Subset, split: str) -> Iterator[str]:
    """Yield the columns of all configs that are not corpus, queries or qrels."""
    for name in subset.candidates(split):
        config = f"{subset.prefix}{name}"
        columns = subset.reader.columns(config, split)
        yield from columns or subset.reader.read(config, split).columns
