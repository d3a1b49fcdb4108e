"""Every number of a report is recomputed from its run folders by a script that knows none of us."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from rerank_bench.cli import main
from rerank_bench.evaluation.row import JSON_FIELDS

SCRIPT = Path(__file__).with_name("recompute.py")
NANO = Path(__file__).parents[2] / "shared" / "nano"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("recompute", SCRIPT)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def reported(runs: Path, *flags: str) -> list[dict]:
    """Run, and read the report of what was run."""
    done = CliRunner().invoke(main, ["run", "--out", str(runs), "--no-cache", "--json", *flags])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_report_on_stdlib_code_is_recomputed_to_the_last_number(script, tmp_path):
    rerankers = ("identity", "reverse", "random", "cross-encoder:engine=fake,as=overlap")
    flags = [flag for name in rerankers for flag in ("--reranker", name)]
    report = reported(
        tmp_path, "--task", "stdlib-code", "--profile", "bm25()", "--queries", "40", *flags
    )
    compared, differing = script.check(tmp_path, report)
    assert differing == []
    assert compared > 150


@pytest.mark.skipif(not NANO.is_dir(), reason="the Nano data sets are not beside the checkout")
def test_a_report_on_graded_and_parallel_nano_tasks_is_recomputed(script, tmp_path):
    tasks = ("NanoGraded/noveleval", "NanoDev/xquad_x", "NanoDev/belebele_x")
    flags = [flag for task in tasks for flag in ("--task", str(NANO / task))]
    profiles = ("--profile", "bm25", "--profile", "reranking_hybrid")
    pattern = r"^(?P<base>[^-]+)-.*-(?P<language>[a-z]{2,3})$"
    report = reported(
        tmp_path, *flags, *profiles, "--reranker", "cross-encoder:engine=fake",
        "--reranker", "reverse", "--depth", "30", "--query-id", pattern,
    )  # fmt: skip
    compared, differing = script.check(tmp_path, report)
    assert differing == []
    assert compared > 500
    assert any(row["clusters"] for row in report)


def test_a_wrong_number_is_found(script, tmp_path):
    report = reported(
        tmp_path, "--task", "stdlib-code", "--profile", "bm25()", "--queries", "30",
        "--reranker", "reverse",
    )  # fmt: skip
    row = next(row for row in report if row["measure"] == "MAP@100")
    row["gain_low"] -= 0.001
    _, differing = script.check(tmp_path, report)
    assert len(differing) == 1
    assert "MAP@100 · gain_low" in differing[0]
    assert set(row) == set(JSON_FIELDS)
