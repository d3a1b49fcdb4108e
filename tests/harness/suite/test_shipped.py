"""The suites that ship with the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from rerank_bench import UnknownName
from rerank_bench.engines import NO_ENGINE, PACKAGED, could_answer
from rerank_bench.reranking import catalogue, methods
from rerank_bench.suite import build_suite, read_suite, shipped_suites
from rerank_bench.tasks import catalogue as tasks

FLOORS = {"identity", "reverse"}
EXPERIMENTS_FOLDER = Path(__file__).parents[3] / "docs" / "experiments"
EXPERIMENTS = ["comparison", "cost", "depth", "orders", "stages", "thinking", "windows"]


def shipped(name: str):
    return build_suite(read_suite(Path(name)))


@pytest.mark.parametrize("name", sorted(shipped_suites()))
def test_the_first_line_says_what_a_suite_is_in_one_sentence(name: str) -> None:
    first, second, *_ = shipped_suites()[name].read_text(encoding="utf-8").splitlines()
    assert first[-1] in ".:"
    assert second == "#"


@pytest.mark.parametrize("name", sorted(shipped_suites()))
def test_a_shipped_suite_can_be_built_and_its_engines_answer(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    suite = shipped(name)
    assert len({choice.label for choice in suite.rerankers}) == len(suite.rerankers)
    for choice in suite.rerankers:
        if choice.engine != NO_ENGINE:
            assert could_answer(choice.engine.name, choice.declared.asks), choice.label


@pytest.mark.parametrize("name", sorted(shipped_suites()))
def test_every_task_of_a_shipped_suite_is_in_the_catalogue(name):
    known = {"stdlib-code", "hakari-core", *(n.rpartition("/")[0] for n in tasks()), *tasks()}
    assert {task for task, _ in shipped(name).tasks} <= known


@pytest.mark.parametrize("name", sorted(shipped_suites()))
def test_the_first_line_of_a_shipped_suite_is_a_whole_sentence(name):
    """`list suites` prints that line alone."""
    assert shipped_suites()[name].read_text().partition("\n")[0][-1] in ":."


def test_core_has_every_method_once():
    found = [choice.method for choice in shipped("core").rerankers]
    assert sorted(found) == sorted(set(methods()) - FLOORS)


def test_papers_nano_has_every_named_reranker_that_needs_no_code_of_others():
    rows = shipped("papers-nano").rerankers
    named = {choice.label for choice in rows} | {row.after.stage for row in rows if row.after}
    comments = shipped_suites()["papers-nano"].read_text().partition("[defaults]")[0]
    for name, entry in catalogue().items():
        if entry.model in PACKAGED:
            assert name not in named
        elif "needs trust_remote_code" in entry.notes:
            assert name not in named
            assert name in comments
        else:
            assert name in named


def test_papers_nano_runs_ecorank_as_a_cascade_of_its_two_models():
    (row,) = [c for c in shipped("papers-nano").rerankers if c.label == "EcoRank"]
    assert row.after is not None
    assert (row.after.earlier.label, row.after.depth) == ("EcoRank-judge-flan-t5-xl", 50)
    assert {row.engine.name, row.after.earlier.engine.name} == {"transformers"}


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
