"""The gains of reports and comparisons are recomputed from run folders by an independent script."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from rerank_bench.cli import main
from rerank_bench.evaluation import compare, evaluate
from rerank_bench.report import comparison_json, to_json
from rerank_bench.runs import QueryResult, Run, run_folder, write_run

COMPARED = (
    ("good", "fair"), ("flawed", "harm"), ("good", "broken"), ("good", "repairing"),
    ("good", "fake"), ("good", "random"), ("partial", "good"), ("fair", "served"),
)  # fmt: skip
LABELS = {"label_calls": 2, "label_tokens": 2, "labels": 4}


@dataclass(frozen=True)
class Crafted:
    """A reranker of a certain skill: a positive's score is so many standard deviations higher."""

    label: str
    skill: float = 0.0
    method: str = "pointwise"
    engine: str = "transformers"
    depth: int | None = None
    min_grade: int = 1
    fails: tuple[int, ...] = ()
    counts: Mapping[str, int] | None = None
    options: Mapping[str, Any] | None = None


RERANKERS = (
    Crafted("good", 2.5),
    Crafted("fair", 0.5),
    Crafted("harm", -3.0),
    Crafted("flawed", 2.0, fails=(2,)),
    Crafted("broken", 2.0, fails=(1, 2, 7, 9)),
    Crafted("repairing", 2.0, counts={"generations": 10, "repaired": 2, "unparsable": 1}),
    Crafted("repaired", 1.0, counts={"generations": 10, "repaired": 1, "unparsable": 1}),
    Crafted("wordy", 2.0, counts={**LABELS, "label_tokens": 3}),
    Crafted("lost", 2.0, counts={**LABELS, "missing_labels": 1}),
    Crafted("shallow", 0.1, depth=5),
    Crafted("strict", 1.5, min_grade=2),
    Crafted("fake", 2.0, engine="fake"),
    Crafted("served", 0.3, engine="http", counts={**LABELS, "labels": 10, "missing_labels": 1}),
    Crafted("identity", method="identity", engine="none"),
    Crafted("random", method="random", engine="none"),
    Crafted("lucky", method="random", engine="none", options={"seed": 3}),
)
"""Real ones, some that fail or do not work as their method is meant to, and floors."""

Query = tuple[QueryResult, Mapping[str, int]]


def queries(rng: np.random.Generator, count: int, *, grades: int = 1, size: int = 0) -> list[Query]:
    """Some have a safeguard, some no candidates, some positives outside the pool.

    With `size` questions have one version to so many.
    """
    found: list[Query] = []
    bases = [f"b{i}" for i in range(count) for _ in range(1 + i % size)] if size else []
    for i in range(count):
        pool = [f"d{j}" for j in range(14)]
        judged = {str(doc): int(rng.integers(grades + 1)) for doc in rng.choice(pool, 3)}
        judged |= {str(rng.choice(pool)): 1, "outside": int(i % 4 == 0)}
        guard = None
        if i % 6 == 5:
            judged, guard = {"guard": 1}, "guard"
        docs = () if i % 12 == 11 else (*pool, *([guard] if guard else []))
        ranks = tuple(range(1, len(docs) + 1))
        base = bases[i] if bases else None
        one = QueryResult(f"q{i}", docs, (None,) * len(docs), ranks, guard if docs else None)
        found.append((replace(one, base=base), judged))
    return found


def write(
    root: Path, task: str, asked: Sequence[Query], by: Crafted, seed: int, profile: str = "bm25"
) -> None:
    rng = np.random.default_rng(seed)
    results = [_reranked(rng, *query, by, place) for place, query in enumerate(asked)]
    settings = {
        "task": task,
        "profile": {"asked": profile, "resolved": profile, "origin": "shipped", "sha256": profile},
        "reranker": {"label": by.label, "method": by.method, "options": by.options or {}},
        "engine": {"name": by.engine, "model": "maker/model"},
        "depth": by.depth,
        "min_grade": by.min_grade,
    }
    qrels = {result.query_id: judged for result, judged in asked}
    folder = run_folder(root, task, profile, by.label)
    write_run(folder, Run({"format": 1, "settings": settings}, tuple(results), qrels))


