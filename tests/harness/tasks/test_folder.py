from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from rerank_bench.errors import BadData, BadOption, UnknownName
from rerank_bench.tasks import Note, Task, TaskOptions, find_tasks

Writer = Callable[..., Path]


def only(folder: Path, options: TaskOptions | None = None) -> Task:
    (ref,) = find_tasks(str(folder), options or TaskOptions())
    return ref.load()


def rewrite(folder: Path, config: str, columns: Mapping[str, Sequence[Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(dict(columns)), folder / config / "a.parquet")


def test_a_folder_yields_its_tasks_under_its_last_name(nano_folder: Writer) -> None:
    folder = nano_folder("a", "b")
    assert [ref.name for ref in find_tasks(str(folder))] == ["Tiny/a", "Tiny/b"]
    assert [ref.name for ref in find_tasks(f"{folder}/b")] == ["Tiny/b"]


def test_a_task_keeps_file_order_and_counts_empty_documents(nano_folder: Writer) -> None:
    task = only(nano_folder())
    assert list(task.corpus) == ["d1", "d2", "d3"]
    assert task.corpus["d3"] == ""
    assert task.notes == {"empty documents": Note(1, ("d3",))}
    assert task.source.kind == "folder"
    assert task.positives("q1") == {"d1"}


def test_the_folder_is_recorded_as_the_user_gave_it(
    nano_folder: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(nano_folder().parent)
    (ref,) = find_tasks("./Tiny/a")
    assert ref.name == "Tiny/a"
    assert ref.load().source.dataset == "./Tiny"
    assert find_tasks("Tiny")[0].load().source.dataset == "Tiny"


def test_whole_number_ids_become_strings(nano_folder: Writer) -> None:
    qrels = {"query-id": [1], "corpus-id": [10]}
    task = only(
        nano_folder(
            corpus={"_id": [10, 11], "text": ["x", "y"]},
            queries={"_id": [1], "text": ["x?"]},
            qrels=qrels,
            bm25={"query-id": [1], "corpus-ids": [[11, 10]]},
        )
    )
    assert task.qrels == {"1": {"10": 1}}
    assert task.shipped.load("bm25") == {"1": ("11", "10")}


def test_a_list_of_documents_in_one_qrels_row_is_several_judgements(nano_folder: Writer) -> None:
    qrels = {"query-id": ["q1", "q2"], "corpus-id": [["d1", "d2"], ["d3"]]}
    assert only(nano_folder(qrels=qrels)).qrels == {"q1": {"d1": 1, "d2": 1}, "q2": {"d3": 1}}


def test_a_score_applies_to_every_document_of_its_row_or_to_each_its_own(
    nano_folder: Writer,
) -> None:
    folder = nano_folder()
    row: dict[str, list[Any]] = {"query-id": ["q1"], "corpus-id": [["d1", "d2"]]}
    rewrite(folder, "qrels", {**row, "score": [2]})
    assert only(folder).qrels == {"q1": {"d1": 2, "d2": 2}}
    rewrite(folder, "qrels", {**row, "score": [[2, 0]]})
    assert only(folder).qrels == {"q1": {"d1": 2, "d2": 0}}
    rewrite(folder, "qrels", {**row, "score": [[2]]})
    with pytest.raises(BadData, match="2 documents but 1 scores"):
        only(folder)


def test_grade_0_is_a_judgement_and_min_grade_sets_what_is_positive(nano_folder: Writer) -> None:
    qrels = {
        "query-id": ["q1", "q1", "q1", "q2"],
        "corpus-id": ["d1", "d2", "d3", "d2"],
        "score": [0, 1, 2, 1],
    }
    folder = nano_folder(qrels=qrels)
    assert only(folder).positives("q1") == {"d2", "d3"}
    strict = only(folder, TaskOptions(min_grade=2))
    assert strict.positives("q1") == {"d3"}
    assert strict.qrels["q1"] == {"d1": 0, "d2": 1, "d3": 2}
    assert list(strict.queries) == ["q1"]
    assert strict.notes["queries without a positive"] == Note(1, ("q2",))


def test_judgements_of_unknown_documents_are_counted_named_and_kept(nano_folder: Writer) -> None:
    unknown = [f"x{i}" for i in range(7)]
    qrels = {"query-id": ["q1"] * 8, "corpus-id": ["d1", *unknown], "score": [1] * 5 + [0] * 3}
    task = only(nano_folder(qrels=qrels))
    assert task.notes["qrels to unknown ids"] == Note(7, tuple(unknown[:5]))
    assert task.notes["positives outside the corpus"].count == 4
    assert task.positives("q1") == {"d1", "x0", "x1", "x2", "x3"}


def test_judgements_of_unknown_queries_and_repeated_ones_are_counted(nano_folder: Writer) -> None:
    qrels = {"query-id": ["q1", "q1", "q2", "q9"], "corpus-id": ["d1", "d1", "d2", "d2"]}
    notes = only(nano_folder(qrels=qrels)).notes
    assert notes["judged queries without a text"] == Note(1, ("q9",))
    assert notes["repeated judgements"] == Note(1, ("q1 d1",))


BROKEN: list[tuple[str, dict[str, Any], str]] = [
    ("duplicate document", {"corpus": {"_id": ["d1", "d1"], "text": ["x", "y"]}}, "'d1' is there"),
    ("duplicate query", {"queries": {"_id": ["q1", "q1"], "text": ["x", "y"]}}, "'q1' is there"),
    ("cast makes a duplicate", {"queries": {"_id": ["1", "1"], "text": ["x", "y"]}}, "'1'"),
    ("empty query", {"queries": {"_id": ["q1"], "text": [" \n"]}}, "query 'q1' has no text"),
    ("missing query text", {"queries": {"_id": ["q1"], "text": [None]}}, "'q1' has no text"),
    ("missing column", {"corpus": {"id": ["d1"], "text": ["x"]}}, "column '_id' is missing"),
    ("missing text", {"corpus": {"_id": ["d1"]}}, "column 'text' is missing"),
    ("missing id", {"corpus": {"_id": ["d1", None], "text": ["x", "y"]}}, "None in column '_id'"),
    ("no documents", {"corpus": {"_id": [], "text": []}}, "no rows"),
    ("no queries", {"queries": {"_id": [], "text": []}}, "no rows"),
    ("no judgements", {"qrels": {"query-id": [], "corpus-id": []}}, "no judgements"),
    (
        "no positives",
        {"qrels": {"query-id": ["q1"], "corpus-id": ["d1"], "score": [0]}},
        "no query of task Tiny/a has a judgement of grade 1 or more",
    ),
    (
        "contradiction",
        {"qrels": {"query-id": ["q1"] * 2, "corpus-id": ["d1"] * 2, "score": [1, 2]}},
        "query 'q1' grades 'd1' both 1 and 2",
    ),
    (
        "half a grade",
        {"qrels": {"query-id": ["q1"], "corpus-id": ["d1"], "score": [0.5]}},
        "query 'q1': score 0.5 is no whole number",
    ),
]


@pytest.mark.parametrize(
    ("changed", "said"), [row[1:] for row in BROKEN], ids=[r[0] for r in BROKEN]
)
def test_broken_data_is_an_error_that_names_the_file(
    nano_folder: Writer, changed: dict[str, Any], said: str
) -> None:
    folder = nano_folder(**changed)
    with pytest.raises(BadData) as caught:
        only(folder)
    assert said in str(caught.value)
    assert f"{next(iter(changed))}/a.parquet" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("config", ["corpus", "queries", "qrels"])
def test_a_missing_config_is_named_before_anything_is_read(
    nano_folder: Writer, config: str
) -> None:
    folder = nano_folder(**{config: None})
    with pytest.raises(BadData, match=f"has no config '{config}'"):
        find_tasks(str(folder))


@pytest.mark.parametrize("config", ["corpus", "queries", "qrels"])
def test_a_split_missing_from_one_task_is_named_before_anything_is_read(
    nano_folder: Writer, config: str
) -> None:
    folder = nano_folder("a", "b")
    (folder / config / "b.parquet").unlink()
    with pytest.raises(BadData, match=f"config '{config}' has no split b"):
        find_tasks(str(folder))
    assert [ref.name for ref in find_tasks(f"{folder}/a")] == ["Tiny/a"]


def test_an_unknown_split_is_answered_with_the_nearest(nano_folder: Writer) -> None:
    folder = nano_folder("xquad_x", "arcd")
    with pytest.raises(UnknownName, match="did you mean xquad_x"):
        find_tasks(f"{folder}/xquad")


def test_a_folder_that_is_not_there_is_answered_with_its_neighbour(nano_folder: Writer) -> None:
    folder = nano_folder()
    for wrong in (f"{folder}y", f"{folder}y/a"):
        with pytest.raises(UnknownName, match=r"did you mean .*/Tiny\?"):
            find_tasks(wrong)


def test_a_folder_without_a_task_is_told_what_one_looks_like(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="holds no task"):
        find_tasks(str(tmp_path))


def test_a_revision_cannot_pin_a_folder(nano_folder: Writer) -> None:
    with pytest.raises(BadOption, match="cannot pin"):
        find_tasks(str(nano_folder()), TaskOptions(revision="main"))


@pytest.mark.parametrize("grade", [0, -1, True, 1.0, "2"])
def test_min_grade_is_a_whole_number_of_at_least_1(grade: Any) -> None:
    with pytest.raises(BadOption, match="min-grade"):
        TaskOptions(min_grade=grade)


def test_another_qrels_config_is_used_when_named(nano_folder: Writer) -> None:
    folder = nano_folder("a", "b", qrels_b={"query-id": ["q1"], "corpus-id": ["d2"]})
    task = find_tasks(f"{folder}/a", TaskOptions(qrels="qrels_b"))[0].load()
    assert task.qrels == {"q1": {"d2": 1}}
    (folder / "qrels_b" / "b.parquet").unlink()
    with pytest.raises(BadData, match="config 'qrels_b' has no split b"):
        find_tasks(str(folder), TaskOptions(qrels="qrels_b"))
    with pytest.raises(UnknownName, match="did you mean qrels_b"):
        find_tasks(str(folder), TaskOptions(qrels="qrels_c"))


def test_a_trec_file_replaces_the_judgements_of_any_task(
    nano_folder: Writer, tmp_path: Path
) -> None:
    file = tmp_path / "mine.qrels"
    file.write_text("q1 0 d2 3\n\nq1\t0\td1\t0\n")
    task = only(nano_folder(), TaskOptions(qrels=str(file)))
    assert task.qrels == {"q1": {"d2": 3, "d1": 0}}
    file.write_text("q1 d2 3\n")
    with pytest.raises(BadData, match=r"mine.qrels, line 1: expected 4 columns"):
        only(nano_folder(), TaskOptions(qrels=str(file)))
    file.write_text("q1 0 d2 3\nq1 0 d2 high\n")
    with pytest.raises(BadData, match=r"line 2: grade 'high'"):
        only(nano_folder(), TaskOptions(qrels=str(file)))


def test_shipped_lists_are_the_candidate_configs_that_have_the_split(nano_folder: Writer) -> None:
    folder = nano_folder("a", "b", qrels_b={"query-id": ["q1"], "corpus-id": ["d2"]})
    (folder / "bm25" / "b.parquet").unlink()
    a, b = (ref.load() for ref in find_tasks(str(folder)))
    assert a.shipped.names() == ("bm25",)
    assert b.shipped.names() == ()
    assert a.shipped.load("bm25") == {"q1": ("d1", "d3"), "q2": ("d2",)}
    with pytest.raises(BadData, match="config 'bm25' has no split b"):
        b.shipped.load("bm25")
    with pytest.raises(UnknownName, match="did you mean bm25"):
        a.shipped.load("bm52")
    with pytest.raises(UnknownName):
        a.shipped.load("qrels")


def test_a_broken_candidate_list_is_an_error(nano_folder: Writer) -> None:
    folder = nano_folder(bm25={"query-id": ["q1"], "corpus-ids": [["d1", "d2", "d1"]]})
    with pytest.raises(BadData, match="query 'q1' lists document 'd1' twice"):
        only(folder).shipped.load("bm25")
    rewrite(folder, "bm25", {"query-id": ["q1"], "docs": [["d1"]]})
    with pytest.raises(BadData, match="column 'corpus-ids' is missing"):
        only(folder).shipped.load("bm25")


def test_a_file_that_is_no_parquet_is_an_error(nano_folder: Writer) -> None:
    folder = nano_folder()
    (folder / "corpus" / "a.parquet").write_text("not parquet")
    with pytest.raises(BadData, match=r"corpus/a.parquet cannot be read as parquet"):
        only(folder)


HEADER = """---
configs:
- config_name: corpus
  data_files: [{split: a, path: data/texts.parquet}]
- config_name: queries
  data_files: {a: data/asked.parquet}
- config_name: qrels
  data_files:
  - {split: a, path: [data/judged-*.parquet]}
---
# Tiny
"""


def test_the_files_that_the_readme_declares_are_read(nano_folder: Writer) -> None:
    folder = nano_folder()
    (folder / "data").mkdir()
    for config, name in (("corpus", "texts"), ("queries", "asked"), ("qrels", "judged-0")):
        (folder / config / "a.parquet").rename(folder / "data" / f"{name}.parquet")
    (folder / "README.md").write_text(HEADER)
    task = only(folder)
    assert task.qrels == {"q1": {"d1": 1}, "q2": {"d2": 1}}
    assert "bm25" in task.shipped.names()
    (folder / "data" / "judged-0.parquet").unlink()
    with pytest.raises(BadData, match="config 'qrels' has no split a"):
        find_tasks(str(folder))


def test_the_shards_of_a_split_are_read_as_one(nano_folder: Writer) -> None:
    folder = nano_folder()
    (folder / "queries" / "a.parquet").rename(folder / "queries" / "a-00000-of-00002.parquet")
    rewrite(folder, "queries", {"_id": ["q3"], "text": ["third?"]})
    (folder / "queries" / "a.parquet").rename(folder / "queries" / "a-00001-of-00002.parquet")
    rewrite(folder, "qrels", {"query-id": ["q1", "q3"], "corpus-id": ["d1", "d1"]})
    assert list(only(folder).queries) == ["q1", "q3"]


def test_a_missing_shard_is_refused_and_named(nano_folder: Writer) -> None:
    folder = nano_folder()
    (folder / "corpus" / "a.parquet").rename(folder / "corpus" / "a-00001-of-00003.parquet")
    said = r"corpus lacks a-00000-of-00003.parquet, a-00002-of-00003.parquet; fetch every file"
    with pytest.raises(BadData, match=said):
        only(folder)


def test_judgements_of_a_nano_folder_may_have_tabs(nano_folder: Writer) -> None:
    folder = nano_folder(qrels=None)
    (folder / "qrels").mkdir()
    (folder / "qrels" / "a.tsv").write_text("q1\td1\t2\n")
    assert only(folder).qrels == {"q1": {"d1": 2}}


@pytest.mark.parametrize(
    "header",
    [
        "configs:\n\t- x: [",
        "configs: [{config_name: x, data_files: [{split: a, path: /tmp/*.jsonl}]}]",
        "configs: [{config_name: x, data_files: [{split: a, path: '**x/*.jsonl'}]}]",
        "configs: [{config_name: x, data_files: [{split: a}]}]",
        "configs: 1",
    ],
)
def test_a_readme_whose_configs_cannot_be_read_is_refused(nano_folder: Writer, header: str) -> None:
    folder = nano_folder()
    (folder / "README.md").write_text(f"---\n{header}\n---\n")
    with pytest.raises(BadData, match=r"README.md: the `configs` of its header cannot be read \("):
        find_tasks(str(folder))


def test_shards_with_different_columns_are_an_error(nano_folder: Writer) -> None:
    folder = nano_folder()
    (folder / "qrels" / "a.parquet").rename(folder / "qrels" / "a-00000-of-00002.parquet")
    rewrite(folder, "qrels", {"query-id": ["q1"], "corpus-id": ["d1"], "score": [1]})
    (folder / "qrels" / "a.parquet").rename(folder / "qrels" / "a-00001-of-00002.parquet")
    with pytest.raises(BadData, match=r"a-00001-of-00002.parquet has other columns"):
        only(folder)


def test_a_rewritten_file_is_never_stale(nano_folder: Writer) -> None:
    folder = nano_folder()
    before = only(folder)
    rewrite(folder, "queries", {"_id": ["q1"], "text": ["changed?"]})
    after = only(folder)
    assert after.queries == {"q1": "changed?"}
    assert after.source.sha256 != before.source.sha256


def test_the_sha256_knows_every_text_and_grade_but_no_order(nano_folder: Writer) -> None:
    folder = nano_folder()
    first = only(folder).source.sha256
    rewrite(folder, "corpus", {"_id": ["d3", "d2", "d1"], "text": ["", "two", "one"]})
    assert only(folder).source.sha256 == first
    rewrite(folder, "corpus", {"_id": ["d3", "d2", "d1"], "text": ["", "one", "two"]})
    assert only(folder).source.sha256 != first


def test_every_real_task_loads_whole(nano: Path) -> None:
    tasks = [r.load() for f in ("NanoDev", "NanoGraded") for r in find_tasks(str(nano / f))]
    sizes = {task.split: (len(task.queries), len(task.corpus)) for task in tasks}
    assert sizes["trec_dl19"] == (43, 10000)
    assert sizes["lee_news"] == (48, 50)
    assert len(tasks) == 12
    for task in tasks:
        assert {"bm25", "all_minilm_l6_v2", "reranking_hybrid"} <= set(task.shipped.names())


def test_the_official_judgements_of_dl19_reach_outside_the_corpus(nano: Path) -> None:
    options = TaskOptions(qrels="qrels_official")
    (ref,) = find_tasks(str(nano / "NanoGraded" / "trec_dl19"), options)
    task = ref.load()
    assert sum(len(graded) for graded in task.qrels.values()) == 9260
    assert task.notes["qrels to unknown ids"].count > 4000
    assert set(task.shipped.names()) >= {"bm25_anserini", "splade_pp_ed"}
    with pytest.raises(BadData, match="'qrels_official' has no split"):
        find_tasks(str(nano / "NanoGraded"), options)
