"""Read a data set of files: `CONFIG/SPLIT.parquet`, `.jsonl`, or `.tsv` of judgements.

The files are in a folder or on a hub, from which only those of the splits that are read travel.

A BEIR folder (https://github.com/beir-cellar/beir) has `corpus.jsonl`, `queries.jsonl` and one
`qrels/NAME.tsv` per task; MTEB's repositories have it too, with `qrels/NAME.jsonl`. These are read
as configs `corpus`, `queries` and `qrels`, of which the first two have one split for all tasks.

`datasets.load_dataset` is not used, because it keys its cache by names and not by contents: after a
file was rewritten it has returned the old rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Protocol

from ..errors import BadData
from .files import JSONL, SEPARATED, column_names, read_files, standard_names, stem
from .table import Table
from .task import Source

# the hub writes large splits as several files: belebele-00000-of-00002.parquet
_SHARD = re.compile(r"-\d{5}-of-(\d{5})$")

Splits = Mapping[str, Sequence[Path]]
"""Split -> its files."""


class Files(Protocol):
    """The files of a data set."""

    @property
    def where(self) -> str:
        """The folder or the data set, for messages."""

    @property
    def is_local(self) -> bool:
        """Whether a file can be opened at no cost."""

    def glob(self, pattern: str) -> list[Path]:
        """Return the files that match a pattern, or the one that has it as its name, sorted."""

    def fetch(self, files: Sequence[Path]) -> list[Path]:
        """Return paths on this machine of files that `glob` returned."""


@dataclass(frozen=True, slots=True)
class LocalFiles:
    """The files in a folder."""

    folder: Path
    is_local: bool = True

    @property
    def where(self) -> str:
        """The folder."""
        return str(self.folder)

    def glob(self, pattern: str) -> list[Path]:
        """Return the files that match a pattern, or the one that has it as its name, sorted."""
        path = self.folder / pattern
        return [path] if path.is_file() else sorted(self.folder.glob(pattern))

    def fetch(self, files: Sequence[Path]) -> list[Path]:
        """Return the files themselves."""
        return list(files)


@dataclass(frozen=True)
class DataSet:
    """The configs of a data set: those that its README.md declares, and its other sub-folders."""

    files: Files
    source: Source

    @cached_property
    def _card(self) -> Mapping[str, Any]:
        return _card(self.files)

    @cached_property
    def _configs(self) -> Mapping[str, Splits]:
        if self.source.kind == "beir":
            return _beir_configs(self.files)
        return _configs(self.files, self._card)

    def configs(self) -> tuple[str, ...]:
        """Return the names of all configs."""
        return tuple(self._configs)

    def splits(self, config: str) -> tuple[str, ...]:
        """Return the splits of one config that have files, in the data set's order."""
        return tuple(split for split, files in self._configs[config].items() if files)

    def read(self, config: str, split: str) -> Table:
        """Return one split; raise BadData if a file is missing or cannot be read."""
        files = self._configs[config][split]
        _check_shards(self.files.where, files)
        has_texts = config.rpartition("-")[2] in ("corpus", "queries", "query")
        table = read_files(self.files.fetch(files), ("_id", "text") if has_texts else ())
        return standard_names(table) if (self.source.kind, config) == ("beir", "qrels") else table

    def columns(self, config: str, split: str) -> Sequence[str] | None:
        """Return the columns of one split, None if they are not known before it is fetched.

        Raises BadData if its first file cannot be read.
        """
        if self.files.is_local:
            return column_names(self._configs[config][split][0])
        return _declared_columns(self._card, config)


def layout(folder: Path) -> str | None:
    """Return the layout of a data set, complete or not: `beir` or `folder`; None if it has none."""
    if any((folder / f"corpus{end}").is_file() for end in JSONL):
        return "beir"
    files = LocalFiles(folder)
    found = _configs(files, _card(files)) if folder.is_dir() else ()
    is_nano = any(config.rpartition("-")[2] in ("corpus", "queries", "qrels") for config in found)
    return "folder" if is_nano else None


