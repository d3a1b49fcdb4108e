from __future__ import annotations

import pytest

from rerank_bench.tasks import Source, Task


@pytest.fixture
def make_task():
    """Build a task of one query `q` and documents d000, d001, …, changed by what is given."""

    def make(size: int = 150, *, positive: str = "d149", lists=None, **changes) -> Task:
        given = {
            "name": "set/split",
            "split": "split",
            "queries": {"q": "apple"},
            "corpus": {f"d{i:03}": f"pear {i}" for i in range(size)},
            "qrels": {"q": {positive: 1}},
            "source": Source("folder", "./set"),
            "shipped": {name: lambda found=found: found for name, found in (lists or {}).items()},
        }
        return Task(**{**given, **changes})

    return make
