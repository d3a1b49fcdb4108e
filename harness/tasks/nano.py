"""Tasks in the Nano layout or MTEB's, wherever they lie: configs of texts, qrels and candidates.

The Nano layout is that of HAKARI-Bench's and sentence-transformers' Nano data sets: `_id` and
`text`; `query-id`, `corpus-id` and perhaps `score`; `query-id` and `corpus-ids`, best first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..errors import BadData, unknown
from .checking import Tables, make_task
from .columns import unread
from .layout import Layout, NanoReader, check_splits, layouts
from .qrelsfile import read_trec_qrels
from .tables import Table, ranked_lists
from .task import Task, TaskOptions, TaskRef


def nano_tasks(
    reader: NanoReader,
    set_name: str,
    *,
    options: TaskOptions,
    splits: Sequence[str] | None = None,
) -> list[TaskRef]:
    """Return the data set's tasks, or those of `splits`, without reading a row.

    A task is named by its split, or `SUBSET-SPLIT` where the data set has subsets. Raises BadData
    where a needed config or split is missing, UnknownName where no config knows a split that was
    asked for.
    """
    found = layouts(reader, options.qrels)
    known = _known(found, options)
    for split in splits or ():
        if split not in known:
            raise unknown(f"task of {reader.source.dataset}", split, known)
    wanted = {name: known[name] for name in splits or known}
    if not wanted:
        raise BadData(f"{reader.source.dataset}: config 'corpus' has no splits")
    for layout in found:
        layout.check([split for other, split in wanted.values() if other is layout])
    return [
        TaskRef(f"{set_name}/{name}", partial(_load, *part, f"{set_name}/{name}", options))
        for name, part in wanted.items()
    ]


def _known(found: Sequence[Layout], options: TaskOptions) -> dict[str, tuple[Layout, str]]:
    # where one split is for all, a file of judgements makes the task, as in a BEIR folder
    stem = [Path(options.qrels).stem]
    return {
        f"{layout.prefix}{split}": (layout, split)
        for layout in found
        for split in layout.splits() or (stem if layout.qrels is None else [])
    }


def _load(layout: Layout, split: str, name: str, options: TaskOptions) -> Task:
    return make_task(
        name,
        f"{layout.prefix}{split}",
        tables=Tables(
            queries=layout.read("queries", split),
            corpus=layout.read("corpus", split),
            qrels=read_trec_qrels(Path(options.qrels))
            if layout.qrels is None
            else layout.reader.read(layout.qrels, split),
            shared=layout.is_shared(f"{layout.prefix}queries"),
        ),
        source=layout.reader.source,
        shipped=NanoLists(layout, split, options.ignore_column),
        options=options,
    )


@dataclass(frozen=True, slots=True)
class NanoLists:
    """The candidate configs that hold a list for one split; columns of `ignored` are not seen."""

    layout: Layout
    split: str
    ignored: Sequence[str] = ()

    def names(self) -> tuple[str, ...]:
        """Return the candidate configs that have this split, and a column of candidates."""
        found = ((config, self._columns(config)) for config in self._configs())
        return tuple(c for c, columns in found if columns is None or "corpus-ids" in columns)

    def columns(self) -> tuple[str, ...]:
        """Return the columns of all candidate lists."""
        reader, prefix = self.layout.reader, self.layout.prefix
        return tuple(
            column
            for c in self._configs()
            for column in self._columns(c) or reader.read(f"{prefix}{c}", self.split).columns
        )

    def _configs(self) -> list[str]:
        prefix, reader = self.layout.prefix, self.layout.reader
        candidates = self.layout.candidates()
        return [c for c in candidates if self.split in reader.splits(f"{prefix}{c}")]

    def _columns(self, config: str) -> Sequence[str] | None:
        return self.layout.reader.columns(f"{self.layout.prefix}{config}", self.split)

    def load(self, config: str) -> Mapping[str, tuple[str, ...]]:
        """Return query id -> document ids, best first; raise UnknownName or BadData."""
        reader, candidates = self.layout.reader, self.layout.candidates()
        if config not in candidates:
            raise unknown(f"candidate list of {reader.source.dataset}", config, candidates)
        named = f"{self.layout.prefix}{config}"
        check_splits(reader, named, [self.split])
        table: Table = reader.read(named, self.split).without(self.ignored)
        unread(table, "candidates")
        return ranked_lists(table)
