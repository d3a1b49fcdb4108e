"""The folder of files that can be made again."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import RerankBenchError


def cache_folder() -> Path:
    """Return the cache folder: `$RERANK_BENCH_CACHE`, or `rerank-bench` in the user's cache."""
    chosen = os.environ.get("RERANK_BENCH_CACHE")
    if chosen:
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "rerank-bench"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rerank-bench"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder in the cache, on a disk in place of a temporary folder in memory; remove it."""
    above = cache_folder() / "scratch"
    try:
        above.mkdir(parents=True, exist_ok=True)
        made = tempfile.TemporaryDirectory(dir=above)
    except OSError as error:
        why = f"{error.strerror}; set RERANK_BENCH_CACHE to a folder that can be written"
        raise RerankBenchError(f"cache {above} cannot be written: {why}") from error
    with made as folder:
        yield Path(folder)
