"""A run on disk: one task, profile and reranker, reranked to the end.

In: the outcomes of all queries of a pool (`finish`) and what was asked and in effect (`settings`,
`manifest`). Out: a folder that is whole or absent (`write_run`), found by name (`find_runs`,
`named_run`) and read back with checks (`read_run`).
"""

from __future__ import annotations

from .files import read_run
from .folder import (
    check_finished,
    find_all_runs,
    find_runs,
    named_run,
    run_folder,
    write_run,
)
from .manifest import Served, manifest, prompt_fingerprint, read_manifest, settings
from .results import QueryResult, Run, finish
from .variants import Variant, variants

__all__ = [
    "QueryResult",
    "Run",
    "Served",
    "Variant",
    "check_finished",
    "find_all_runs",
    "find_runs",
    "finish",
    "manifest",
    "named_run",
    "prompt_fingerprint",
    "read_manifest",
    "read_run",
    "run_folder",
    "settings",
    "variants",
    "write_run",
]
