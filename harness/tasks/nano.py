"""Read tasks from configs of corpus, queries, qrels and candidate lists: Nano, MTEB and BEIR.

Nano (HAKARI-Bench, sentence-transformers): configs `corpus`, `queries` and `qrels` with one split
per task, and configs with candidate lists. MTEB (https://github.com/embeddings-benchmark/mteb): the
qrels may be config `default`; corpus and queries may have one split for all tasks, named `corpus`
and `queries`, as in a BEIR folder; a subset, often a language, has configs of its own:
`SUBSET-corpus`, ….
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..errors import BadData, unknown
from .build import build_task
from .columns import unread_columns
from .files import is_text_table, read_files, read_trec_qrels, standard_names
from .folder import DataSet
from .table import Table, ranked_lists, with_instructions
from .task import CANDIDATES, QRELS, RankedLists, Task, TaskOptions, TaskRef, in_hash_order

TOP_RANKED = "top_ranked"
"""MTEB's config of the candidates that a reranking task has, which are in no order."""

MTEB_COLUMNS = frozenset(
    {"_id", "title", "text", "instruction", "query-id", "corpus-id", "corpus-ids", "score"}
)

_SHARED = frozenset({"corpus", "queries", "train", "validation", "dev", "test"})
"""Names that the only split of a config may have if it holds the rows of all tasks."""


@dataclass(frozen=True, slots=True)
class Subset:
    """The configs of a data set whose names begin with `prefix`.

    qrels: config of the judgements; None if they are read from a file.
    as_mteb: whether no other columns than those of MTEB are read, from the configs and splits that
        mteb's loader chooses.
    """

    reader: DataSet
    prefix: str
    qrels: str | None
    as_mteb: bool = False

    def config(self, name: str) -> str:
        """Return the config that is meant by a name without prefix."""
        if name == "queries" and self.as_mteb and "query" in self.reader.configs():
            return "query"
        return f"{self.prefix}{name}"

    def shared_split(self, config: str) -> str | None:
        """Return the only split of `config` if it holds the rows of all tasks, None otherwise."""
        has = self.reader.splits(config)
        is_shared = len(has) == 1 and (self.as_mteb or has[0] in _SHARED)
        if config == self.qrels or not is_shared:
            return None
        if self.qrels is None:
            return has[0] if f"{self.prefix}{has[0]}" == config else None
        return None if has[0] in self.reader.splits(self.qrels) else has[0]

    def judges_all(self) -> bool:
        """Return whether the only split of the judgements, under any name, is for all tasks.

        It is the split of one task where the queries have a split of its name, or one for all
        tasks. MTEB reads an only split for whatever task is asked for.
        """
        has = self.judged()
        if len(has) != 1 or self.as_mteb:
            return len(has) == 1
        queries = self.config("queries")
        return has[0] not in self.reader.splits(queries) and self.shared_split(queries) is None

    def judged(self) -> tuple[str, ...]:
        """Return the splits of the judgements; none where they are read from a file."""
        return () if self.qrels is None else self.reader.splits(self.qrels)

    def own(self) -> list[str]:
        """Return the needed configs that have one split per task."""
        texts = [c for c in map(self.config, ("corpus", "queries")) if not self.shared_split(c)]
        return texts if self.qrels is None or self.judges_all() else [*texts, self.qrels]

    def splits(self) -> list[str]:
        """Return the splits that are tasks, including those that some config lacks.

        Of queries in several splits before one corpus only those of the judgements' only split are
        a task.
        """
        own, judged = self.own(), self.judged()
        if own == [self.config("queries"), self.qrels] and len(judged) == 1:
            return list(judged)
        return list(dict.fromkeys(split for c in own for split in self.reader.splits(c)))

    def check(self, wanted: Sequence[str]) -> None:
        """Raise BadData if a config lacks one of the splits `wanted`."""
        for config in self.own():
            has = self.reader.splits(config)
            missing = ", ".join(split for split in wanted if split not in has)
            if missing:
                where = f"{self.reader.source.dataset}: config {config!r} has no split {missing}"
                raise BadData(f"{where} (has: {', '.join(has) or 'none'}); name a complete task")

    def read(self, name: str, split: str) -> Table:
        """Return the rows of task `split` in a config, which is named without its prefix."""
        config = self.config(name)
        table = self.reader.read(config, self.shared_split(config) or split)
        return table.select(MTEB_COLUMNS) if self.as_mteb else table

    def ranked(self, name: str, split: str, ignored: Sequence[str]) -> RankedLists:
        """Return the candidate lists of a config, read without the columns `ignored`."""
        table = self.read(name, split).drop(ignored)
        unread_columns(table, "candidates")
        return in_hash_order(ranked_lists(table)) if name == TOP_RANKED else ranked_lists(table)

    def instructions(self, split: str) -> Table | None:
        """Return the instructions of queries, which MTEB has in a config of their own."""
        has = f"{self.prefix}instruction" in self.reader.configs()
        return self.read("instruction", split) if has else None

    def candidates(self, split: str) -> dict[str, Sequence[str] | None]:
        """Return config, without prefix -> columns if known, of what may hold candidate lists."""
        configs = self.reader.configs()
        others = tuple(p for p in _prefixes(configs) if p and not self.prefix)
        mine = [c.removeprefix(self.prefix) for c in configs if c.startswith(self.prefix)]
        no_list = ("corpus", "queries", "query", "default", "instruction")
        found = {}
        for name in mine:
            config = self.config(name)
            own = (self.as_mteb and self.shared_split(config)) or split
            is_list = name not in no_list and not name.startswith(("qrels", *others))
            if is_list and own in self.reader.splits(config):
                found[name] = self.reader.columns(config, own)
        return found


