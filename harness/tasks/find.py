"""From what a user wrote after `--task` to the tasks it names."""

from __future__ import annotations

import difflib
import re
from functools import partial
from pathlib import Path

from ..errors import BadData, BadOption, UnknownName, unknown
from .beir import beir_tasks, is_beir
from .catalog import CatalogueEntry, catalogue, described, sets
from .folder import FolderReader, is_nano
from .hub import open_hub
from .nano import nano_tasks
from .stdlib_code import NAME as STDLIB_CODE
from .stdlib_code import load_stdlib_code
from .task import Source, Task, TaskOptions, TaskRef

_HUB_ID = re.compile(r"(?P<dataset>[A-Za-z0-9][\w.-]*/[\w.-]+)(?:/(?P<split>[\w.+-]+))?")
_AS_DEFAULT = TaskOptions()


def find_tasks(name: str, options: TaskOptions = _AS_DEFAULT) -> list[TaskRef]:
    """Return the tasks that `name` means; nothing but their names and splits is read yet.

    A name is `stdlib-code`, a catalogue set or task (`NanoMMTEB-v2`, `NanoMMTEB-v2/belebele`), a
    folder or one task of it (`./folder`, `./folder/split`), or a hub data set or one task of it
    (`org/dataset`, `org/dataset/split`). Raises UnknownName with near names, BadData where a data
    set lacks a config or split it needs, BadOption where a revision is pinned on local data.
    """
    if name == STDLIB_CODE:
        _no_revision(name, options)
        return [TaskRef(name, partial(load_stdlib_code, options))]
    listed = _in_catalogue(name)
    if listed:
        return _catalogue_tasks(listed, options)
    place = _in_folder(name)
    if place:
        _no_revision(name, options)
        return _folder_tasks(name, *place, options)
    hub = None if _near_sets(name) else _HUB_ID.fullmatch(name)
    if hub is None or name.startswith("."):
        raise _unknown(name)
    split = hub["split"]
    reader = open_hub(hub["dataset"], options.revision)
    return nano_tasks(reader, hub["dataset"], options=options, splits=[split] if split else None)


def _no_revision(name: str, options: TaskOptions) -> None:
    if options.revision is not None:
        raise BadOption(f"revision {options.revision!r} cannot pin {name}: it is on no hub")


def _in_catalogue(name: str) -> list[CatalogueEntry]:
    # a set also goes by its hub id, and a task also by its split's name
    for set_name, entries in sets().items():
        for prefix in {set_name, entries[0].hub}:
            if name == prefix:
                return list(entries)
            task = name.removeprefix(f"{prefix}/")
            if task != name:
                found = [e for e in entries if task in (e.name.partition("/")[2], e.split)]
                if not found:
                    names = [e.name.replace(set_name, prefix) for e in entries]
                    raise unknown("task", name, names)
                return found
    return []


def _catalogue_tasks(entries: list[CatalogueEntry], options: TaskOptions) -> list[TaskRef]:
    reader = open_hub(entries[0].hub, options.revision)
    splits = [entry.split for entry in entries]
    refs = nano_tasks(reader, entries[0].hub, options=options, splits=splits)
    return [
        TaskRef(entry.name, partial(_load_described, ref, entry, options))
        for entry, ref in zip(entries, refs, strict=True)
    ]


def _load_described(ref: TaskRef, entry: CatalogueEntry, options: TaskOptions) -> Task:
    excluded, qrels = options.exclude_identical, options.qrels
    return described(ref.load(), entry, exclude_identical=excluded, qrels=qrels)


def _in_folder(name: str) -> tuple[Path, str | None] | None:
    """Return the folder of a data set and the task named in it, None where there is no folder."""
    path = _path(name)
    if is_beir(path) or is_nano(path):
        return path, None
    if path != path.parent and (is_beir(path.parent) or is_nano(path.parent)):
        return path.parent, path.name
    if path.is_dir():
        wanted = "corpus.jsonl (BEIR) or corpus/SPLIT.parquet, queries/… and qrels/… (Nano, MTEB)"
        raise BadData(f"{name} holds no task: expected {wanted}")
    return None


def _path(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:  # ~somebody who is not here
        return Path(name)


def _folder_tasks(
    name: str, folder: Path, split: str | None, options: TaskOptions
) -> list[TaskRef]:
    given = name if split is None else name.rstrip("/").removesuffix(f"/{split}")
    if is_beir(folder):
        return beir_tasks(given, folder, split=split, options=options)
    reader = FolderReader(folder, Source("folder", given))
    splits = [split] if split else None
    return nano_tasks(reader, folder.resolve().name, options=options, splits=splits)


def _near_sets(name: str) -> list[str]:
    return difflib.get_close_matches(name.split("/")[0], sets(), n=1, cutoff=0.8)


def _unknown(name: str) -> UnknownName:
    if name.startswith((".", "/", "~")):
        return _no_folder(_path(name))
    near = _near_sets(name)
    if near and "/" in name:
        return unknown("task", name, [entry.name for entry in sets()[near[0]]])
    return unknown("task", name, [STDLIB_CODE, *sets(), *catalogue()])


def _no_folder(path: Path) -> UnknownName:
    missing = path if path.parent.is_dir() else path.parent
    beside = missing.parent.glob("*/") if missing.parent.is_dir() else ()
    return unknown("folder", str(missing), [str(folder) for folder in beside])


def load_task(name: str, options: TaskOptions | None = None) -> Task:
    """Load one task by name. BadData where the name stands for several."""
    refs = find_tasks(name, options or TaskOptions())
    if len(refs) != 1:
        raise BadData(f"{name} holds {len(refs)} tasks; name one: {refs[0].name}, …")
    return refs[0].load()
