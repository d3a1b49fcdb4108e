"""Names of runs where a path names no first stage: model, revision and experiment, as in MTEB."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..reranking import TASK
from ..runs import Run, Variant, read_manifest
from ..tasks import TaskOptions

_BARRED = re.compile(r'[<>:"|?*\\/\0]')
_IN_FOLDER = re.compile(
    r"\b(run\(|dense\((?![A-Za-z0-9][\w.-]*/[\w.-]+\)))[^(),]*[/\\]([^(),/\\]+)[/\\]*\)"
)
"""`run(FILE)` and `dense(MODEL)` in a folder; `dense(ORG/NAME)` is a model of a hub."""
_LONGEST = 200
"""What MTEB allows in the name of an experiment, and its length; a longer name is hashed."""

_SCOPE = (
    "depth", "queries", "seed", "max_doc_chars", "max_doc_tokens", "exclude_identical",
    "query_prompt", "query_prompt_name", "doc_prompt",
)  # fmt: skip
"""Settings that are None where nothing was asked."""


def mteb_revision(engine: Mapping[str, Any]) -> str:
    """Return the revision of the model that an engine's identity describes: a commit, or a hash."""
    files = str(engine.get("files") or "")[:16]
    return str(engine.get("revision") or files or "no_revision_available")


def first_stage(name: str, clashing: Collection[str] = ()) -> str:
    """Return a profile without the folders of its models and files, which differ between machines.

    clashing: profiles of an export that would be named alike; they have a hash of the whole name.
    """
    short = _IN_FOLDER.sub(r"\1\2)", name)
    return f"{short}~{hashlib.sha256(name.encode()).hexdigest()[:6]}" if name in clashing else short


def clashing_stages(folders: Iterable[Path]) -> frozenset[str]:
    """Return the profiles of runs that `first_stage` would name as it does others."""
    asked = {read_manifest(folder)["settings"]["profile"]["asked"] for folder in folders}
    times = Counter(map(first_stage, asked))
    return frozenset(name for name in asked if times[first_stage(name)] > 1)


def experiment_of(run: Run, clashing: Collection[str] = ()) -> dict[str, Any]:
    """Return MTEB's `experiment_kwargs`: the first stage, and what else sets a run apart.

    A reranker with other options has another label. clashing: as for `first_stage`.
    """
    settings = run.manifest["settings"]
    scope = {name: settings.get(name) for name in _SCOPE}
    if scope["queries"] is None:
        del scope["seed"]
    qrels, instruction = settings.get("qrels"), settings["reranker"].get("instruction") or {}
    marks = {
        "qrels": None if qrels == TaskOptions().judgements else qrels,
        "ignore_column": ",".join(settings.get("ignore_column") or ()) or None,
        "instructions": TASK if instruction.get("source") == TASK else None,
        "variant": Variant.of(settings).suffix.lstrip("~") or None,
        "min_grade": run.min_grade if run.min_grade > 1 else None,
        "engine": None if run.manifest["is_real"] else settings["engine"]["name"],
        "invalid": run.manifest.get("invalid"),
    }
    known = {name: value for name, value in {**scope, **marks}.items() if value is not None}
    return {"first_stage": first_stage(settings["profile"]["asked"], clashing), **known}


def experiment_name(kwargs: Mapping[str, Any]) -> str:
    """Return the folder of an experiment by MTEB's rule for `experiment_kwargs` of plain values."""
    parts = [f"{key}_{_BARRED.sub('_', str(value))}" for key, value in sorted(kwargs.items())]
    name = "__".join(parts)
    if len(name) <= _LONGEST:
        return name
    return f"exp_{hashlib.sha256(name.encode()).hexdigest()[:16]}"
