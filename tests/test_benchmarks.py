"""What the benchmarks beside other packages share: unequal outputs are never timed."""

from __future__ import annotations

import json
import math
import runpy
import time
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench import PairScore
from rerank_bench.tasks import Source, Task, find_tasks

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "benchmarks" / "peers"
BENCH = runpy.run_path(str(PEERS / "side_by_side.py"), run_name="side_by_side")
Way, Match, Found = BENCH["Way"], BENCH["Match"], BENCH["Found"]
side_by_side, near, same = BENCH["side_by_side"], BENCH["near"], BENCH["same"]
NUMBERS = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=9)


def counted(name: str, output: Any) -> tuple[Any, list[str]]:
    """A way, and the calls of it."""
    calls: list[str] = []

    def run() -> Any:
        calls.append(name)
        return output

    return Way(name, run), calls


def test_ways_whose_outputs_differ_have_no_seconds_and_no_ratio():
    ours, our_calls = counted("ours", [1.0, 2.0])
    equal, equal_calls = counted("equal", [1.0, 2.0])
    other, other_calls = counted("other", [1.0, 2.1])
    matches = [Match(ours, equal, 2), Match(ours, other, 2)]
    alike, differing = side_by_side(matches, near("scores", 1e-4), 3)
    assert alike["equal"]["holds"]
    assert len(alike["our_seconds"]) == len(alike["peer_seconds"]) == 3
    assert differing["equal"] == {
        "what": "scores", "compared": 2, "difference": pytest.approx(0.1), "allowed": 1e-4,
        "holds": False,
    }  # fmt: skip
    assert differing.keys() == {"ours", "peer", "aim", "equal"}
    assert (len(our_calls), len(equal_calls), len(other_calls)) == (4, 4, 1)


def test_without_a_warm_up_the_compared_call_is_the_first_round():
    ours, calls = counted("ours", "a")
    peer, _ = counted("peer", "a")
    (row,) = side_by_side([Match(ours, peer, 1)], same("letters"), 2, warm_up=False)
    assert len(row["our_seconds"]) == len(calls) == 2


def test_what_comes_before_a_way_is_called_each_time():
    calls: list[int] = []
    ours = Way("ours", lambda: [0.0], before=lambda: calls.append(1))
    peer, _ = counted("peer", [0.0])
    side_by_side([Match(ours, peer, 1)], near("scores", 0), 2)
    assert len(calls) == 3


@given(NUMBERS, st.floats(1e-3, 1), st.data())
def test_one_number_apart_is_enough_to_differ(numbers: list[float], apart: float, data: Any):
    place = data.draw(st.integers(0, len(numbers) - 1))
    moved = [*numbers[:place], numbers[place] + apart, *numbers[place + 1 :]]
    compare = near("scores", apart / 2)
    assert compare(numbers, numbers).holds
    assert not compare(numbers, moved).holds
    assert not compare(numbers, [*numbers, 0.0]).holds
    assert not same("orders")(numbers, moved).holds


@pytest.mark.parametrize("compare", [near("scores", 1), same("orders")])
def test_nothing_is_not_equal(compare: Any):
    assert not compare([], []).holds


def test_no_number_is_equal_to_none():
    assert not near("scores", 1)([1.0, math.nan], [1.0, math.nan]).holds


def test_a_case_is_kept_with_its_command_and_the_page_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    results, page = tmp_path / "peers.json", tmp_path / "page.md"
    page.write_text(f"# Page\n\n{BENCH['BEGIN']}old\n{BENCH['END']}\nafter\n")
    for name, path in (("RESULTS", results), ("PAGE", page)):
        monkeypatch.setitem(BENCH["keep"].__globals__, name, path)

    @BENCH["case"]("toy", "click")
    @click.option("--size", "count", default=1)
    @BENCH["rounds"](1)
    def toy(count: int, rounds: int) -> Any:
        """Compare nothing much."""
        ours, peer = counted("ours", [1.0] * count)[0], counted("peer", [1.0] * count)[0]
        return Found(side_by_side([Match(ours, peer, 2)], near("scores", 0), rounds), {"a": 1.0})

    done = CliRunner().invoke(toy, ["--size=3"])
    assert done.exit_code == 0, done.output
    assert not results.exists(), "a run with other options replaces no figures unasked"
    done = CliRunner().invoke(toy, ["--size=3", "--keep"])
    (kept,) = json.loads(results.read_text()).values()
    assert kept["command"] == "python benchmarks/peers toy --size=3"
    assert kept["versions"]["click"]
    assert kept["rows"][0]["ratio"] > 0
    text = page.read_text()
    assert "old" not in text
    assert "| `toy` | ours | peer | 3 scores, 0 apart |" in text
    assert text.startswith("# Page\n")
    assert text.endswith("\nafter\n")


