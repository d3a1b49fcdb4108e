"""A run on disk: one task, profile and reranker, reranked to the end.

In: the outcomes of all queries of a pool (`build_result`), the settings, and what was in effect
(`settings`, `manifest`). Out: a folder that is complete or absent (`write_run`), found by name
(`find_runs`, `named_run`) and read back with checks (`read_run`).
"""

from __future__ import annotations

from .composed import (
    FUSION,
    cascade_settings,
    composed_manifest,
    composed_settings,
    costs_of,
    invalid_parts,
    parts_of,
    run_after,
)
from .files import read_run
from .folder import check_finished, find_all_runs, find_runs, named_run, run_folder, write_run
from .fusion import FIRST_STAGE, METHODS, Fusion, fuse, fuse_query
from .manifest import OpenedEngine, manifest, prompt_fingerprint, read_manifest, settings, versions
from .results import QueryResult, Run, build_result
from .variants import Variant, variants

__all__ = [
    "FIRST_STAGE", "FUSION", "METHODS", "Fusion", "OpenedEngine", "QueryResult", "Run", "Variant",
    "build_result", "cascade_settings", "check_finished", "composed_manifest", "composed_settings",
    "costs_of", "find_all_runs", "find_runs", "fuse", "fuse_query", "invalid_parts", "manifest",
    "named_run", "parts_of", "prompt_fingerprint", "read_manifest", "read_run", "run_after",
    "run_folder", "settings", "variants", "versions", "write_run",
]  # fmt: skip