def nano_tasks(
    reader: DataSet,
    set_name: str,
    *,
    options: TaskOptions,
    splits: Sequence[str] = (),
    as_mteb: bool = False,
) -> list[TaskRef]:
    """Return the data set's tasks, or those named in `splits`, without reading a row.

    as_mteb: read the configs, splits and columns that MTEB does, in place of refusing what is
        ambiguous or looks like content.

    A task is named after its split, or `SUBSET-SPLIT` if the data set has subsets. Raises BadData
    if a needed config or split is missing, UnknownName for a split that no config has.
    """
    prefixes = _prefixes(reader.configs()) or [""]
    named = [p for p in prefixes if any(split.startswith(p) for split in splits)]
    subsets = [_subset(reader, p, options, as_mteb=as_mteb) for p in named or prefixes]
    known: dict[str, tuple[Subset, str]] = {}
    for subset in subsets:
        has = subset.splits()
        if not has and (subset.qrels is None or subset.judged()):
            # all texts are shared: the judgements make a task, under any name
            named = [name.removeprefix(subset.prefix) for name in splits]
            has = named or list(subset.judged()) or [Path(options.judgements).stem]
        known.update({f"{subset.prefix}{split}": (subset, split) for split in has})
    for name in splits:
        if name not in known:
            raise unknown(f"task of {reader.source.dataset}", name, known)
    wanted = {name: known[name] for name in splits or known}
    if not wanted:
        raise BadData(f"{reader.source.dataset}: config 'corpus' has no splits")
    for subset in subsets:
        subset.check([split for other, split in wanted.values() if other is subset])
    return [
        TaskRef(f"{set_name}/{name}", partial(_load, *part, f"{set_name}/{name}", options))
        for name, part in wanted.items()
    ]


def _prefixes(configs: Sequence[str]) -> list[str]:
    """Return the prefixes of subsets, which have two at least of corpus, queries and qrels."""
    needed = re.compile("((?:.*-)?)(corpus|queries|qrels)", re.DOTALL)
    found = Counter(match[1] for match in map(needed.fullmatch, configs) if match)
    return [prefix for prefix, count in found.items() if count > 1]


