from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from rerank_bench.errors import unknown
from rerank_bench.tasks import Source, Task


@dataclass(frozen=True)
class Lists:
    """Shipped candidate lists, written by hand."""

    lists: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)

    def names(self) -> tuple[str, ...]:
        return tuple(self.lists)

    def load(self, config: str) -> Mapping[str, tuple[str, ...]]:
        if config not in self.lists:
            raise unknown("candidate list", config, self.lists)
        return self.lists[config]


@pytest.fixture
def make_task() -> Callable[..., Task]:
    """Build a task of one query `q` and documents d000, d001, …, changed by what is given."""

    def make(size: int = 150, *, positive: str = "d149", **changes: Any) -> Task:
        shipped = Lists(changes.pop("lists", {}))
        given: dict[str, Any] = {
            "name": "set/split",
            "split": "split",
            "queries": {"q": "apple"},
            "corpus": {f"d{i:03}": f"pear {i}" for i in range(size)},
            "qrels": {"q": {positive: 1}},
            "source": Source("folder", "./set"),
            "shipped": shipped,
        }
        return Task(**{**given, **changes})

    return make
