"""The folder of files that can be made again."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """Return the cache folder: `$RERANK_BENCH_CACHE`, or `rerank-bench` in the user's cache."""
    chosen = os.environ.get("RERANK_BENCH_CACHE")
    if chosen:
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "rerank-bench"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rerank-bench"
