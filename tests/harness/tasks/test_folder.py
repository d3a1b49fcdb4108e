from __future__ import annotations

import json

import pytest

from rerank_bench.errors import BadData, BadOption, UnknownName
from rerank_bench.tasks import Note, TaskOptions, find_tasks

QRELS = {"query-id": ["q1"], "corpus-id": ["d1"]}


def names(folder, **options):
    return [ref.name for ref in find_tasks(str(folder), TaskOptions(**options))]


def test_a_folder_yields_its_tasks_in_file_order_under_its_last_name(nano_folder, load):
    folder = nano_folder("a", "b")
    assert names(folder) == ["Tiny/a", "Tiny/b"]
    assert names(f"{folder}/b") == ["Tiny/b"]
    task = load(f"{folder}/a")
    assert list(task.corpus.items()) == [("d1", "one"), ("d2", "two"), ("d3", "")]
    assert task.notes == {"empty documents": Note(1, ("d3",))}
    assert task.source.kind == "folder"
    assert task.positives("q1") == {"d1"}


def test_the_folder_is_recorded_as_the_user_wrote_it(nano_folder, load, monkeypatch):
    monkeypatch.chdir(nano_folder().parent)
    assert load("./Tiny/a").name == "Tiny/a"
    assert load("./Tiny/a").source.dataset == "./Tiny"
    assert load("Tiny").source.dataset == "Tiny"


@pytest.mark.parametrize("config", ["corpus", "queries", "qrels"])
def test_a_missing_config_or_split_is_named_before_anything_is_read(nano_folder, config):
    folder = nano_folder("a", "b")
    (folder / config / "b.parquet").unlink()
    with pytest.raises(BadData, match=f"config '{config}' has no split b"):
        names(folder)
    assert names(f"{folder}/a") == ["Tiny/a"]
    (folder / config / "a.parquet").unlink()
    with pytest.raises(BadData, match=f"has no config '{config}'"):
        names(folder)


def test_wrong_names_are_answered_with_near_ones(nano_folder, tmp_path):
    folder = nano_folder("xquad_x", "arcd")
    with pytest.raises(UnknownName, match="did you mean xquad_x"):
        names(f"{folder}/xquad")
    for wrong in (f"{folder}y", f"{folder}y/a"):
        with pytest.raises(UnknownName, match=r"did you mean .*/Tiny\?"):
            names(wrong)
    with pytest.raises(BadData, match="holds no task"):
        names(tmp_path)
    with pytest.raises(BadOption, match="cannot pin"):
        names(folder, revision="main")


@pytest.mark.parametrize("grade", [0, -1, True, 1.0, "2"])
def test_min_grade_is_a_whole_number_of_at_least_1(grade):
    with pytest.raises(BadOption, match="min-grade"):
        TaskOptions(min_grade=grade)


def test_another_qrels_config_is_used_when_named(nano_folder, load):
    folder = nano_folder("a", "b", qrels_b={"query-id": ["q1"], "corpus-id": ["d2"]})
    task = load(f"{folder}/a", qrels="qrels_b")
    assert task.qrels == {"q1": {"d2": 1}}
    assert tuple(task.shipped) == ("bm25",)
    (folder / "qrels_b" / "b.parquet").unlink()
    with pytest.raises(BadData, match="config 'qrels_b' has no split b"):
        names(folder, qrels="qrels_b")
    with pytest.raises(UnknownName, match="did you mean qrels_b"):
        names(folder, qrels="qrels_c")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q1 d2 3\n", r"mine.qrels, line 1: expected 4 columns"),
        ("q1 0 d2 3\nq1 0 d2 high\n", "line 2: grade 'high'"),
        ("q1 0 d2 3\n\nq1\t0\td1\t0.0\n", None),
    ],
)
def test_a_trec_file_replaces_the_judgements_of_any_task(
    nano_folder, load, tmp_path, text, message
):
    file = tmp_path / "mine.qrels"
    file.write_text(text)
    if message is None:
        assert load(nano_folder(), qrels=str(file)).qrels == {"q1": {"d2": 3, "d1": 0}}
        return
    with pytest.raises(BadData, match=message):
        load(nano_folder(), qrels=str(file))


