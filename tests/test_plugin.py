"""Plugins: rerankers and engines as a stranger would write and install them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "add-a-reranker.md"


@pytest.fixture
def data(beir):
    corpus = {"d1": "apple", "d2": "apple and much more besides", "d3": "apple pie"}
    return beir({"q1": "apple"}, corpus, {"q1": {"d2": 1}})


def call(*arguments: object, path: Path | None) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, as an installed program is."""
    command = [sys.executable, "-c", "from rerank_bench.cli import main; main()"]
    environment = {**os.environ, **({"PYTHONPATH": str(path)} if path else {})}
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, env=environment
    )


def bench(*arguments: object, path: Path | None = None) -> str:
    done = call(*arguments, path=path)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fails(*arguments: object, path: Path | None = None) -> str:
    done = call(*arguments, path=path)
    assert done.returncode == 1, done.stdout
    return done.stderr


def best(folder: Path) -> str:
    from rerank_bench import load_run

    return load_run(folder).results[0].doc_ids[0]


def install(source: Path, site: Path) -> None:
    """Install a package into a folder of its own."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--no-index", "--target", str(site), str(source)]
    subprocess.run(command, check=True, capture_output=True)


def test_an_installed_reranker_is_found_by_its_entry_point(data, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for file in (ROOT / "tests" / "plugin_package").glob("*.*"):
        (source / file.name).write_bytes(file.read_bytes())
    site = tmp_path / "site"
    install(source, site)
    listed = json.loads(bench("list", "rerankers", "--json", path=site))
    assert "longest" in {row["reranker"] for row in listed}
    out = tmp_path / "runs"
    flags = ("--task", data, "--profile", "bm25()", "--out", out, "--no-cache")
    bench("run", *flags, "--reranker", "longest", path=site)
    bench("run", *flags, "--reranker", "longest:power=-1", "--as", "shortest", path=site)
    assert best(out / "data" / "test" / "bm25%28%29" / "longest") == "d2"
    assert best(out / "data" / "test" / "bm25%28%29" / "shortest") == "d1"


def test_the_engine_of_the_page_has_40_lines_and_works_once_it_is_installed(data, tmp_path):
    page = (ROOT / "docs" / "add-an-engine.md").read_text(encoding="utf-8")
    (code,), (toml,) = (
        re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL) for language in ("python", "toml")
    )
    assert len([line for line in code.splitlines() if line.strip()]) <= 40
    source, site, out = tmp_path / "source", tmp_path / "site", tmp_path / "runs"
    source.mkdir()
    (source / "ngrams.py").write_text(code)
    (source / "pyproject.toml").write_text(toml)
    install(source, site)
    listed = json.loads(bench("list", "engines", "--json", path=site))
    shown = {row["engine"]: row["what"] for row in listed}
    assert shown["ngrams"] == "Shared character n-grams, without a model"
    flags = ("--task", data, "--profile", "bm25()", "--out", out, "--engine", "ngrams")
    bench("run", *flags, "--reranker", "cross-encoder:size=4", "--as", "ngrams", path=site)
    found = best(out / "data" / "test" / "bm25%28%29" / "ngrams")
    assert found in {"d1", "d2", "d3"}
    wrong = fails("run", *flags, "--reranker", "cross-encoder:sise=4", path=site)
    assert "did you mean size" in wrong
    wrong = fails("run", *flags, "--reranker", "pointwise", path=site)
    assert "pointwise yields NextToken, which ngrams cannot answer; use --engine" in wrong
    bench("doctor", "--engine", "ngrams", "--quick", path=site)


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
