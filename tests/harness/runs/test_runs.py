from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench.errors import BadData, RerankBenchError, RunConflict
from rerank_bench.reranking import Defaults, Usage, build
from rerank_bench.runs import QueryResult, Run, files, prompt_fingerprint, read_run
from rerank_bench.runs import folder as runs

SETTINGS: dict[str, Any] = {
    "task": "Toy/one",
    "profile": {"asked": "bm25", "resolved": "bm25", "origin": "shipped", "sha256": "00"},
    "reranker": {"label": "reverse", "method": "reverse", "options": {"window": 20}},
    "depth": None,
}


def a_run(settings: Mapping[str, Any] = SETTINGS) -> Run:
    served = QueryResult(
        query_id="q1",
        doc_ids=("b", "s|é", "a"),
        scores=(1.5, 0.25, None),
        first_stage_ranks=(2, 3, 1),
        safeguard="s|é",
        usage=Usage(3, 2, 100, 10, 1, 1, 0.5),
        counts={"repaired": 2},
    )
    failed = QueryResult("q2", ("a",), (None,), (1,), failed="timed out", counts={"mine": 1})
    empty = QueryResult("q3", (), (), ())
    qrels = {"q1": {"s|é": 2, "x": 0}, "q2": {"a": 1}, "q3": {"gone": 1}}
    engine = {"is_real": True, "exact_labels": True, "hardware": {}}
    return Run({"format": 1, "settings": settings, **engine}, (served, failed, empty), qrels)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """The folder of a run."""
    runs.write_run(tmp_path / "run", a_run())
    return tmp_path / "run"


def test_a_run_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    folder = runs.run_folder(tmp_path, "Toy/one", "bm25", "reverse")
    runs.write_run(folder, a_run())
    assert read_run(folder) == a_run()
    assert runs.find_runs(tmp_path) == runs.find_runs(folder) == [folder]


def test_a_manifest_of_version_0_1_is_completed_with_the_gpus_in_use(stored: Path) -> None:
    file = stored / "manifest.json"
    old = json.loads(file.read_text(encoding="utf-8"))
    del old["is_real"], old["exact_labels"]
    old["settings"]["engine"] = {"name": "vllm"}
    old["hardware"] = {"gpu": "H200", "gpus": 8}  # all that the machine had
    old["engine"] = {"data_parallel": 2, "tensor_parallel_size": 2}
    file.write_text(json.dumps(old), encoding="utf-8")
    found = runs.read_manifest(stored)
    assert (found["is_real"], found["exact_labels"]) == (True, True)
    assert found["hardware"] == {"gpu": "H200", "gpus": 4}


@pytest.mark.parametrize("name", ["rankings", "qrels"])
def test_in_which_order_rows_stand_in_a_file_does_not_matter(stored: Path, name: str) -> None:
    """A table that a data frame wrote back is sorted by something else, or not at all."""
    file = stored / f"{name}.parquet"
    pq.write_table(pq.read_table(file).sort_by("doc_id"), file)
    assert read_run(stored) == a_run()


@pytest.mark.parametrize(
    ("name", "column", "values", "why"),
    [
        ("rankings", "rank", [1, 2, 2, 1], "the ranks of query q1 are not 1 to 3"),
        ("rankings", "first_stage_rank", [2, None, 1, 1], "a row has no first_stage_rank"),
        ("rankings", "first_stage_rank", [2, 2, 1, 1], "not one score and first-stage rank"),
        ("rankings", "query_id", ["q1", "q1", "q1", "q9"], r"query q9 is not in usage\.parquet"),
        ("usage", "query_id", ["q1", "q2", "q2"], "it has a query twice"),
        ("usage", "pool_chars", [9, 9, 9], "query q3 had candidates but has no ranking"),
        ("qrels", "doc_id", ["x", "x", "a", "gone"], "query q1 has two grades for a document"),
        ("qrels", "grade", ["a lot", "0", "1", "1"], "a lot"),
    ],
)
def test_a_file_whose_rows_cannot_be_is_named(
    stored: Path, name: str, column: str, values: list[Any], why: str
) -> None:
    file = stored / f"{name}.parquet"
    table = pq.read_table(file)
    place = table.column_names.index(column)
    pq.write_table(table.set_column(place, column, [values]), file)
    with pytest.raises(BadData, match=rf"\.parquet.*{why}"):
        read_run(stored)


@pytest.mark.parametrize(("depth", "flops"), [(0, None), ("5", None), (None, "many"), (None, -1.0)])
def test_a_manifest_with_impossible_figures_is_refused(
    tmp_path: Path, depth: Any, flops: Any
) -> None:
    run = a_run({**SETTINGS, "depth": depth})
    changed = {**run.manifest, "ideal_flops": flops}
    runs.write_run(tmp_path / "run", Run(changed, run.results, run.qrels))
    with pytest.raises(BadData, match=r"manifest\.json.*is not possible"):
        read_run(tmp_path / "run")


