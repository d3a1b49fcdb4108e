"""Read a data set in a local folder: `CONFIG/SPLIT.parquet`, `.jsonl`, or `.tsv` of judgements.

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
from pathlib import Path

from ..errors import BadData
from .files import JSONL, SEPARATED, column_names, read_files, standard_names, stem
from .table import Table
from .task import Source

# the hub writes large splits as several files: belebele-00000-of-00002.parquet
_SHARD = re.compile(r"-\d{5}-of-(\d{5})$")

Files = Mapping[str, Sequence[Path]]
"""Split -> its files."""


@dataclass(frozen=True)
class FolderReader:
    """The configs of a folder: those that its README.md declares, and its other sub-folders."""

    folder: Path
    source: Source

    @cached_property
    def _files(self) -> Mapping[str, Files]:
        return (_beir_configs if self.source.kind == "beir" else _configs)(self.folder)

    def configs(self) -> tuple[str, ...]:
        """Return the names of all configs."""
        return tuple(self._files)

    def splits(self, config: str) -> tuple[str, ...]:
        """Return the splits of one config that have files, in the folder's order."""
        return tuple(split for split, files in self._files[config].items() if files)

    def read(self, config: str, split: str) -> Table:
        """Return one split; raise BadData if a file is missing or cannot be read."""
        files = self._files[config][split]
        _check_shards(files)
        has_texts = config.rpartition("-")[2] in ("corpus", "queries")
        table = read_files(files, ("_id", "text") if has_texts else ())
        return standard_names(table) if (self.source.kind, config) == ("beir", "qrels") else table

    def columns(self, config: str, split: str) -> Sequence[str]:
        """Return the columns of one split; raise BadData if its first file cannot be read."""
        return column_names(self._files[config][split][0])


def layout(folder: Path) -> str | None:
    """Return the layout of a data set, complete or not: `beir` or `folder`; None if it has none."""
    if any((folder / f"corpus{end}").is_file() for end in JSONL):
        return "beir"
    found = _configs(folder) if folder.is_dir() else ()
    is_nano = any(config.rpartition("-")[2] in ("corpus", "queries", "qrels") for config in found)
    return "folder" if is_nano else None


def _beir_configs(folder: Path) -> dict[str, Files]:
    # of two files of one name the one with the earlier suffix is read
    ends = (*SEPARATED, *JSONL)
    judged = {stem(f): [f] for end in reversed(ends) for f in (folder / "qrels").glob(f"*{end}")}
    found: dict[str, Files] = {"qrels": dict(sorted(judged.items()))} if judged else {}
    for name in ("corpus", "queries"):
        files = [folder / f"{name}{end}" for end in JSONL]
        present = [file for file in files if file.is_file()]
        if not present:
            what = f"{folder} has no {files[0].name}"
            raise BadData(f"{what}; a BEIR folder needs corpus and queries")
        found[name] = {name: present[:1]}
    return found


def _configs(folder: Path) -> dict[str, Files]:
    declared = _declared(folder)
    covered = {f for splits in declared.values() for files in splits.values() for f in files}
    files = {f for end in (".parquet", *JSONL) for f in folder.glob(f"*/*{end}")}
    separated = {f for end in SEPARATED for f in folder.glob(f"*/*{end}")}
    files |= {f for f in separated if "qrels" in f.parent.name or f.parent.name == "default"}
    found: dict[str, dict[str, list[Path]]] = {}
    for file in sorted(files - covered):
        splits = found.setdefault(file.parent.name, {})
        splits.setdefault(_SHARD.sub("", stem(file)), []).append(file)
    return {**found, **declared}


def _check_shards(files: Sequence[Path]) -> None:
    """Raise BadData if some of the files into which a split was cut are missing."""
    for file in files:
        shard = _SHARD.search(stem(file))
        if shard:
            ends = (f"-{number:05}-of-{shard[1]}" for number in range(int(shard[1])))
            complete = [file.with_name(file.name.replace(shard[0], end)) for end in ends]
            missing = [path.name for path in complete if path not in files]
            if missing:
                named = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
                raise BadData(f"{file.parent} lacks {named}; fetch every file of the split")


def _declared(folder: Path) -> dict[str, Files]:
    """Return the configs in the header of the README.md, as on the hub."""
    readme = folder / "README.md"
    if not readme.is_file():
        return {}
    import yaml
    from huggingface_hub import metadata_load

    try:
        configs = (metadata_load(readme) or {}).get("configs") or []
        return {
            str(c["config_name"]): _matches(folder, c["data_files"])
            for c in configs
            if "data_files" in c
        }
    # NotImplementedError: glob takes no absolute path
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        NotImplementedError,
        yaml.YAMLError,
    ) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        what = f"{readme}: the `configs` of its header cannot be read ({reason})"
        raise BadData(f"{what}; correct them, with paths in this folder") from error


def _matches(folder: Path, data_files: object) -> Files:
    found: dict[str, list[Path]] = {}
    for split, pattern in _patterns(data_files):
        path = folder / pattern
        files = [path] if path.is_file() else sorted(folder.glob(pattern))
        found.setdefault(split, []).extend(files)
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