def test_shipped_lists_are_the_candidate_configs_that_have_the_split(nano_folder, write_table):
    folder = nano_folder("a", "b")
    (folder / "bm25" / "b.parquet").unlink()
    a, b = (ref.load() for ref in find_tasks(str(folder)))
    assert (tuple(a.shipped), tuple(b.shipped)) == (("bm25",), ())
    assert a.shipped["bm25"]() == {"q1": ("d1", "d3"), "q2": ("d2",)}


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"query-id": ["q1"], "corpus-ids": [["d1", "d2", "d1"]]}, "lists document 'd1' twice"),
        ({"query-id": ["q1", "q1"], "corpus-ids": [["d1"], ["d2"]]}, "query 'q1' has two lists"),
        ({"query-id": ["q1"], "corpus-ids": ["d1"]}, "row 1: query 'q1': column 'corpus-ids' does"),
    ],
)
def test_a_broken_candidate_list_is_an_error(nano_folder, load, lists, message):
    with pytest.raises(BadData, match=message):
        load(nano_folder(bm25=lists)).shipped["bm25"]()


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


def test_the_files_that_the_readme_declares_are_read(nano_folder, load):
    folder = nano_folder()
    (folder / "data").mkdir()
    for config, name in (("corpus", "texts"), ("queries", "asked"), ("qrels", "judged-0")):
        (folder / config / "a.parquet").rename(folder / "data" / f"{name}.parquet")
    (folder / "README.md").write_text(HEADER)
    task = load(folder)
    assert task.qrels == {"q1": {"d1": 1}, "q2": {"d2": 1}}
    assert "bm25" in task.shipped
    (folder / "data" / "judged-0.parquet").unlink()
    with pytest.raises(BadData, match="config 'qrels' has no split a"):
        names(folder)


@pytest.mark.parametrize(
    "header",
    [
        "configs:\n\t- x: [",
        "configs: [{config_name: x, data_files: [{split: a, path: /tmp/*.jsonl}]}]",
        "configs: [{config_name: x, data_files: [{split: a, path: '**x/*.jsonl'}]}]",
        "configs: [{config_name: x, data_files: ../secret.jsonl}]",
        "configs: [{config_name: x, data_files: [{split: a, path: 'data/../../*.jsonl'}]}]",
        "configs: [{config_name: x, data_files: [{split: a}]}]",
        "configs: 1",
    ],
)
def test_a_readme_whose_configs_cannot_be_read_is_refused(nano_folder, header):
    folder = nano_folder()
    (folder / "README.md").write_text(f"---\n{header}\n---\n")
    with pytest.raises(BadData, match=r"README.md: the `configs` of its header cannot be read \("):
        names(folder)


def test_a_readme_cannot_name_a_file_outside_its_folder(nano_folder, write_table):
    folder = nano_folder()
    secret = write_table(folder.parent / "secret.jsonl", {"_id": ["q1"], "text": ["secret"]})
    for path in (str(secret), "../secret.jsonl", "../*.jsonl", "corpus/..\\..\\secret.jsonl"):
        header = {"configs": [{"config_name": "queries", "data_files": {"a": path}}]}
        (folder / "README.md").write_text(f"---\n{json.dumps(header)}\n---\n")
        with pytest.raises(BadData, match=r"is outside the data set\); correct them"):
            names(folder)


def shard(folder, config, number):
    file = folder / config / "a.parquet"
    file.rename(file.with_name(f"a-{number:05}-of-00002.parquet"))


def test_the_shards_of_a_split_are_read_as_one(nano_folder, load, write_table):
    folder = nano_folder()
    shard(folder, "queries", 0)
    queries = {"_id": ["q3"], "text": ["third?"]}
    write_table(folder / "queries" / "a.parquet", queries)
    shard(folder, "queries", 1)
    judged = {"query-id": ["q1", "q3"], "corpus-id": ["d1", "d1"]}
    write_table(folder / "qrels" / "a.parquet", judged)
    assert list(load(folder).queries) == ["q1", "q3"]
    queries = {"_id": ["q3", "q1"], "text": ["third?", "again?"]}
    write_table(folder / "queries" / "a-00001-of-00002.parquet", queries)
    with pytest.raises(BadData, match=r"a-00001-of-00002.parquet, row 2: id 'q1' occurs twice"):
        load(folder)