def test_a_run_is_written_and_read_in_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_GROUP", 2)
    runs.write_run(tmp_path / "run", a_run())
    assert pq.ParquetFile(tmp_path / "run" / "usage.parquet").num_row_groups == 2
    assert read_run(tmp_path / "run") == a_run()


@pytest.mark.parametrize("order", ["query_id", "doc_id"])
def test_a_query_whose_rows_are_in_several_row_groups_is_read_whole(
    stored: Path, order: str
) -> None:
    for name in ("rankings", "qrels"):
        file = stored / f"{name}.parquet"
        pq.write_table(pq.read_table(file).sort_by(order), file, row_group_size=2)
    assert read_run(stored) == a_run()


def test_equal_ids_of_a_run_are_one_object_and_its_numbers_are_in_arrays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_GROUP", 1)
    names = tuple(f"document {n}" for n in range(100))
    scores, ranks = tuple(map(float, range(100))), range(1, 101)
    two = tuple(QueryResult(name, names, scores, tuple(ranks)) for name in ("q1", "q2"))
    runs.write_run(tmp_path / "run", replace(a_run(), results=two))
    one, other = read_run(tmp_path / "run").results
    assert all(a is b for a, b in zip(one.doc_ids, other.doc_ids, strict=True))
    assert tuple(one.scores) == scores
    assert sum(sys.getsizeof(kept) for kept in (one.scores, one.first_stage_ranks)) < 1_500


def test_the_files_have_the_promised_columns(stored: Path) -> None:
    rows = pq.read_table(stored / "rankings.parquet").to_pylist()
    assert rows[1] == {
        "query_id": "q1",
        "doc_id": "s|é",
        "rank": 2,
        "score": 0.25,
        "first_stage_rank": 3,
        "is_safeguard": True,
        "failed": False,
        "first_stage_score": None,
    }
    assert [row["failed"] for row in rows] == [False, False, False, True]
    usage = pq.read_table(stored / "usage.parquet").to_pylist()
    assert usage[1]["failed"] == "timed out"
    assert (usage[0]["counts.repaired"], usage[0]["calls"]) == (2, 3)


@pytest.mark.parametrize(
    ("task", "profile", "label", "stored"),
    [
        ("Nano/x", "bm25()", "a+B@20", "Nano/x/bm25%28%29/a+B@20"),
        ("t", "rrf(a,b)", "..", "t/rrf%28a%2Cb%29/%2E%2E"),
        ("../up", ".", "é", "%2E%2E/up/%2E/%C3%A9"),
        ("t", "run(/a/b.tsv)", "", "t/run%28%2Fa%2Fb.tsv%29/%"),
    ],
)
def test_path_parts_are_percent_encoded(task: str, profile: str, label: str, stored: str) -> None:
    assert runs.run_folder(Path("r"), task, profile, label).as_posix() == f"r/{stored}"


@given(st.lists(st.text(alphabet="a./%~+é\0\n ", max_size=8), min_size=2, max_size=2, unique=True))
def test_other_labels_are_stored_elsewhere_and_below_the_root(labels: list[str]) -> None:
    folders = [runs.run_folder(Path("root"), "t", "p", label) for label in labels]
    assert folders[0] != folders[1]
    assert all(f.parent == Path("root/t/p") and f.name not in {".", ".."} for f in folders)


def test_a_name_too_long_for_a_file_system_is_shortened_and_kept_apart(tmp_path: Path) -> None:
    folders = [runs.run_folder(tmp_path, "t", "é" * 300 + end, "l") for end in "ab"]
    assert folders[0] != folders[1]
    for folder in folders:
        runs.write_run(folder, a_run())
    assert runs.find_runs(tmp_path) == sorted(folders)


