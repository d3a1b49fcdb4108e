"""A run's manifest, read back and checked: it comes from a disk that others write on too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import BadData

FORMAT = 1
"""The version of the layout; a manifest's `format`."""

_TEXTS = ("settings.task", "settings.profile.asked", "settings.profile.resolved",
          "settings.profile.origin", "settings.reranker.label")  # fmt: skip
_WORDS = ("settings.profile.sha256", "settings.qrels", "invalid", "convention")
_COUNTS = ("settings.depth", "settings.min_grade", "settings.queries", "settings.max_doc_chars",
           "settings.max_doc_tokens")  # fmt: skip
_FIGURES = ("ideal_flops", "startup_seconds")
_TABLES = (
    "settings.engine",
    "settings.reranker.options",
    "settings.reranker.instruction",
    "engine",
    "hardware",
    "published",
)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a run's manifest; raises BadData where it is missing, broken or of another format."""
    file = folder / "manifest.json"
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"), parse_constant=_no_number)
    except (OSError, ValueError) as error:
        raise broken(file, error) from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("settings"), dict):
        raise broken(file, "it holds no settings")
    if manifest.get("format") != FORMAT:
        raise broken(file, f"its format is {manifest.get('format')!r}, this version reads {FORMAT}")
    _check_values(file, manifest)
    return manifest


def _check_values(file: Path, manifest: Mapping[str, Any]) -> None:
    """Raise BadData unless a manifest holds what every reader needs, as what it is read as."""
    for path in _TEXTS:
        if not isinstance(_at(manifest, path), str):
            raise broken(file, f"{path} is missing")
    for path in _WORDS:
        if not isinstance(_at(manifest, path) or "", str):
            raise broken(file, f"{path} is no text")
    for path in (*_COUNTS, *_FIGURES):
        value, least = _at(manifest, path), 1 if path in _COUNTS else 0
        kind = int if path in _COUNTS else (int, float)
        if value is not None and (not isinstance(value, kind) or value < least):
            raise broken(file, f"{path} is {value!r}, which is not possible")
    for path in _TABLES:
        if not isinstance(_at(manifest, path) or {}, Mapping):
            raise broken(file, f"{path} is no table")
    for profile, known in (manifest.get("published") or {}).items():
        if not isinstance(known, Mapping) or not all(map(_is_number, known.values())):
            raise broken(file, f"what is published of {profile} is no table of numbers")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _at(value: Any, path: str) -> Any:
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def broken(file: Path, why: object) -> BadData:
    """Return the error for a `file` of a run that cannot be read, with the cure."""
    told = " ".join(str(why).split())[:120]
    return BadData(f"cannot read {file}: {told}; remove that run's folder and run it again")
