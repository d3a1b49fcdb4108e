"""A Nano data set in a local folder: `CONFIG/SPLIT.parquet` or `.jsonl`, `.tsv` for judgements.

`datasets.load_dataset` would do, but it keys its cache by names and not by contents: after a file
was rewritten it has been seen to return the old rows. Here nothing is ever stale.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import BadData
from .files import JSONL, SEPARATED, column_names, read_files, stem
from .tables import Table
from .task import Source

# the hub writes large splits as several files: belebele-00000-of-00002.parquet
_SHARD = re.compile(r"-\d{5}-of-(\d{5})$")

Files = Mapping[str, tuple[Path, ...]]


@dataclass(frozen=True)
class FolderReader:
    """The configs of a folder: those its README.md declares, and its other sub-folders."""

    folder: Path
    source: Source
    _files: Mapping[str, Files] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_files", _all_files(self.folder))

    def configs(self) -> tuple[str, ...]:
        """Return the names of all configs."""
        return tuple(self._files)

    def splits(self, config: str) -> tuple[str, ...]:
        """Return the splits of one config whose files are there, in the folder's order."""
        return tuple(split for split, files in self._files[config].items() if files)

    def read(self, config: str, split: str) -> Table:
        """Return one split; raise BadData where a file cannot be read or is missing."""
        _check_shards(self._files[config][split])
        holds_texts = config.rpartition("-")[2] in ("corpus", "queries")
        return read_files(self._files[config][split], ("_id", "text") if holds_texts else ())

    def columns(self, config: str, split: str) -> Sequence[str]:
        """Return the columns of one split; raise BadData where its first file cannot be read."""
        return column_names(self._files[config][split][0])


def is_nano(folder: Path) -> bool:
    """Say whether a folder looks like a Nano data set, complete or not."""
    found = _all_files(folder) if folder.is_dir() else {}
    names = ("corpus", "queries", "qrels")
    return any(config.rpartition("-")[2] in names for config in found)


def _all_files(folder: Path) -> dict[str, Files]:
    declared = _declared(folder)
    covered = {f for splits in declared.values() for files in splits.values() for f in files}
    return {**_subfolders(folder, covered), **declared}


def _subfolders(folder: Path, covered: Container[Path]) -> dict[str, Files]:
    found: dict[str, Files] = {}
    files = [f for end in (".parquet", *JSONL) for f in folder.glob(f"*/*{end}")]
    files += [f for end in SEPARATED for f in folder.glob(f"*/*{end}") if _judges(f.parent.name)]
    for file in sorted(file for file in files if file not in covered):
        split = _SHARD.sub("", stem(file))
        splits = dict(found.get(file.parent.name, {}))
        found[file.parent.name] = {**splits, split: (*splits.get(split, ()), file)}
    return found


def _judges(config: str) -> bool:
    return "qrels" in config or config == "default"


def _check_shards(files: Sequence[Path]) -> None:
    """Raise BadData where some of the files into which a split was cut are missing."""
    for file in files:
        shard = _SHARD.search(stem(file))
        if shard:
            names = (f"-{number:05}-of-{shard[1]}" for number in range(int(shard[1])))
            whole = [file.with_name(file.name.replace(shard[0], name)) for name in names]
            missing = [path.name for path in whole if path not in files]
            if missing:
                named = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
                raise BadData(f"{file.parent} lacks {named}; fetch every file of the split")


def _declared(folder: Path) -> dict[str, Files]:
    readme = folder / "README.md"
    if not readme.is_file():
        return {}
    import yaml
    from huggingface_hub import metadata_load

    try:
        header = metadata_load(readme) or {}
        configs = header.get("configs") or []
        return {
            str(c["config_name"]): _files(folder, c["data_files"])
            for c in configs
            if "data_files" in c
        }
    # NotImplementedError: glob takes no path from the root
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        NotImplementedError,
        yaml.YAMLError,
    ) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        what = f"{readme}: the `configs` of its header cannot be read ({reason})"
        raise BadData(f"{what}; correct them, with paths in this folder") from error


def _files(folder: Path, data_files: object) -> Files:
    found: dict[str, tuple[Path, ...]] = {}
    for split, pattern in _patterns(data_files):
        path = folder / pattern
        matches = [path] if path.is_file() else sorted(folder.glob(pattern))
        found[split] = (*found.get(split, ()), *matches)
    return found


def _patterns(data_files: object) -> Iterator[tuple[str, str]]:
    # the four ways in which a data set card may say it; one without a split means `train`
    if isinstance(data_files, str):
        yield "train", data_files
    elif isinstance(data_files, Mapping):
        for split, paths in data_files.items():
            yield from ((str(split), pattern) for _, pattern in _patterns(paths))
    elif isinstance(data_files, Sequence):
        for item in data_files:
            if isinstance(item, Mapping):
                yield from _patterns({item["split"]: item["path"]})
            else:
                yield from _patterns(item)
