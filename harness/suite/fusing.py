"""Fuse finished runs into new ones: read run folders, and write run folders.

In: labels, or runs by their folders, and a `Fusion`. Out: one run for each task and profile.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import BadData, unknown
from ..runs import (
    FIRST_STAGE,
    FUSION,
    Fusion,
    Run,
    Variant,
    check_finished,
    composed_manifest,
    composed_settings,
    costs_of,
    find_runs,
    fuse_query,
    named_run,
    read_manifest,
    read_run,
    run_folder,
    versions,
    write_run,
)
from .execution import FinishedRun

Place = tuple[str, str]
"""A task and a profile."""


def fuse_runs(
    names: Sequence[str],
    fusion: Fusion,
    *,
    root: Path,
    out: Path | None = None,
    label: str | None = None,
    on_run: Callable[[FinishedRun], None] = lambda run: None,
    on_note: Callable[[str], None] = lambda note: None,
) -> list[Path]:
    """Fuse the runs that `names` mean, wherever each has one, and return the folders of new runs.

    names: labels, each for all its runs below `root`, or single runs as `show` takes them.
    out: where the new runs are stored, by default below `root`.
    label: the label of the new runs, by default made of the method and the names.
    on_run: called with each new run when it is written or skipped.
    on_note: called with each note.

    Raises UnknownName for a name of no run, BadData for runs that are not of one task, profile and
    pool, BadOption for weights that do not suit, and RunConflict for a place that is taken.
    """
    fusion.shares(len(names))
    found = {name: _places(name, root) for name in names}
    shared = set.intersection(*(set(places) for places in found.values()))
    _note_left_out(found, shared, on_note)
    written = []
    for place in sorted(shared):
        folders = [found[name][place] for name in names]
        run, note = fuse_folders(folders, fusion, label=label)
        if note:
            on_note(f"{' · '.join(place)}: {note}")
        finished = _store(run, out or root)
        on_run(finished)
        written.append(finished.folder)
    return written


def _places(name: str, root: Path) -> dict[Place, Path]:
    """Return the runs of a label by their task and profile, or the single run of that name."""
    labelled: dict[str, dict[Place, Path]] = {}
    for folder in find_runs(root) if root.is_dir() else ():
        settings = read_manifest(folder)["settings"]
        if Variant.of(settings).is_main:
            own = labelled.setdefault(settings["reranker"]["label"], {})
            own[_place(settings)] = folder
    if name in labelled:
        return labelled[name]
    if "/" not in name and not Path(name).is_dir():
        raise unknown(f"reranker in {root}", name, labelled)
    folder = named_run(name, root)
    return {_place(read_manifest(folder)["settings"]): folder}


def _place(settings: Mapping[str, Any]) -> Place:
    return settings["task"], settings["profile"]["asked"]


def _note_left_out(
    found: Mapping[str, Mapping[Place, Path]],
    shared: Iterable[Place],
    on_note: Callable[[str], None],
) -> None:
    """Tell where not all runs are; raise BadData where they are together nowhere."""
    every = sorted({place for places in found.values() for place in places})
    notes = []
    for place in (place for place in every if place not in shared):
        there = [name for name, places in found.items() if place in places]
        lacking = [name for name in found if name not in there]
        where = " · ".join(place)
        notes.append(f"{where}: only {' and '.join(there)}, not {' and '.join(lacking)}")
    if notes and len(notes) == len(every):
        raise BadData(f"these runs have no task and profile in common: {'; '.join(notes[:3])}")
    for note in notes:
        on_note(f"left out, {note}")


def fuse_folders(
    folders: Sequence[Path], fusion: Fusion, *, label: str | None = None
) -> tuple[Run, str]:
    """Return the fused run of finished runs of one pool, and a note where it needs one.

    A folder may be given twice; it costs once. Raises BadData where the runs differ in more than
    their rerankers.
    """
    folders = [folder.resolve() for folder in folders]
    by_folder = {folder: read_run(folder) for folder in folders}
    runs = list(by_folder.values())
    for folder, run in by_folder.items():
        _require_equal(folders[0], runs[0], folder, run)
    names = {folder: _label(run) for folder, run in by_folder.items()}
    _require_labels(names)
    by_rank = _by_rank(runs[0], fusion)
    queries = [result.query_id for result in runs[0].results]
    by_query = {
        name: {r.query_id: r for r in run.results}
        for name, run in zip(names.values(), runs, strict=True)
    }
    order = [names[folder] for folder in folders]
    results = tuple(
        fuse_query({n: own[q] for n, own in by_query.items()}, order, fusion, by_rank=by_rank)
        for q in queries
    )
    made = _described(runs, label or _name(fusion, order), order, fusion, by_rank=by_rank)
    manifest = {**made, "failed": sum(result.failed is not None for result in results)}
    note = "the first stage's scores are not known; its ranks are fused" if by_rank else ""
    return Run(manifest, results, runs[0].qrels), note


def _require_labels(names: Mapping[Path, str]) -> None:
    """Raise BadData for two runs of one label, which nothing in the fused run would tell apart."""
    seen: dict[str, Path] = {}
    for folder, name in names.items():
        if name in seen:
            raise BadData(
                f"{seen[name]} and {folder} have one label, {name}: run one of them again with --as"
            )
        seen[name] = folder


def _label(run: Run) -> str:
    return str(run.manifest["settings"]["reranker"]["label"])


def _require_equal(one_name: Path, one: Run, other_name: Path, other: Run) -> None:
    """Raise BadData, naming what differs, unless two runs differ only in their rerankers."""
    a, b = (_common(run.manifest["settings"]) for run in (one, other))
    names = [name for name in sorted({*a, *b}) if a.get(name) != b.get(name)]
    ids = [[(r.query_id, frozenset(r.doc_ids)) for r in run.results] for run in (one, other)]
    names += ["queries or candidates"] if not names and ids[0] != ids[1] else []
    names += ["judgements"] if not names and one.qrels != other.qrels else []
    if not names:
        return
    first = names[0]
    values = f" ({_short(a[first])} and {_short(b.get(first))})" if first in a else ""
    raise BadData(
        f"{one_name} and {other_name} cannot be fused: they differ in {', '.join(names)}{values}"
    )


def _common(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return all settings but the reranker's; those of the profile one by one."""
    outer = {k: v for k, v in settings.items() if k not in {"reranker", "engine", "profile"}}
    return outer | {f"profile.{key}": value for key, value in settings["profile"].items()}


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _by_rank(run: Run, fusion: Fusion) -> bool:
    """Say whether the ranks of the first stage stand for its scores; BadData where they cannot."""
    if fusion.first_stage is None or fusion.method == "rrf":
        return False
    ranked = (result for result in run.results if result.doc_ids)
    if all(result.first_stage_scores for result in ranked):
        return False
    if fusion.method == "weighted":
        raise BadData(
            f"{_label(run)}: the first stage's scores are not known, and its ranks do not add up "
            "with scores; take --method rrf, minmax or zscore"
        )
    return True


