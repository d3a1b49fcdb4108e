"""Every number of a report is recomputed from its run folders by a script that knows none of us."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from rerank_bench import load_runs
from rerank_bench.cli import main
from rerank_bench.evaluation import JSON_FIELDS, Row, compare
from rerank_bench.report import comparison_json

NANO = Path(__file__).parents[2] / "shared" / "nano"
COMPARED = (
    ("good", "fair"), ("fair", "served"), ("flawed", "harm"), ("good", "broken"),
    ("good", "mending"), ("good", "fake"), ("good", "random"), ("partial", "good"),
)  # fmt: skip
FRAMES = ("orders", "latencies", "strata", "queries")


@pytest.fixture(scope="module")
def script() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent / "recompute"))
        yield importlib.import_module("recompute")


@dataclass
class Crafted:
    """The crafted runs, all that is told of them, and what the script makes of them."""

    runs: Path
    report: list[dict[str, Any]]
    frames: dict[str, Any]
    comparisons: list[dict[str, Any]]
    read: Any


@pytest.fixture(scope="module")
def kept() -> dict[str, Crafted]:
    return {}


@pytest.fixture
def crafted(
    script: Any, kept: dict[str, Crafted], tmp_path_factory: pytest.TempPathFactory
) -> Crafted:
    """Made by the first test that asks, for each test has caches of its own."""
    if not kept:
        runs = tmp_path_factory.mktemp("crafted")
        importlib.import_module("recompute_crafted").write_all(runs)
        frames = load_runs(runs)
        kept["all"] = Crafted(
            runs,
            told("report", str(runs), "--json"),
            {name: getattr(frames, name).to_dict("records") for name in FRAMES},
            [compared(frames.evaluation.rows, *pair) for pair in COMPARED],
            script.Read(runs),
        )
    return kept["all"]


def told(*flags: str) -> Any:
    done = CliRunner().invoke(main, flags)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def compared(rows: Sequence[Row], one: str, other: str) -> dict[str, Any]:
    """What `compare ONE OTHER --json` prints, without reading the runs once more."""
    ones, others = ([row for row in rows if row.reranker == label] for label in (one, other))
    found: dict[str, Any] = json.loads(comparison_json(compare(ones, others)))
    return found


def reported(runs: Path, *flags: str) -> list[dict[str, Any]]:
    """Run, and read the report of what was run."""
    found: list[dict[str, Any]] = told("run", "--out", str(runs), "--no-cache", "--json", *flags)
    return found


def changed(name: str, value: Any) -> Any:
    """Another value of the same kind; numbers move by a millionth."""
    if name == "family":
        return "the 99 tasks"
    if name == "orders":
        return (*value, "reverse")
    if name == "invalid":
        return None if value else "labels found"
    if isinstance(value, (list, tuple)):
        return (*value[:-1], changed(name, value[-1]))
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return 0.01
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return f"{value}?"
    return value + 1 if isinstance(value, int) else value * (1 + 1e-6) + 1e-8


def assert_each_is_found(script: Any, told: dict[Any, Any], own: dict[Any, Any]) -> None:
    """Change each number of one row, where it is told and where it is not."""
    assert own
    for name in next(iter(own.values())):
        some = [key for key in own if told[key][name] is not None][:1]
        none = [key for key in own if told[key][name] is None][:1]
        assert some, f"no row has {name}"
        for key in some + none:
            tally = script.Tally()
            row = {**told[key], name: changed(name, told[key][name])}
            tally.table("", {key: row}, {key: own[key]})
            assert len(tally.lines) == 1, (key, name)
            assert f"· {name}" in tally.lines[0]


def test_all_that_is_told_of_crafted_runs_is_recomputed(script: Any, crafted: Crafted) -> None:
    compared, differing = script.check(
        crafted.read, crafted.report, crafted.frames, *crafted.comparisons
    )
    assert differing == []
    assert compared > 20_000


def test_the_crafted_runs_hold_what_is_to_be_recomputed(crafted: Crafted) -> None:
    """Both kinds of p, stars and none, of tasks, of means and of comparisons; and no p."""
    tasks = [row for row in crafted.report if row["tasks"] == 1 and row["reranker"]]
    means = [row for row in crafted.report if row["tasks"] > 1]
    for rows in (tasks, means):
        main_ = [row for row in rows if row["measure"] == "nDCG@10"]
        assert {row["p_from"] for row in main_} == {None, "flips", "t"}
        assert {row["starred"] for row in main_ if row["p"] is not None} == {True, False}
        assert any(row["p"] != row["p_holm"] for row in main_ if row["p"])
        tested = {row["reranker"] for row in main_ if row["p"] is not None}
        assert tested >= {"good", "fair", "flawed", "mended", "served", "shallow", "strict"}
        assert tested.isdisjoint({"broken", "mending", "wordy", "lost", "fake", "random", "lucky"})
    few = [row for row in tasks + means if row["task"] in {"Few", "Small", "Small/a", "Small/b"}]
    assert {row["p"] for row in few} == {None}
    compared = [row for told in crafted.comparisons for row in told["groups"] + told["tasks"]]
    assert {row["p_from"] for row in compared} == {None, "flips", "t"}


@pytest.mark.parametrize("is_mean", [False, True])
def test_every_field_of_a_row_is_recomputed_or_is_said_not_to_be(
    script: Any, crafted: Crafted, is_mean: bool
) -> None:
    ranked = {k: row for k, row in crafted.read.rows.items() if k[0] == is_mean and k[3]}
    for row in ranked.values():
        assert {*row, *script.WORDS, *script.NOT_COVERED} == set(JSON_FIELDS)


@pytest.mark.parametrize("kind", ["task", "mean", "recall"])
def test_any_changed_number_of_a_report_is_found(script: Any, crafted: Crafted, kind: str) -> None:
    kinds = {True: "mean", False: "task"}
    own = {
        key: row
        for key, row in crafted.read.rows.items()
        if kind == ("recall" if key[3] is None else kinds[key[0]])
    }
    assert_each_is_found(script, script.by_key(crafted.report, crafted.read.rows), own)


@pytest.mark.parametrize("name", FRAMES)
def test_any_changed_number_of_a_frame_is_found(script: Any, crafted: Crafted, name: str) -> None:
    own = crafted.read.frames[name]
    assert_each_is_found(script, script.by_name(name, crafted.frames[name]), own)


def test_any_changed_number_of_a_comparison_is_found(script: Any, crafted: Crafted) -> None:
    found = told("compare", "good", "fair", "--runs", str(crafted.runs), "--json")
    assert found == crafted.comparisons[0]
    own = script.compare_rows(crafted.read.mains, "good", "fair")
    for rows, recomputed in zip(script.by_place(found), own, strict=True):
        assert_each_is_found(script, rows, recomputed)


def test_a_row_too_many_and_a_row_too_few_are_found(script: Any, crafted: Crafted) -> None:
    *rest, last = crafted.report
    _, differing = script.check(crafted.read, [*rest, rest[0], {**last, "reranker": "ghost"}])
    assert len(differing) == 3
    assert sum("ghost" in line for line in differing) == 1
    assert "report: 1 rows are told twice" in differing


def test_ranks_count_and_not_the_order_of_the_rows(
    script: Any, crafted: Crafted, tmp_path: Path
) -> None:
    """Rows sorted by their ids tell the same; ranks turned round do not."""
    importlib.import_module("recompute_crafted").write_all(tmp_path)
    file = tmp_path / "Few" / "bm25" / "good" / "rankings.parquet"
    table = pq.read_table(file)
    pq.write_table(table.sort_by([("doc_id", "ascending")]), file)
    few = [row for row in crafted.report if row["task"] == "Few"]
    assert script.check(tmp_path / "Few", few)[1] == []
    turned = table["rank"].to_pylist()
    size = {q: table["query_id"].to_pylist().count(q) for q in set(table["query_id"].to_pylist())}
    ranks = [
        size[q] + 1 - rank for q, rank in zip(table["query_id"].to_pylist(), turned, strict=True)
    ]
    pq.write_table(table.set_column(2, "rank", [ranks]), file)
    assert script.check(tmp_path / "Few", few)[1] != []


def test_the_script_says_what_it_compared_and_fails_where_a_number_differs(
    script: Any,
    crafted: Crafted,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    few = [row for row in crafted.report if row["task"] == "Few"]
    file = tmp_path / "report.json"
    monkeypatch.setattr("sys.argv", ["recompute.py", str(crafted.runs / "Few"), str(file)])
    file.write_text(json.dumps(few))
    assert script.main() == 0
    assert capsys.readouterr().out.endswith(" numbers compared, 0 differ\n")
    few[-1]["wins"] += 1
    file.write_text(json.dumps(few))
    assert script.main() == 1
    assert "· wins: reported" in capsys.readouterr().out


def test_a_report_on_stdlib_code_is_recomputed_to_the_last_number(
    script: Any, tmp_path: Path
) -> None:
    rerankers = ("identity", "reverse", "random", "cross-encoder:engine=fake,as=overlap")
    flags = [flag for name in rerankers for flag in ("--reranker", name)]
    report = reported(
        tmp_path, "--task", "stdlib-code", "--profile", "bm25()", "--queries", "40", *flags
    )
    compared, differing = script.check(tmp_path, report)
    assert differing == []
    assert compared > 500


@pytest.mark.skipif(not NANO.is_dir(), reason="the Nano data sets are not beside the checkout")
def test_a_report_on_graded_and_parallel_nano_tasks_is_recomputed(
    script: Any, tmp_path: Path
) -> None:
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
    assert compared > 1000
    assert any(row["clusters"] for row in report)