def _subset(reader: DataSet, prefix: str, options: TaskOptions, *, as_mteb: bool) -> Subset:
    """Return a subset; raise BadData if it lacks a config, UnknownName if `qrels` is nothing."""
    subset = Subset(reader, prefix, _qrels_config(reader, prefix, options, as_mteb), as_mteb)
    configs, qrels = reader.configs(), options.judgements
    is_known = subset.qrels is not None or Path(qrels).is_file()
    missing = [name for name in map(subset.config, ("corpus", "queries")) if name not in configs]
    if not is_known and qrels == QRELS:
        missing.append(f"{prefix}qrels")
    if missing:
        where = f"{reader.source.dataset} has no config {missing[0]!r}"
        needs = "a Nano data set needs corpus, queries and qrels"
        if reader.source.kind == "beir":
            needs = "a BEIR folder needs qrels/TASK.tsv, .csv or .jsonl for each task"
        raise BadData(f"{where} (has: {', '.join(configs) or 'none'}); {needs}")
    if not is_known:
        raise unknown("qrels config or file", qrels, [c for c in configs if c.startswith("qrels")])
    return subset


def _qrels_config(reader: DataSet, prefix: str, options: TaskOptions, as_mteb: bool) -> str | None:
    """Return the config of the judgements, None if there is none; mteb prefers `default`.

    Raises BadData where two hold judgements and none was named.
    """
    is_open = options.qrels is None
    usual = ["default", QRELS] if as_mteb and is_open else [QRELS, "default"]
    names = usual if options.judgements == QRELS else [options.judgements]
    found = [f"{prefix}{name}" for name in names if f"{prefix}{name}" in reader.configs()]
    if len(found) > 1 and is_open and not as_mteb and _may_judge(reader, found[1]):
        where = f"{reader.source.dataset} has judgements in configs {found[0]!r} and {found[1]!r}"
        raise BadData(f"{where}; choose with --qrels {QRELS} or --qrels default")
    return found[0] if found else None


def _may_judge(reader: DataSet, config: str) -> bool:
    """Return whether a config holds judgements, as far as is known before it is fetched."""
    columns = [reader.columns(config, split) for split in reader.splits(config)[:1]]
    return any(own is None or {"query-id", "corpus-id"} <= set(own) for own in columns)


def _load(subset: Subset, split: str, name: str, options: TaskOptions) -> Task:
    lists = subset.candidates(split)
    if {CANDIDATES, TOP_RANKED} <= lists.keys():
        what = f"{subset.reader.source.dataset} has configs {CANDIDATES!r} and {TOP_RANKED!r}"
        raise BadData(f"{what}, which would be one profile; rename the former")
    queries, corpus = (subset.read(part, split) for part in ("queries", "corpus"))
    qrels = _judgements(subset, split, Path(options.judgements))
    judged = frozenset(qrels.ids("query-id"))
    return build_task(
        name,
        f"{subset.prefix}{split}",
        tables={
            "corpus": corpus,
            "queries": with_instructions(queries, subset.instructions(split), judged),
            "qrels": qrels,
        },
        shared=subset.shared_split(subset.config("queries")) is not None,
        source=subset.reader.source,
        options=options,
        shipped={
            CANDIDATES if config == TOP_RANKED else config: partial(
                subset.ranked, config, split, options.ignore_column
            )
            for config, columns in lists.items()
            if columns is None or "corpus-ids" in columns
        },
        list_columns=(
            column
            for config, columns in lists.items()
            for column in columns or subset.read(config, split).columns
        ),
    )


def _judgements(subset: Subset, split: str, file: Path) -> Table:
    source = subset.reader.source
    if subset.qrels is not None:
        own = subset.judged()[0] if subset.judges_all() else split
        table = subset.reader.read(subset.qrels, own)
        return table.select(MTEB_COLUMNS) if subset.as_mteb else table
    folder = Path(source.dataset).expanduser() / "qrels"
    if source.kind == "beir" and file.resolve().parent == folder.resolve() and is_text_table(file):
        return standard_names(read_files([file]))
    return read_trec_qrels(file)
