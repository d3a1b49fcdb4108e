"""The suites that ship with the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from rerank_bench import UnknownName
from rerank_bench.engines import NO_ENGINE, PACKAGED, could_answer
from rerank_bench.reranking import catalogue, methods
from rerank_bench.suite import build_suite, read_suite, shipped_suites

FLOORS = {"identity", "reverse"}
EXPERIMENTS_FOLDER = Path(__file__).parents[3] / "docs" / "experiments"
EXPERIMENTS = ["comparison", "cost", "depth", "orders", "stages", "thinking", "windows"]


def shipped(name: str):
    return build_suite(read_suite(Path(name)))


@pytest.mark.parametrize("name", ["core", "laptop", "papers-nano"])
def test_a_shipped_suite_can_be_built_and_its_engines_answer(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    suite = shipped(name)
    assert len({choice.label for choice in suite.rerankers}) == len(suite.rerankers)
    for choice in suite.rerankers:
        if choice.engine != NO_ENGINE:
            assert could_answer(choice.engine.name, choice.declared.asks), choice.label


def test_core_has_every_method_once():
    found = [choice.method for choice in shipped("core").rerankers]
    assert sorted(found) == sorted(set(methods()) - FLOORS)


def test_papers_nano_has_every_named_reranker_that_needs_no_code_of_others():
    named = {choice.label for choice in shipped("papers-nano").rerankers}
    comments = shipped_suites()["papers-nano"].read_text().partition("[defaults]")[0]
    for name, entry in catalogue().items():
        if entry.model in PACKAGED:
            assert name not in named
        elif "needs trust_remote_code" in entry.notes:
            assert name not in named
            assert name in comments
        else:
            assert name in named


def test_laptop_needs_only_models_that_pip_brings():
    models = {choice.engine.model for choice in shipped("laptop").rerankers}
    assert models <= {*PACKAGED, None}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiments_suite_can_be_built_and_its_page_has_the_command(name, monkeypatch):
    monkeypatch.chdir(EXPERIMENTS_FOLDER.parents[1])  # prompt files are named from there
    suite = shipped(f"docs/experiments/{name}.toml")
    assert {choice.engine.model for choice in suite.rerankers} <= {*PACKAGED, None}
    page = EXPERIMENTS_FOLDER / f"{name}.md"
    if name == "comparison":
        page = EXPERIMENTS_FOLDER.parent / "papers.md"
    command = f"rerank-bench run docs/experiments/{name}.toml --out {name}\n"
    for text in (page.read_text(), (EXPERIMENTS_FOLDER / f"{name}.toml").read_text()):
        assert command in text
    assert f"({name}.toml)" in (EXPERIMENTS_FOLDER / "README.md").read_text()


def test_a_file_of_that_name_goes_first_and_another_name_is_answered(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert read_suite(Path("laptop"))["defaults"]["depth"] == 10
    Path("laptop").write_text("[defaults]\ndepth = 3\n")
    assert read_suite(Path("laptop"))["defaults"] == {"depth": 3}
    with pytest.raises(UnknownName, match="did you mean laptop"):
        read_suite(Path("labtop"))