def _name(fusion: Fusion, labels: Sequence[str]) -> str:
    """Return a label that tells the method, the runs and their weights."""
    if fusion.weights is None and fusion.first_stage is None:
        return f"{fusion.method}({','.join(labels)})"
    names = [*labels, FIRST_STAGE]
    terms = zip(fusion.shares(len(labels)), names, strict=False)
    return f"{fusion.method}({','.join(f'{share:.4g}*{name}' for share, name in terms)})"


def _described(
    runs: Sequence[Run], label: str, order: Sequence[str], fusion: Fusion, *, by_rank: bool
) -> dict[str, Any]:
    """Return the manifest of a fused run."""
    base = runs[0].manifest
    parts = [
        {**run.manifest["settings"]["reranker"], "engine": run.manifest["settings"]["engine"]}
        for run in runs
    ]
    options = {**asdict(fusion), "runs": order, "first_stage_by_rank": by_rank}
    settings = composed_settings(base["settings"], label, FUSION, options, parts)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    made = {"startup_seconds": 0.0, "startup_shared_by": [], "created": now, "versions": versions()}
    spent = [part for run in runs for part in costs_of(run)]
    return composed_manifest({**base, **made}, settings, spent)


def _store(run: Run, out: Path) -> FinishedRun:
    settings = run.manifest["settings"]
    task, profile = _place(settings)
    label = settings["reranker"]["label"]
    folder = run_folder(out, task, profile, label)
    finished = check_finished(folder, settings)
    if not finished:
        write_run(folder, run)
    return FinishedRun(folder, task, profile, label, finished)
