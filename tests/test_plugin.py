"""Plugins: rerankers and engines as a stranger would write and install them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from rerank_bench import load_run
from rerank_bench.cli import main
from rerank_bench.reranking import methods

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "add-a-reranker.md"


@pytest.fixture
def data(beir):
    corpus = {"d1": "apple", "d2": "apple and much more besides", "d3": "apple pie"}
    return beir({"q1": "apple"}, corpus, {"q1": {"d2": 1}})


def engine_page(language: str) -> str:
    """The only block of a language on the page about engines."""
    page = (ROOT / "docs" / "add-an-engine.md").read_text(encoding="utf-8")
    (block,) = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
    return block


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder into which pip installed a reranker, and the engine of the page."""
    sources, site = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("site")
    reranker, engine = sources / "reranker", sources / "engine"
    for source in (reranker, engine):
        source.mkdir()
    for file in (ROOT / "tests" / "plugin_package").glob("*.*"):
        (reranker / file.name).write_bytes(file.read_bytes())
    (engine / "ngrams.py").write_text(engine_page("python"))
    (engine / "pyproject.toml").write_text(engine_page("toml"))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--no-index", "--target", site, reranker, engine]
    subprocess.run(command, check=True, capture_output=True)
    return site


@pytest.fixture
def installed(site, monkeypatch):
    monkeypatch.syspath_prepend(site)
    methods.cache_clear()
    yield
    methods.cache_clear()


def bench(*arguments: object, exit_code: int = 0) -> str:
    """Run the command line; return its output, or its message where it is to fail."""
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == exit_code, done.output
    return done.stderr if exit_code else done.stdout


def best(folder: Path) -> str:
    return load_run(folder).results[0].doc_ids[0]


@pytest.mark.usefixtures("installed")
def test_an_installed_reranker_is_found_by_its_entry_point(data, tmp_path):
    listed = json.loads(bench("list", "rerankers", "--json"))
    assert "longest" in {row["reranker"] for row in listed}
    out = tmp_path / "runs"
    flags = ("--task", data, "--profile", "bm25()", "--out", out, "--no-cache")
    bench("run", *flags, "--reranker", "longest")
    bench("run", *flags, "--reranker", "longest:power=-1", "--as", "shortest")
    assert best(out / "data" / "test" / "bm25%28%29" / "longest") == "d2"
    assert best(out / "data" / "test" / "bm25%28%29" / "shortest") == "d1"


@pytest.mark.usefixtures("installed")
def test_the_engine_of_the_page_has_40_lines_and_works_once_it_is_installed(data, tmp_path):
    assert len([line for line in engine_page("python").splitlines() if line.strip()]) <= 40
    listed = json.loads(bench("list", "engines", "--json"))
    shown = {row["engine"]: row["what"] for row in listed}
    assert shown["ngrams"] == "Shared character n-grams, without a model"
    out = tmp_path / "runs"
    flags = ("--task", data, "--profile", "bm25()", "--out", out, "--engine", "ngrams")
    bench("run", *flags, "--reranker", "cross-encoder:size=4", "--as", "ngrams")
    found = best(out / "data" / "test" / "bm25%28%29" / "ngrams")
    assert found in {"d1", "d2", "d3"}
    wrong = bench("run", *flags, "--reranker", "cross-encoder:sise=4", exit_code=1)
    assert "did you mean size" in wrong
    wrong = bench("run", *flags, "--reranker", "pointwise", exit_code=1)
    assert "pointwise yields NextToken, which ngrams cannot answer; use --engine" in wrong
    bench("doctor", "--engine", "ngrams", "--quick")


def code_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_page_builds_a_reranker_in_25_lines_that_passes_its_own_test(tmp_path):
    reranker, test = code_blocks()
    assert len([line for line in reranker.splitlines() if line.strip()]) <= 25
    (tmp_path / "mine.py").write_text(reranker)
    (tmp_path / "try.py").write_text(test)
    subprocess.run([sys.executable, "try.py"], cwd=tmp_path, check=True, capture_output=True)


def test_the_pages_file_runs_from_the_command_line(data, tmp_path):
    (tmp_path / "mine.py").write_text(code_blocks()[0])
    flags = ["--task", data, "--profile", "bm25()", "--engine", "fake", "--no-cache", "--json"]
    flags += ["--out", tmp_path / "runs"]
    named = f"{tmp_path / 'mine.py'}:YesNoThenDuel:max_doc_tokens=3"
    rows = json.loads(bench("run", *flags, "--reranker", named))
    asked = {row["calls_per_query"] for row in rows if row["reranker"]}
    assert asked == {4.0}