def test_a_finished_run_is_known_by_its_settings(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert not runs.check_finished(folder, SETTINGS)
    runs.write_run(folder, a_run())
    assert runs.check_finished(folder, {**SETTINGS})
    assert runs.check_finished(folder, json.loads(json.dumps(SETTINGS)))


def test_other_settings_are_refused_with_the_difference_and_the_cure(stored: Path) -> None:
    reranker = {**SETTINGS["reranker"], "options": {"window": 10}}
    changed = {**SETTINGS, "depth": 50, "reranker": reranker, "queries": 7}
    with pytest.raises(RunConflict) as caught:
        runs.check_finished(stored, changed)
    message = str(caught.value)
    assert "depth null, now 50" in message
    assert "queries absent, now 7" in message
    assert "reranker.options.window 20, now 10" in message
    assert "--as" in message
    assert message.count("\n") <= 1


def test_writing_over_a_run_keeps_the_first_or_is_refused(tmp_path: Path, stored: Path) -> None:
    runs.write_run(stored, a_run())
    with pytest.raises(RunConflict):
        runs.write_run(stored, a_run({**SETTINGS, "depth": 3}))
    assert read_run(stored) == a_run()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


KILLED = """
import os, signal, sys
from pathlib import Path
from rerank_bench.runs import folder as runs
from rerank_bench.runs import Run
at = int(sys.argv[2])
real, seen = runs._sync, []
def sync(path):
    if len(seen) == at:
        os.kill(os.getpid(), signal.SIGKILL)
    seen.append(path)
    real(path)
runs._sync = sync
runs.write_run(Path(sys.argv[1]), Run({"format": 1, "settings": {}}, (), {}))
"""


def test_a_killed_process_leaves_no_run_and_the_next_cleans_up(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "run"
    for at in (0, 2, 4):
        subprocess.run([sys.executable, "-c", KILLED, str(folder), str(at)], check=False)
        assert not folder.exists()
        assert runs.find_runs(tmp_path) == []
        assert not runs.check_finished(folder, {})
    runs.write_run(folder, a_run())
    assert [path.name for path in folder.parent.iterdir()] == ["run"]


def test_what_a_living_process_writes_aside_is_left_alone(tmp_path: Path) -> None:
    host = socket.gethostname()
    living, other = tmp_path / f".run#{host}-{os.getppid()}", tmp_path / ".other#elsewhere-1"
    for aside in (living, other):
        aside.mkdir()
        (aside / "manifest.json").write_text("{}")
    runs.write_run(tmp_path / "run", a_run())
    assert living.exists()
    assert other.exists()
    assert runs.find_runs(tmp_path) == [tmp_path / "run"]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runs, "_sync", full)
    with pytest.raises(RerankBenchError, match=r"cannot write the run .*No space left"):
        runs.write_run(tmp_path / "run", a_run())
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_no_folder_is_refused_before_and_at_writing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "task" / "run"
    with pytest.raises(RerankBenchError, match="no writable folder"):
        runs.check_finished(folder, SETTINGS)
    with pytest.raises(RerankBenchError, match="cannot write the run"):
        runs.write_run(folder, a_run())


def test_a_folder_of_something_else_is_not_taken_for_a_run(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert not runs.check_finished(tmp_path / "empty", SETTINGS)
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(BadData, match="holds no run"):
        runs.check_finished(tmp_path, SETTINGS)


@pytest.mark.parametrize("name", ["rankings.parquet", "usage.parquet", "qrels.parquet"])
def test_a_run_without_one_of_its_files_is_not_taken_for_finished(stored: Path, name: str) -> None:
    (stored / name).unlink()
    with pytest.raises(BadData, match=rf"{name}: it does not exist; remove that run's folder"):
        runs.check_finished(stored, SETTINGS)


def test_a_run_without_its_manifest_is_found_so_that_reading_it_is_an_error(stored: Path) -> None:
    (stored / "manifest.json").unlink()
    (found,) = runs.find_runs(stored.parent)
    with pytest.raises(BadData, match=r"manifest\.json: it does not exist"):
        runs.read_manifest(found)


@pytest.mark.parametrize("name", ["manifest.json", "rankings.parquet", "usage.parquet"])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff not a run"])
def test_a_broken_file_is_named_in_one_line(stored: Path, name: str, content: bytes | None) -> None:
    file = stored / name
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(BadData) as caught:
        read_run(stored)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_column_and_another_format_are_named(stored: Path) -> None:
    file = stored / "qrels.parquet"
    pq.write_table(pq.read_table(file).drop_columns(["grade"]), file)
    with pytest.raises(BadData, match=r"qrels\.parquet.*no column grade"):
        read_run(stored)
    (stored / "manifest.json").write_text('{"format": 9, "settings": {}}')
    with pytest.raises(BadData, match="its format is 9, this version reads 1"):
        read_run(stored)


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (QueryResult("q9", ("a", "a"), (1.0, 0.0), (1, 2)), "q9 ranks a document twice"),
        (QueryResult("q9", ("a",), (), (1,)), "not one score and first-stage rank"),
        (QueryResult("q9", ("a",), (1.0,), (1,), safeguard="s"), "does not rank its safeguard"),
    ],
)
def test_what_is_no_ranking_is_not_stored(tmp_path: Path, result: QueryResult, why: str) -> None:
    with pytest.raises(BadData, match=why):
        runs.write_run(tmp_path / "run", Run({"format": 1, "settings": {}}, (result,), {}))
    assert not (tmp_path / "run").exists()


def test_a_folder_of_runs_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="nowhere"):
        runs.find_runs(tmp_path / "nowhere")


def test_a_run_knows_the_text_of_every_prompt_file(tmp_path: Path) -> None:
    file = tmp_path / "document.toml"
    words = 'source = "ours"\nlicence = "Apache-2.0"\nchanges = "none"\ntext = "{} {}"\n'
    file.write_text(words.format("", "{{ document }}"))
    choice = build("e2rank", {"document_prompt": str(file), "model": "m"}, Defaults())
    found = {prompt_fingerprint(choice)}
    file.write_text(words.format("Passage:", "{{ document }}"))
    found.add(prompt_fingerprint(choice))
    assert len(found) == 2
