"""What needs no pyterrier; the rest runs with pyterrier itself in tests/peers."""

from __future__ import annotations

import importlib
import sys

import pytest

from rerank_bench.errors import MissingExtra


def test_pyterrier_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyterrier", None)
    monkeypatch.delitem(sys.modules, "rerank_bench.integrations.pyterrier", raising=False)
    with pytest.raises(MissingExtra, match="Rerank needs the extra pyterrier: pip install"):
        importlib.import_module("rerank_bench.integrations.pyterrier")
