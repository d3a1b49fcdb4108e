"""Whose instruction a reranker works by, and that runs say it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest

from rerank_bench import (
    BadOption,
    FakeEngine,
    LabelScores,
    RunConflict,
    load_run,
    load_runs,
    load_task,
)
from rerank_bench.engines import fake
from rerank_bench.inspect.replay import replay
from rerank_bench.pools import PoolOptions
from rerank_bench.reranking import Scope, choose, in_effect
from rerank_bench.suite import Suite, run_suite
from rerank_bench.tasks import TaskOptions, stdlib_code

QWEN = "Qwen3-Reranker-0.6B"
USUAL = "Given a web search query, retrieve relevant passages that answer the query"


@pytest.fixture(scope="module")
def task():
    """The standard library as a task, but small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stdlib_code, "DOCUMENTS", 60)
        yield load_task("stdlib-code")


@pytest.fixture
def suite(task, tmp_path, monkeypatch):
    """Qwen3-Reranker over a task with an instruction; and the instructions that were asked by."""
    seen = []

    def watch(request):
        text = request.prompt.text or "\n".join(m.text for m in request.prompt.messages)
        seen.append(text.partition("<Instruct>: ")[2].partition("\n")[0])
        return LabelScores(dict.fromkeys(request.labels, -1.0))

    monkeypatch.setattr(fake, "overlap", watch)
    return qwen_suite(tmp_path), seen


def scope(policy: str) -> Scope:
    return Scope(queries=1, depth=2, instructions=policy)


def qwen_suite(folder, policy: str = "model") -> Suite:
    return Suite(
        tasks=[("stdlib-code", TaskOptions())],
        profiles=[("bm25", PoolOptions())],
        rerankers=[choose(f"{QWEN}:engine=fake")],
        out=folder / "runs",
        cache=folder / "replies",
        scope=scope(policy),
    )


def test_by_default_a_model_gets_its_published_instruction_whatever_the_task(suite):
    plan, seen = suite
    (folder,) = run_suite(plan)
    assert set(seen) == {USUAL}
    recorded = load_run(folder).manifest["settings"]["reranker"]["instruction"]
    assert recorded == {"source": "model default", "text": USUAL}


def test_the_tasks_instruction_is_given_where_it_is_asked_for(suite, task):
    plan, seen = suite
    (folder,) = run_suite(replace(plan, scope=scope("task")))
    assert set(seen) == {task.instruction}
    recorded = load_run(folder).manifest["settings"]["reranker"]["instruction"]
    assert recorded == {"source": "task", "text": task.instruction}


def test_runs_by_other_instructions_are_not_the_same_run(suite):
    plan, _ = suite
    run_suite(plan)
    with pytest.raises(RunConflict, match=r"reranker\.instruction\.source"):
        run_suite(replace(plan, scope=scope("task")))


def test_a_reranker_that_takes_none_makes_the_same_run_either_way(suite):
    plan, _ = suite
    plan = replace(plan, rerankers=[choose("pointwise:engine=fake"), choose("identity")])
    assert run_suite(plan) == run_suite(replace(plan, scope=scope("task")))


def test_a_policy_that_does_not_exist_is_refused():
    with pytest.raises(BadOption, match="--instructions is model or task, not 'mine'"):
        Scope(instructions="mine")


@dataclass(frozen=True)
class Plugin:
    asks = frozenset({FakeEngine})

    def rerank(self, candidates):
        return [0.0] * len(candidates.documents)


@pytest.mark.parametrize(
    ("name", "policy", "source"),
    [
        (QWEN, "model", "model default"),
        (QWEN, "task", "task"),
        (f"{QWEN}:instruction=mine", "task", "own"),
        ("mxbai-rerank-base-v2", "model", None),
        ("mxbai-rerank-base-v2", "task", "task"),
        ("cross-encoder:engine=fake", "task", None),
        ("late-interaction:engine=fake", "task", None),
        ("listwise:engine=fake", "task", None),
        ("identity", "task", None),
    ],
)
def test_the_source_is_recorded_of_every_kind_of_reranker(task, name, policy, source):
    recorded = in_effect(task, choose(name), policy)
    assert (recorded or {}).get("source") == source


def test_a_plugin_that_says_nothing_counts_as_taking_the_tasks(task):
    choice = replace(choose("identity"), reranker=Plugin())
    assert in_effect(task, choice, "model") is None
    assert in_effect(task, choice, "task")["source"] == "task"
    silent = replace(task, instruction=None)
    assert in_effect(silent, choice, "task") is None
    assert in_effect(silent, choose(QWEN), "task")["source"] == "model default"


def test_the_report_says_which_and_nothing_of_a_run_that_did_not_record_it(suite):
    plan, _ = suite
    rerankers = [*plan.rerankers, choose("identity"), choose(f"{QWEN}:engine=fake,as=old")]
    folders = run_suite(replace(plan, rerankers=rerankers))
    file = folders[2] / "manifest.json"
    manifest = json.loads(file.read_text())
    del manifest["settings"]["reranker"]["instruction"]
    file.write_text(json.dumps(manifest))
    runs = load_runs(plan.out).evaluation.runs
    recorded = dict(zip(runs["reranker"], runs["instruction"], strict=True))
    assert recorded == {QWEN: "model default", "identity": "none", "old": None}


@pytest.mark.parametrize("policy", ["model", "task"])
def test_a_query_is_shown_with_the_instruction_of_its_run(tmp_path, task, policy):
    (folder,) = run_suite(qwen_suite(tmp_path, policy))
    query_id = load_run(folder).results[0].query_id
    (view,) = replay(folder, [query_id], cache=tmp_path / "replies")
    assert all(exchange.known for exchange in view.exchanges)
    wanted = {"model": USUAL, "task": task.instruction}[policy]
    assert f"<Instruct>: {wanted}" in view.exchanges[0].prompt


class Methods:
    """A reranker of a user's own, whose prompt and instruction are methods."""

    takes_instruction = True

    def prompt(self, query: str) -> str:
        return query

    instruction = prompt

    def rerank(self, candidates):
        return [0.0] * len(candidates.documents)


def test_a_reranker_may_have_methods_named_prompt_and_instruction(task):
    choice = replace(choose("identity"), reranker=Methods())
    assert in_effect(task, choice, "model") is None
    recorded = in_effect(task, choice, "task")
    assert recorded == {"source": "task", "text": task.instruction}
