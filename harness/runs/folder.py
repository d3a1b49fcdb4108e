"""A run on disk: four files in one folder, which is complete or does not exist.

    RUNS/<task>/<profile>/<label>/
        manifest.json      what was asked and what was in effect
        rankings.parquet   query_id, doc_id, rank, score, first_stage_rank, is_safeguard, failed
        usage.parquet      one row per query: what it cost, what was counted, why it failed
        qrels.parquet      query_id, doc_id, grade: all judgements of the run's queries

Every number of a report is computed from these files alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from ..errors import BadData, RerankBenchError, RunConflict, unknown
from .files import parquet_files, write_files
from .manifest import read_manifest, unreadable
from .results import Run, check_result

_LONGEST_PART = 200  # bytes; file systems stop at 255, and a folder aside needs room for its mark
_STALE = 3600.0  # seconds; writing a run takes a few


def run_folder(root: Path, task: str, profile: str, label: str) -> Path:
    """Return where a run is stored; a task's slashes become folders."""
    parts = [*task.split("/"), profile, label]
    return root.joinpath(*(_encoded(part) for part in parts))


def _encoded(part: str) -> str:
    """Percent-encode a path part; no two parts share an encoding, and none is `.` or `..`."""
    name = quote(part, safe="._~+@-", errors="surrogateescape")
    if name in {".", ".."}:
        return name.replace(".", "%2E")
    if len(name) > _LONGEST_PART:
        digest = hashlib.sha256(part.encode(errors="surrogateescape")).hexdigest()
        return f"{name[:_LONGEST_PART]}~{digest[:12]}"
    return name or "%"  # a lone percent sign encodes nothing else


def find_runs(root: Path) -> list[Path]:
    """Return the run folders in and below `root`, sorted; raises BadData where there is no root."""
    if not root.is_dir():
        raise BadData(f"no folder of runs at {root}; `rerank-bench run --out {root}` makes one")
    # A folder that has lost its manifest is a run too, so that reading it is an error.
    walked = os.walk(root)
    found = (Path(at) for at, _, files in walked if {"manifest.json", "usage.parquet"} & set(files))
    return sorted(f for f in found if not any("#" in p for p in f.relative_to(root).parts))


def find_all_runs(roots: Sequence[Path]) -> list[Path]:
    """Return the run folders in and below all `roots`, each once; BadData where there is none."""
    found = [folder.resolve() for root in roots for folder in find_runs(root)]
    if not found:
        places = ", ".join(map(str, roots)) or "no folder"
        raise BadData(f"no finished run in {places}; `rerank-bench run --out` makes one")
    return list(dict.fromkeys(found))


def named_run(name: str, *roots: Path) -> Path:
    """Return the run folder that `name` means: a path, or `TASK/PROFILE/LABEL` below a root.

    Raises UnknownName with near names.
    """
    root = next((root for root in roots if (root / name).is_dir()), roots[0])
    parts = name.rstrip("/").rsplit("/", 2)
    places = [Path(name), root / name]
    places += [run_folder(root, *parts)] if len(parts) == 3 else []
    found = next((place for place in places if (place / "manifest.json").is_file()), None)
    if found is not None:
        return found
    runs = find_runs(root) if root.is_dir() else []
    raise unknown("run", name, [unquote(run.relative_to(root).as_posix()) for run in runs])


def check_finished(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Return whether the folder holds this run; where it does not, check that it can be written.

    Raises RunConflict, which names the differences, if the folder holds a run with other settings,
    BadData if it holds something else, RerankBenchError if nothing can be written there.
    """
    if not folder.exists():
        _check_writable(folder)
        return False
    if not (folder / "manifest.json").exists():
        if folder.is_dir() and not any(folder.iterdir()):
            return False
        raise BadData(f"{folder} exists but holds no run; move it away or choose another --out")
    was = _flat(read_manifest(folder)["settings"])
    now = _flat(json.loads(json.dumps(settings)))
    names = [name for name in sorted({*was, *now}) if was.get(name) != now.get(name)]
    if names:
        raise RunConflict(_difference(folder, names, was, now))
    for file in parquet_files(folder):
        if not file.exists():
            raise unreadable(file, "it does not exist")
    return True


def _check_writable(folder: Path) -> None:
    """Raise RerankBenchError unless the nearest existing folder above is writable."""
    above = next(path for path in folder.absolute().parents if path.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise RerankBenchError(f"cannot write the run {folder}: {above} is no writable folder")


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping) or (name and not value):
        return {name: value}
    pairs = ((f"{name}.{key}" if name else str(key), inner) for key, inner in value.items())
    return {key: leaf for path, inner in pairs for key, leaf in _flat(inner, path).items()}


def _difference(
    folder: Path, names: list[str], was: Mapping[str, Any], now: Mapping[str, Any]
) -> str:
    changes = [f"{n} {_short(was, n)}, now {_short(now, n)}" for n in names[:3]]
    more = f"; and {len(names) - 3} more" if len(names) > 3 else ""
    return (
        f"{folder} holds a run with other settings: {'; '.join(changes)}{more}\n"
        f"store this one under another name with --as LABEL, or remove that folder"
    )


def _short(values: Mapping[str, Any], name: str) -> str:
    if name not in values:
        return "absent"
    text = json.dumps(values[name], ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"


def write_run(folder: Path, run: Run) -> None:
    """Store a run: write it to a temporary folder, sync it and rename it.

    Writing the same run twice keeps the first. Raises RunConflict where `folder` holds a run with
    other settings, BadData for a ranking that names a document twice, and RerankBenchError where
    the place cannot be written.
    """
    for result in run.results:
        check_result(result, str(folder))
    aside = folder.with_name(f".{folder.name}#{socket.gethostname()}-{os.getpid()}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _clean(folder)
        aside.mkdir()
        write_files(aside, run)
        for path in (*aside.iterdir(), aside):
            _sync(path)
        _rename(aside, folder, run)
    except OSError as error:
        raise RerankBenchError(f"cannot write the run {folder}: {error.strerror}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _rename(aside: Path, folder: Path, run: Run) -> None:
    try:
        aside.rename(folder)
    except OSError:
        # Another process may have finished the same run meanwhile; equal settings, equal run.
        if not (folder.exists() and check_finished(folder, run.manifest["settings"])):
            raise
    _sync(folder.parent)


def _clean(folder: Path) -> None:
    """Remove temporary folders of this run that killed processes left."""
    mark = f".{folder.name}#"
    for aside in folder.parent.iterdir():
        if aside.name.startswith(mark) and _is_stale(aside, aside.name.removeprefix(mark)):
            shutil.rmtree(aside, ignore_errors=True)


def _is_stale(aside: Path, mark: str) -> bool:
    host, _, pid = mark.rpartition("-")
    if host == socket.gethostname() and pid.isdecimal():
        return int(pid) == os.getpid() or not _is_alive(int(pid))
    return time.time() - aside.stat().st_mtime > _STALE


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        pass
    return True


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