def test_the_help_names_the_cases(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(PEERS)
    main = runpy.run_path(str(PEERS), run_name="peers")["main"]
    done = CliRunner().invoke(main, ["--help"])
    assert done.exit_code == 0
    assert set(main.commands) >= {"cross-encoder", "evaluation", "overhead"}
    assert all(name in done.output for name in main.commands)


@pytest.mark.parametrize(("outputs", "status"), [([1, 1], 0), ([1, 2], 1)])
def test_without_a_case_all_run_and_one_difference_fails(
    monkeypatch: pytest.MonkeyPatch, outputs: list[int], status: int
):
    monkeypatch.syspath_prepend(PEERS)
    main = runpy.run_path(str(PEERS), run_name="peers")["main"]
    run: list[int] = []

    def toy(output: int) -> click.Command:
        return click.Command(str(output), callback=lambda: run.append(output) or output == 1)

    monkeypatch.setattr(main, "commands", {place: toy(out) for place, out in enumerate(outputs)})
    assert CliRunner().invoke(main, []).exit_code == status
    assert run == outputs


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a file of benchmarks/peers and return its names."""
    monkeypatch.syspath_prepend(PEERS)
    return lambda name: runpy.run_path(str(PEERS / f"{name}.py"), run_name=name)


def test_a_request_that_one_side_repeats_or_lacks_is_a_difference(module: Any):
    compare = module("overhead")["in_any_order"]
    one, other = PairScore("a", "b"), PairScore("a", "c")
    assert compare([one, other], [other, one]).holds
    assert compare([one, other], [one, one]).difference == 2
    assert not compare([one, one], [one]).holds


@pytest.mark.parametrize("in_flight", [64, 512])
def test_the_paced_engine_answers_each_request_once_and_no_faster_than_its_pace(
    module: Any, in_flight: int
):
    engine = module("overhead")["Paced"](in_flight, rate=2000)
    start = time.perf_counter()
    found = [index for index, _ in engine.stream(PairScore("a", str(i)) for i in range(200))]
    assert time.perf_counter() - start >= 0.1
    assert found == list(range(200))


def test_a_nano_data_set_is_read_as_it_was_made(module: Any, tmp_path: Path):
    data = module("nano_data")
    texts = {f"d{i}": f"text {i}" for i in range(6)}
    whole = Task(
        "whole", "test", {"q1": "one", "q2": "two"}, texts, {"q1": {"d1": 1}, "q2": {"d2": 1}},
        Source("folder", "here"),
    )  # fmt: skip
    ranked = {"bm25": {"q1": ["d0", "d1", "d2"], "q2": []}}
    made = data["_part"](whole, "NQ", ["q1", "q2"], 4, ranked, 3)
    assert {"d1", "d2"} < made.corpus.keys()
    assert len(made.corpus) == 4
    assert all(len(set(own)) == 3 for own in made.lists["bm25"].values())
    data["write"](tmp_path, [made], {"bm25": "bm25"})
    (ref,) = find_tasks(str(tmp_path))
    task = ref.load()
    assert (task.queries, task.corpus) == (made.queries, made.corpus)
    assert {q: min(task.positives(q)) for q in task.queries} == made.positive
    assert {q: list(own) for q, own in task.shipped["bm25"]().items()} == made.lists["bm25"]


def test_documents_that_are_equal_after_the_cut_are_one(module: Any):
    corpus = {"d1": "same start here", "d2": "same start there", "d3": "other"}
    qrels = {"q1": {"d1": 1}, "q2": {"d2": 1}}
    whole = Task(
        "whole", "test", {"q1": "one", "q2": "two"}, corpus, qrels, Source("folder", "here")
    )
    cut = module("nano_data")["_distinct"](whole, 2)
    assert cut.corpus == {"d1": "same start", "d3": "other"}
    assert list(cut.queries) == ["q1"]
