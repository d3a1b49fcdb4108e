"""Find the tasks that a name means: in the catalogue, in a folder, or on the hub."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import Path

from ..errors import BadData, BadOption, UnknownName, unknown
from .catalog import MTEB, CatalogueEntry, catalogue, collections, sets, with_catalogue_facts
from .folder import DataSet, LocalFiles, layout
from .hub import open_hub
from .mteb import mteb_tasks
from .nano import nano_tasks
from .stdlib_code import NAME as STDLIB_CODE
from .stdlib_code import load_stdlib_code
from .task import HUGGING_FACE, Source, Task, TaskOptions, TaskRef

_HUB_ID = re.compile(r"(?P<dataset>[A-Za-z0-9][\w.-]*/[\w.-]+)(?:/(?P<split>[\w.+-]+))?")
_DEFAULTS = TaskOptions()


def find_tasks(name: str, options: TaskOptions = _DEFAULTS) -> list[TaskRef]:
    """Return the tasks that `name` means; only their names and splits are read.

    name: `stdlib-code`; a catalogue set or task (`NanoMMTEB-v2`, `NanoMMTEB-v2/belebele`), or a
        collection of tasks (`hakari-core`); a task or benchmark of MTEB (`mteb:T2Reranking`,
        `mteb:MTEB(cmn, v1)`); a folder or one task of it (`./folder`, `./folder/split`); a hub data
        set or one task of it (`org/dataset`, `org/dataset/split`).

    Raises UnknownName with near names, BadData if a data set lacks a config or split it needs,
    BadOption if a revision is given for local data.
    """
    listed = _in_catalogue(name)
    if listed:
        return _catalogue_tasks(listed, options)
    if name.startswith(MTEB):
        return _mteb_tasks(name, options)
    place = None if name == STDLIB_CODE else _in_folder(name)
    if options.revision is not None and (place or name == STDLIB_CODE):
        raise BadOption(f"revision {options.revision!r} cannot pin {name}: it is not on the hub")
    if options.hub != HUGGING_FACE and (place or name == STDLIB_CODE):
        raise BadOption(f"hub {options.hub!r} does not have {name}: it is not on a hub")
    if name == STDLIB_CODE:
        return [TaskRef(name, partial(load_stdlib_code, options))]
    if place:
        reader, split = place
        set_name = Path(reader.files.where).resolve().name
        return nano_tasks(reader, set_name, options=options, splits=[split] if split else [])
    hub = _HUB_ID.fullmatch(name)
    near_sets = difflib.get_close_matches(name.split("/")[0], sets(), n=1, cutoff=0.8)
    if hub is None or near_sets:
        raise _unknown(name)
    splits = [hub["split"]] if hub["split"] else []
    on_hub = open_hub(hub["dataset"], options.revision, options.hub)
    return nano_tasks(on_hub, hub["dataset"], options=options, splits=splits)


def load_task(name: str, options: TaskOptions | None = None) -> Task:
    """Load one task by name; raise BadData if the name means several."""
    refs = find_tasks(name, options or TaskOptions())
    if len(refs) != 1:
        raise BadData(f"{name} holds {len(refs)} tasks; name one: {refs[0].name}, …")
    return refs[0].load()


def _mteb_tasks(name: str, options: TaskOptions) -> list[TaskRef]:
    """Return tasks of MTEB, those of the catalogue as it has them."""
    found = {}
    for ref in mteb_tasks(name, options):
        listed = catalogue().get(ref.name)
        found[ref.name] = _catalogue_tasks([listed], options)[0] if listed else ref
    return list(found.values())


def _in_catalogue(name: str) -> list[CatalogueEntry]:
    if name in collections():
        return list(collections()[name])
    # a set may also be named by its hub id, and a task by its split
    for set_name, entries in sets().items():
        for prefix in {set_name, set_name if entries[0].is_mteb else entries[0].hub}:
            if name == prefix:
                return list(entries)
            task = name.removeprefix(f"{prefix}/")
            if task != name:
                found = [e for e in entries if task in (e.name.partition("/")[2], e.split)]
                if not found:
                    names = [e.name.replace(set_name, prefix) for e in entries]
                    raise unknown("task", name, {*names, *catalogue()})
                return found
    return []


def _catalogue_tasks(entries: list[CatalogueEntry], options: TaskOptions) -> list[TaskRef]:
    return [
        TaskRef(entry.name, partial(_load_described, ref, entry, options))
        for _, group in groupby(entries, key=lambda entry: entry.hub)
        for entry, ref in _refs(list(group), options)
    ]


def _refs(
    entries: list[CatalogueEntry], options: TaskOptions
) -> Iterator[tuple[CatalogueEntry, TaskRef]]:
    """Yield tasks of one data set with the references that read them."""
    entry = entries[0]
    # a commit is one of the hub that it was found on
    pinned = entry.revision if options.hub == HUGGING_FACE else None
    try:
        data = open_hub(entry.hub, options.revision or pinned, options.hub)
    except UnknownName as error:
        if options.revision is not None or pinned is None or pinned not in str(error):
            raise
        raise UnknownName(f"{entry.name}: {error} (the catalogue pins {pinned[:12]})") from error
    splits = [entry.split for entry in entries]
    refs = nano_tasks(data, entry.hub, options=options, splits=splits, as_mteb=entry.is_mteb)
    return zip(entries, refs, strict=True)


def _load_described(ref: TaskRef, entry: CatalogueEntry, options: TaskOptions) -> Task:
    return with_catalogue_facts(ref.load(), entry, options)


def _in_folder(name: str) -> tuple[DataSet, str | None] | None:
    """Return the data set in a folder and the task named in it, None if there is no folder."""
    path = _path(name)
    kind = layout(path)
    if kind:
        return DataSet(LocalFiles(path), Source(kind, name)), None
    kind = layout(path.parent) if path != path.parent else None
    if kind:
        given = name.rstrip("/").removesuffix(f"/{path.name}")
        return DataSet(LocalFiles(path.parent), Source(kind, given)), path.name
    if path.is_dir():
        wanted = "corpus.jsonl (BEIR) or corpus/SPLIT.parquet, queries/… and qrels/… (Nano, MTEB)"
        raise BadData(f"{name} holds no task: expected {wanted}")
    return None


def _path(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:  # ~USER of a user who does not exist
        return Path(name)


def _unknown(name: str) -> UnknownName:
    if name.startswith((".", "/", "~")):
        path = _path(name)
        missing = path if path.parent.is_dir() else path.parent
        others = missing.parent.glob("*/") if missing.parent.is_dir() else ()
        return unknown("folder", str(missing), [str(folder) for folder in others])
    return unknown("task", name, [STDLIB_CODE, *collections(), *sets(), *catalogue()])