def _reranked(
    rng: np.random.Generator, query: QueryResult, judged: Mapping[str, int], by: Crafted, place: int
) -> QueryResult:
    if place in by.fails:
        return replace(query, failed="no answer")
    depth = len(query.doc_ids) if by.depth is None else by.depth
    rank = dict(zip(query.doc_ids, query.first_stage_ranks, strict=True))
    moving = [d for d in query.doc_ids if rank[d] <= depth or d == query.safeguard]
    score = {d: by.skill * (judged.get(d, 0) > 0) + rng.normal() for d in moving}
    final = sorted(moving, key=lambda doc: -score[doc])
    final += [doc for doc in query.doc_ids if doc not in score]
    return replace(
        query,
        doc_ids=tuple(final),
        scores=tuple(score.get(doc) for doc in final),
        first_stage_ranks=tuple(rank[doc] for doc in final),
        counts=by.counts or {},
    )


def write_all(root: Path) -> None:
    """Two tasks of one data set by all, after another profile by some, and tasks by themselves."""
    rng = np.random.default_rng(0)
    tasks = {"Set/graded": queries(rng, 30, grades=3), "Set/versions": queries(rng, 60, size=4)}
    for place, (task, asked) in enumerate(tasks.items()):
        for number, by in enumerate(RERANKERS):
            write(root, task, asked, by, seed=100 * place + number)
        for by in (RERANKERS[0], RERANKERS[1], Crafted("mixed", depth=5 + place)):
            write(root, task, asked, by, 50 + place, "dense")
    write(root, "Set/graded", tasks["Set/graded"], Crafted("partial", 1.0), 1)
    write(root, "Few", queries(rng, 19), RERANKERS[0], 2)
    write(root, "Small/a", queries(rng, 24, size=2), RERANKERS[0], 5)
    write(root, "Small/b", queries(rng, 1), RERANKERS[0], 6)
    alone = queries(rng, 40, grades=2)
    write(root, "Alone/one", alone, RERANKERS[0], 3)
    write(root, "Alone/one", alone[:30], RERANKERS[1], 4)
    flat = [(QueryResult(f"q{i}", ("b", "a"), (None, None), (1, 2)), {"a": 1}) for i in range(30)]
    write(root, "Equal", flat, Crafted("good", 99.0), 0)


@pytest.fixture(scope="module")
def script() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent / "recompute"))
        # statsmodels collects garbage in each correction: half a second in a large process.
        patch.setattr("gc.collect", lambda: 0)
        yield importlib.import_module("recompute")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("crafted")
    write_all(root)
    return root


@pytest.fixture(scope="module")
def reports(runs: Path) -> list[Any]:
    """The report of the crafted runs, then comparisons."""
    found = evaluate([runs])
    compared = [comparison_json(compare(found, one, other)) for one, other in COMPARED]
    return [json.loads(text) for text in (to_json(found), *compared)]


@pytest.fixture(scope="module")
def tables(script: Any, runs: Path, reports: list[Any]) -> list[tuple[Any, Any]]:
    """For the report and each comparison: the rows as reported, and as recomputed."""
    mains = script.read(runs)
    return [script.tables(mains, one) for one in reports]


def changed(value: Any) -> Any:
    """Another value of the same kind; numbers move by a millionth."""
    if value is None:
        return 0.01
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return "the 99 gains"
    return value + 1 if isinstance(value, int) else value * (1 + 1e-6) + 1e-8


def test_the_gains_of_crafted_runs_are_recomputed(script: Any, tables: list[Any]) -> None:
    found = [script.differences(*pair) for pair in tables]
    assert [line for _, lines in found for line in lines] == []
    assert sum(compared for compared, _ in found) > 4_000