def _beir_configs(files: Files) -> dict[str, Splits]:
    # of two files of one name the one with the earlier suffix is read
    ends = (*SEPARATED, *JSONL)
    judged = {stem(f): [f] for end in reversed(ends) for f in files.glob(f"qrels/*{end}")}
    found: dict[str, Splits] = {"qrels": dict(sorted(judged.items()))} if judged else {}
    for name in ("corpus", "queries"):
        present = [file for end in JSONL for file in files.glob(f"{name}{end}")]
        if not present:
            what = f"{files.where} has no {name}{JSONL[0]}"
            raise BadData(f"{what}; a BEIR folder needs corpus and queries")
        found[name] = {name: present[:1]}
    return found


def _configs(files: Files, card: Mapping[str, Any]) -> dict[str, Splits]:
    declared = _declared(files, card)
    covered = {f for splits in declared.values() for found in splits.values() for f in found}
    rows = {f for end in (".parquet", *JSONL) for f in files.glob(f"*/*{end}")}
    separated = {f for end in SEPARATED for f in files.glob(f"*/*{end}")}
    rows |= {f for f in separated if "qrels" in f.parent.name or f.parent.name == "default"}
    found: dict[str, dict[str, list[Path]]] = {}
    for file in sorted(rows - covered):
        splits = found.setdefault(file.parent.name, {})
        splits.setdefault(_SHARD.sub("", stem(file)), []).append(file)
    return {**found, **declared}


def _check_shards(where: str, files: Sequence[Path]) -> None:
    """Raise BadData if some of the files into which a split was cut are missing."""
    for file in files:
        shard = _SHARD.search(stem(file))
        if shard:
            ends = (f"-{number:05}-of-{shard[1]}" for number in range(int(shard[1])))
            complete = [file.with_name(file.name.replace(shard[0], end)) for end in ends]
            missing = [path.name for path in complete if path not in files]
            if missing:
                named = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
                what = f"{where}: {file.parent.name} lacks {named}"
                raise BadData(f"{what}; fetch every file of the split")


def _card(files: Files) -> Mapping[str, Any]:
    """Return the header of the data set's README.md; empty if there is none."""
    readme = files.fetch(files.glob("README.md"))
    if not readme:
        return {}
    import yaml
    from huggingface_hub import metadata_load

    try:
        return metadata_load(readme[0]) or {}
    except (TypeError, ValueError, yaml.YAMLError) as error:
        raise _unreadable(files, error) from error


def _unreadable(files: Files, error: Exception) -> BadData:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    what = f"{files.where}/README.md: the `configs` of its header cannot be read ({reason})"
    return BadData(f"{what}; correct them, with paths in this folder")


def _declared(files: Files, card: Mapping[str, Any]) -> dict[str, Splits]:
    """Return the configs that the header of the README.md declares, as on the hub."""
    try:
        return {
            str(c["config_name"]): _matches(files, c["data_files"])
            for c in card.get("configs") or []
            if "data_files" in c
        }
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise _unreadable(files, error) from error


def _declared_columns(card: Mapping[str, Any], config: str) -> tuple[str, ...] | None:
    """Return the columns that `dataset_info` in the header lists for a config, if it does."""
    found = card.get("dataset_info") or []
    for info in found if isinstance(found, list) else [found]:
        if info.get("config_name", "default") == config and info.get("features"):
            return tuple(str(feature["name"]) for feature in info["features"])
    return None


def check_inside(name: str) -> None:
    """Raise ValueError if a file's name or pattern, which others wrote, leaves its data set."""
    is_absolute = PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor
    if is_absolute or ".." in re.split(r"[/\\]", name):
        raise ValueError(f"{name!r} is outside the data set")


def _matches(files: Files, data_files: object) -> Splits:
    found: dict[str, list[Path]] = {}
    for split, pattern in _patterns(data_files):
        check_inside(pattern)
        found.setdefault(split, []).extend(files.glob(pattern))
    return found


def _patterns(data_files: object, split: str = "train") -> Iterator[tuple[str, str]]:
    # the four forms in which a data set card may write it; without a split it is `train`
    if isinstance(data_files, str):
        yield split, data_files
    elif isinstance(data_files, Mapping):
        for name, paths in data_files.items():
            yield from _patterns(paths, str(name))
    elif isinstance(data_files, Sequence):
        for item in data_files:
            is_entry = isinstance(item, Mapping)
            yield from _patterns({item["split"]: item["path"]} if is_entry else item, split)
