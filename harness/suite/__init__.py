"""Run every task with every profile and every reranker.

In: flags and a TOML file (`read_suite`, `merge`, `build_suite`). Out: run folders (`run_suite`);
`fuse_runs` makes further ones of finished runs.
This folder ties tasks, pools, rerankers, engines and runs together.
"""

from __future__ import annotations

from ..runs import Fusion
from .execution import FinishedRun, run_suite
from .fusing import fuse_runs
from .prepared import Suite, TaskPool, build_pools
from .specification import build_suite, merge, pool_suite, read_suite, shipped_suites, to_toml

__all__ = [
    "FinishedRun", "Fusion", "Suite", "TaskPool", "build_pools", "build_suite", "fuse_runs",
    "merge", "pool_suite", "read_suite", "run_suite", "shipped_suites", "to_toml",
]  # fmt: skip