def test_the_crafted_runs_have_every_kind_of_number(reports: list[Any]) -> None:
    """P-values, stars and none of them, of tasks, means and comparisons; and clusters."""
    ranked = [row for row in reports[0] if row["reranker"] and row["measure"] == "nDCG@10"]
    for rows in ([r for r in ranked if r["tasks"] == 1], [r for r in ranked if r["tasks"] > 1]):
        assert {row["starred"] for row in rows if row["p"] is not None} == {True, False}
        assert any(row["p"] != row["p_holm"] for row in rows if row["p"])
        assert any(row["clusters"] for row in rows)
        tested = {row["reranker"] for row in rows if row["p"] is not None}
        assert tested >= {"good", "fair", "flawed", "repaired", "served", "shallow", "strict"}
        assert tested.isdisjoint(
            {"broken", "repairing", "wordy", "lost", "fake", "random", "lucky"}
        )
    few = [row for row in ranked if row["task"] in {"Few", "Small/a", "Small/b", "Equal"}]
    assert {row["p"] for row in few} == {None}
    none = {row["task"] for row in ranked if row["gain_low"] is None and row["reranker"] == "good"}
    assert none == {"Equal", "Small", "Small/b"}
    compared = [row for one in reports[1:] for row in one["groups"] + one["tasks"]]
    assert {row["starred"] for row in compared if row["p"] is not None} == {True, False}
    assert any(row["p"] is None for row in compared)


@pytest.mark.parametrize("which", [0, 1], ids=["report", "comparison"])
def test_any_changed_number_is_found(script: Any, tables: list[Any], which: int) -> None:
    """One row that has the number, and one that has none, of tasks and of means."""
    rows, own = tables[which]
    for is_mean in (True, False):
        keys = [key for key in own if key[0] == is_mean]
        for name in own[keys[0]]:
            for has in (True, False):
                key = next((k for k in keys if (rows[k][name] is not None) == has), None)
                if key is not None:
                    assert script.differs(name, changed(rows[key][name]), own[key][name]), name


def test_a_row_too_many_and_a_row_too_few_are_found(script: Any, tables: list[Any]) -> None:
    rows, own = tables[0]
    few = ("Few", "bm25", "good", "hit@10")
    changed_rows = {key: row for key, row in rows.items() if key != (False, *few)}
    changed_rows[True, *few] = rows[False, *few]
    _, differing = script.differences(changed_rows, own)
    assert [line.partition(": ")[0] for line in differing] == [
        f"{(m, *few)}" for m in (False, True)
    ]


def test_the_script_says_what_it_compared_and_fails_where_a_number_differs(
    script: Any,
    runs: Path,
    reports: list[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    few = [row for row in reports[0] if row["task"] == "Few"]
    file = tmp_path / "report.json"
    monkeypatch.setattr("sys.argv", ["recompute.py", str(runs / "Few"), str(file)])
    file.write_text(json.dumps(few))
    assert script.main() == 0
    assert capsys.readouterr().out.endswith(" numbers compared, 0 differ\n")
    file.write_text(json.dumps([{**row, "wins": 7777} for row in few]))
    assert script.main() == 1
    assert "wins: reported 7777" in capsys.readouterr().out


def report_of_run(script: Any, out: Path, *flags: str) -> tuple[int, Any]:
    """Run, and return how many numbers of the report were recomputed, and the report."""
    done = CliRunner().invoke(main, ["run", "--out", str(out), "--no-cache", "--json", *flags])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    compared, differing = script.check(script.read(out), report)
    assert differing == []
    return compared, report


def test_a_report_on_stdlib_code_is_recomputed(script: Any, tmp_path: Path) -> None:
    rerankers = ("identity", "reverse", "random", "cross-encoder:engine=fake,as=overlap")
    flags = [flag for name in rerankers for flag in ("--reranker", name)]
    where = ("--task", "stdlib-code", "--profile", "bm25()", "--queries", "20")
    assert report_of_run(script, tmp_path, *where, *flags)[0] > 300


def test_a_report_on_graded_and_parallel_nano_tasks_is_recomputed(
    script: Any, tmp_path: Path, nano: Path
) -> None:
    tasks = ("NanoGraded/noveleval", "NanoDev/xquad_x", "NanoDev/belebele_x")
    flags = [flag for task in tasks for flag in ("--task", str(nano / task))]
    pattern = r"^(?P<base>[^-]+)-.*-(?P<language>[a-z]{2,3})$"
    compared, report = report_of_run(
        script, tmp_path, *flags, "--profile", "reranking_hybrid", "--depth", "10",
        "--reranker", "cross-encoder:engine=fake", "--reranker", "reverse", "--query-id", pattern,
    )  # fmt: skip
    assert compared > 400
    assert any(row["clusters"] for row in report)