def test_a_missing_shard_is_refused_and_named(nano_folder, load):
    folder = nano_folder()
    (folder / "corpus" / "a.parquet").rename(folder / "corpus" / "a-00001-of-00003.parquet")
    message = r"corpus lacks a-00000-of-00003.parquet, a-00002-of-00003.parquet; fetch every file"
    with pytest.raises(BadData, match=message):
        load(folder)


def test_judgements_of_a_nano_folder_may_have_tabs(nano_folder, load):
    folder = nano_folder(qrels=None)
    (folder / "qrels").mkdir()
    (folder / "qrels" / "a.tsv").write_text("q1\td1\t2\n")
    assert load(folder).qrels == {"q1": {"d1": 2}}


def test_shards_with_different_columns_are_an_error(nano_folder, load, write_table):
    folder = nano_folder()
    shard(folder, "qrels", 0)
    write_table(folder / "qrels" / "a.parquet", {**QRELS, "score": [1]})
    shard(folder, "qrels", 1)
    with pytest.raises(BadData, match=r"a-00001-of-00002.parquet has other columns"):
        load(folder)


def test_a_file_that_is_not_parquet_is_an_error_and_no_traceback(nano_folder, load):
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = nano_folder()
    file = folder / "corpus" / "a.parquet"
    # invalid UTF-8
    broken = pa.array([b"\xed\xa0\x80", b"x", b"y"]).view(pa.string())
    pq.write_table(pa.table({"_id": pa.array(["d1", "d2", "d3"]), "text": broken}), file)
    for _ in range(2):
        with pytest.raises(BadData, match=r"corpus/a.parquet cannot be read as parquet"):
            load(folder)
        file.write_text("not parquet")


def test_a_parquet_file_with_two_columns_of_one_name_is_refused(nano_folder, load):
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = nano_folder()
    table = pa.table([["d1"], ["one"], ["two"]], names=["_id", "text", "text"])
    pq.write_table(table, folder / "corpus" / "a.parquet")
    with pytest.raises(BadData, match=r"corpus/a.parquet: column 'text' occurs twice"):
        load(folder)


def test_a_rewritten_file_is_never_stale(nano_folder, load, write_table):
    folder = nano_folder()
    before = load(folder)
    write_table(folder / "queries" / "a.parquet", {"_id": ["q1"], "text": ["changed?"]})
    after = load(folder)
    assert after.queries == {"q1": "changed?"}
    assert after.source.sha256 != before.source.sha256


def test_every_real_task_loads_whole_and_has_only_columns_that_are_read(nano):
    tasks = [r.load() for f in ("NanoDev", "NanoGraded") for r in find_tasks(str(nano / f))]
    sizes = {task.split: (len(task.queries), len(task.corpus)) for task in tasks}
    assert (sizes["trec_dl19"], sizes["lee_news"], len(tasks)) == ((43, 10000), (48, 50), 12)
    for task in tasks:
        assert {"bm25", "all_minilm_l6_v2", "reranking_hybrid"} <= set(task.shipped)
        assert "columns that are not read" not in task.notes
        assert all(read() for read in task.shipped.values())


def test_the_official_judgements_of_dl19_reach_outside_the_corpus(nano, load):
    task = load(nano / "NanoGraded" / "trec_dl19", qrels="qrels_official")
    assert sum(len(graded) for graded in task.qrels.values()) == 9260
    assert task.notes["qrels to unknown ids"].count > 4000
    assert task.notes["positives outside the corpus"].count > 1000
    assert set(task.shipped) >= {"bm25_anserini", "splade_pp_ed"}
    with pytest.raises(BadData, match="'qrels_official' has no split"):
        find_tasks(str(nano / "NanoGraded"), TaskOptions(qrels="qrels_official"))
