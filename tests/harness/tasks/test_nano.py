"""MTEB's layout: qrels in `default`, one split of texts for all tasks, a prefix per subset."""

from __future__ import annotations

import json

import pytest

from rerank_bench.errors import BadData, UnknownName
from rerank_bench.tasks import Source, TaskOptions, find_tasks
from rerank_bench.tasks.folder import DataSet, LocalFiles
from rerank_bench.tasks.nano import nano_tasks

CORPUS = {"_id": ["d1", "d2"], "title": ["T", ""], "text": ["one", "two"]}
QUERIES = {"_id": ["q1", "q2"], "text": ["first?", "second?"]}
FIRST = {"query-id": ["q1"], "corpus-id": ["d1"], "score": [1]}
SECOND = {"query-id": ["q2", "q2"], "corpus-id": ["d2", "d1"], "score": [2.0, 0.0]}


def test_texts_of_all_tasks_in_one_split_and_qrels_in_default(tmp_path, write_table):
    folder = tmp_path / "scifact"
    write_table(folder / "corpus" / "corpus-00000-of-00001.parquet", CORPUS)
    write_table(folder / "queries" / "queries-00000-of-00001.parquet", QUERIES)
    write_table(folder / "default" / "dev-00000-of-00001.parquet", FIRST)
    write_table(folder / "default" / "test-00000-of-00001.parquet", SECOND)
    dev, test = (ref.load() for ref in find_tasks(str(folder)))
    assert (dev.name, test.name) == ("scifact/dev", "scifact/test")
    assert dev.corpus == test.corpus == {"d1": "T one", "d2": "two"}
    assert (dev.queries, test.qrels) == ({"q1": "first?"}, {"q2": {"d2": 2, "d1": 0}})
    assert dict(dev.notes) == dict(test.notes) == dict(test.shipped) == {}
    with pytest.raises(UnknownName, match="did you mean test"):
        find_tasks(f"{folder}/tset")


def test_json_lines_are_read_if_the_readme_declares_them(tmp_path, write_table, load):
    folder = tmp_path / "fiqa"
    write_table(folder / "data" / "c.jsonl", CORPUS)
    write_table(folder / "data" / "q.jsonl", QUERIES)
    (folder / "data" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    files = {("default", "test"): "test.tsv", ("corpus", "corpus"): "c.jsonl"}
    configs = [
        {"config_name": name, "data_files": [{"split": split, "path": f"data/{file}"}]}
        for (name, split), file in {**files, ("queries", "queries"): "q.jsonl"}.items()
    ]
    (folder / "README.md").write_text(f"---\n{json.dumps({'configs': configs})}\n---\n")
    task = load(folder)
    assert (task.name, task.qrels) == ("fiqa/test", {"q1": {"d1": 1}})


def test_a_clone_of_a_repository_in_json_lines_is_a_beir_folder(tmp_path, write_table, load):
    folder = tmp_path / "nfcorpus"
    write_table(folder / "corpus.jsonl", CORPUS)
    write_table(folder / "queries.jsonl", {**QUERIES, "metadata": [{}, {}]})
    write_table(folder / "qrels" / "test.jsonl", SECOND)
    task = load(folder)
    assert (task.name, task.qrels) == ("nfcorpus/test", {"q2": {"d2": 2, "d1": 0}})
    assert dict(task.notes) == {}


def test_each_subset_is_a_task_of_its_own(tmp_path, write_table, load):
    folder = tmp_path / "miracl"
    lists = {"query-id": ["q1", "q2"], "corpus-ids": [["d1"], ["d2"]]}
    parts = {"corpus": CORPUS, "queries": QUERIES, "top_ranked": lists, "bm25": lists}
    for subset, qrels in (("ar", FIRST), ("de", SECOND)):
        for name, columns in {**parts, "qrels": qrels}.items():
            write_table(folder / f"{subset}-{name}" / "dev-00000-of-00001.parquet", columns)
    ar, de = find_tasks(str(folder))
    assert (ar.name, de.name) == ("miracl/ar-dev", "miracl/de-dev")
    task = load(f"{folder}/de-dev")
    assert (task.split, list(task.queries)) == ("de-dev", ["q2"])
    assert set(task.shipped) == {"bm25", "candidates"}
    assert task.shipped["bm25"]()["q2"] == ("d2",)


@pytest.mark.parametrize("missing", ["corpus", "queries", "qrels"])
def test_a_subset_that_lacks_a_config_is_refused_and_the_others_can_be_named(
    tmp_path, write_table, load, missing
):
    folder = tmp_path / "miracl"
    for subset in ("ar", "de"):
        for name, columns in (("corpus", CORPUS), ("queries", QUERIES), ("qrels", FIRST)):
            if (subset, name) != ("de", missing):
                write_table(folder / f"{subset}-{name}" / "dev.parquet", columns)
    with pytest.raises(BadData, match=f"has no config 'de-{missing}'"):
        find_tasks(str(folder))
    assert load(f"{folder}/ar-dev").name == "miracl/ar-dev"


def test_two_configs_of_judgements_are_refused_but_by_mteb_which_prefers_default(
    tmp_path, write_table, load
):
    folder = tmp_path / "set"
    for name, columns in (("corpus", CORPUS), ("queries", QUERIES), ("qrels", FIRST)):
        write_table(folder / name / "test.parquet", columns)
    write_table(folder / "default" / "test.parquet", {"note": ["no judgement"]})
    assert load(folder).qrels == {"q1": {"d1": 1}}
    write_table(folder / "default" / "test.parquet", SECOND)
    with pytest.raises(BadData, match="choose with --qrels qrels or --qrels default"):
        find_tasks(str(folder))
    assert load(folder, qrels="default").qrels == {"q2": {"d2": 2, "d1": 0}}
    assert load(folder, qrels="qrels").qrels == {"q1": {"d1": 1}}
    assert as_mteb(folder, "test").qrels == {"q2": {"d2": 2, "d1": 0}}
    assert as_mteb(folder, "test", qrels="qrels").qrels == {"q1": {"d1": 1}}


def as_mteb(folder, split, **options):
    """Load a task as mteb's loader would."""
    reader = DataSet(LocalFiles(folder), Source("folder", str(folder)))
    options = TaskOptions(**options)
    (ref,) = nano_tasks(reader, "set", options=options, splits=[split], as_mteb=True)
    return ref.load()


LONE = [
    ("corpus/train queries/a queries/b qrels/all", ["a", "b"]),
    ("corpus/a corpus/b queries/a queries/b qrels/train", ["a", "b"]),
    ("corpus/x queries/x qrels/y", ["x"]),
    ("corpus/corpus queries/train queries/test qrels/test", ["test"]),
    ("corpus/corpus queries/queries qrels/anything", ["anything"]),
]


@pytest.mark.parametrize(("files", "tasks"), LONE)
def test_the_only_split_of_the_judgements_is_taken_whatever_its_name(
    tmp_path, write_table, files, tasks
):
    folder, both = tmp_path / "set", {"query-id": ["q1", "q2"], "corpus-id": ["d1", "d2"]}
    tables = {"corpus": CORPUS, "queries": QUERIES, "qrels": both}
    for file in files.split():
        write_table(folder / f"{file}.parquet", tables[file.partition("/")[0]])
    found = find_tasks(str(folder))
    assert [ref.name for ref in found] == [f"set/{name}" for name in tasks]
    assert all(ref.load().qrels == {"q1": {"d1": 1}, "q2": {"d2": 1}} for ref in found)


@pytest.mark.parametrize("files", [files for files, _ in LONE])
def test_the_only_split_of_the_judgements_is_mtebs_for_the_task_that_is_asked_for(
    tmp_path, write_table, files
):
    folder = tmp_path / "set"
    tables = {"corpus": CORPUS, "queries": QUERIES, "qrels": SECOND}
    for file in files.split():
        write_table(folder / f"{file}.parquet", tables[file.partition("/")[0]])
    asked = [f.partition("/")[2] for f in files.split() if f.startswith("queries")]
    for name in asked if len(asked) > 1 else ["dev"]:
        assert as_mteb(folder, name).qrels == {"q2": {"d2": 2, "d1": 0}}


def test_several_splits_of_judgements_of_which_none_has_queries_are_refused_and_named(
    tmp_path, write_table
):
    folder = tmp_path / "set"
    for name, columns in {"corpus/a": CORPUS, "queries/a": QUERIES, "qrels/x": FIRST,
                          "qrels/y": SECOND}.items():  # fmt: skip
        write_table(folder / f"{name}.parquet", columns)
    with pytest.raises(BadData, match=r"'corpus' has no split x, y \(has: a\); name a complete"):
        find_tasks(str(folder))


def test_an_only_split_that_judges_none_of_the_queries_is_refused(tmp_path, write_table, load):
    folder, other = tmp_path / "set", {"query-id": ["q8"], "corpus-id": ["d1"]}
    for name, columns in {"corpus/a": CORPUS, "queries/a": QUERIES, "qrels/y": other}.items():
        write_table(folder / f"{name}.parquet", columns)
    with pytest.raises(BadData, match=r"y.parquet judges none of the queries in .*a.parquet"):
        load(folder)


def test_mteb_reads_the_config_query_and_the_only_split_of_any_name(tmp_path, write_table):
    folder = tmp_path / "set"
    lists = {"query-id": ["q1"], "corpus-ids": [["d2", "d1"]]}
    asked = {"_id": ["q1"], "text": ["asked instead?"]}
    for name, columns in {"corpus/all": CORPUS, "queries/all": QUERIES, "query/all": asked,
                          "top_ranked/all": lists, "default/test": FIRST}.items():  # fmt: skip
        write_table(folder / f"{name}.parquet", columns)
    task = as_mteb(folder, "test")
    assert (task.queries, list(task.corpus)) == ({"q1": "asked instead?"}, ["d1", "d2"])
    assert sorted(task.shipped["candidates"]()["q1"]) == ["d1", "d2"]


def test_the_candidates_of_mteb_are_shuffled_by_query_and_document(tmp_path, write_table, load):
    folder = tmp_path / "reranking"
    ids = [f"d{n}" for n in range(40)]
    asked = [f"q{n}" for n in range(40)]
    write_table(folder / "corpus" / "test.parquet", {"_id": ids, "text": ids})
    write_table(folder / "queries" / "test.parquet", {"_id": asked, "text": asked})
    judged = {"query-id": asked, "corpus-id": ["d0"] * 40, "score": [1] * 40}
    write_table(folder / "default" / "test.parquet", judged)
    write_table(
        folder / "top_ranked" / "test.parquet", {"query-id": asked, "corpus-ids": [ids] * 40}
    )
    lists = load(folder).shipped["candidates"]()
    assert all(sorted(found) == sorted(ids) for found in lists.values())
    # the positive came first in every list, and comes anywhere in these
    places = [found.index("d0") for found in lists.values()]
    assert min(places) < 5
    assert max(places) > 34
    assert 14 < sum(places) / 40 < 25
    assert lists == load(folder).shipped["candidates"]()
    ranked = {"query-id": asked, "corpus-ids": [ids] * 40}
    write_table(folder / "candidates" / "test.parquet", ranked)
    with pytest.raises(BadData, match="configs 'candidates' and 'top_ranked', which would be one"):
        load(folder)


INSTRUCTED = {"query-id": ["q2", "q1"], "instruction": ["not cats", None]}


def test_an_instruction_stands_behind_its_query(tmp_path, write_table, load):
    folder = tmp_path / "followir"
    write_table(folder / "corpus" / "corpus.parquet", CORPUS)
    write_table(folder / "queries" / "queries.parquet", QUERIES)
    write_table(folder / "instruction" / "test.parquet", INSTRUCTED)
    judged = {"query-id": ["q1", "q2"], "corpus-id": ["d1", "d2"]}
    write_table(folder / "qrels" / "test.parquet", judged)
    assert load(folder).queries == {"q1": "first?", "q2": "second? not cats"}
    write_table(folder / "instruction" / "test.parquet", {k: v[:1] for k, v in INSTRUCTED.items()})
    with pytest.raises(BadData, match=r"instruction/test.parquet: query 'q1' has no instruction"):
        load(folder)
    write_table(folder / "qrels" / "test.parquet", {k: v[1:] for k, v in judged.items()})
    assert load(folder).queries == {"q2": "second? not cats"}
    both = {**QUERIES, "instruction": ["x", "y"]}
    write_table(folder / "queries" / "queries.parquet", both)
    with pytest.raises(BadData, match="both hold instructions; keep one"):
        load(folder)


def test_a_trec_file_makes_the_task_if_texts_are_shared(tmp_path, write_table, load):
    folder, file = tmp_path / "set", tmp_path / "mine.qrels"
    write_table(folder / "corpus" / "corpus.parquet", CORPUS)
    write_table(folder / "queries" / "queries.parquet", QUERIES)
    file.write_text("q2 0 d2 1\n")
    task = load(folder, qrels=str(file))
    assert (task.name, task.qrels) == ("set/mine", {"q2": {"d2": 1}})
    assert load(f"{folder}/own", qrels=str(file)).name == "set/own"
    with pytest.raises(BadData, match="has no config 'qrels'"):
        find_tasks(str(folder))
    with pytest.raises(UnknownName, match="unknown qrels config or file"):
        find_tasks(str(folder), TaskOptions(qrels="nothing"))


def test_configs_without_candidates_and_folders_of_declared_files_are_not_lists(
    tmp_path, write_table, load
):
    folder = tmp_path / "set"
    write_table(folder / "corpus" / "corpus-00000-of-00001.parquet", CORPUS)
    write_table(folder / "queries" / "queries-00000-of-00001.parquet", QUERIES)
    write_table(folder / "data" / "test-00000-of-00001.parquet", FIRST)
    configs = [{"config_name": "default", "data_files": {"test": "data/test-*"}}]
    (folder / "README.md").write_text(f"---\n{json.dumps({'configs': configs})}\n---\n")
    write_table(folder / "notes" / "test.jsonl", {"query-id": ["q1"], "note": ["x"]})
    lists = {"query-id": ["q1"], "corpus-ids": [["d1"]]}
    write_table(folder / "minilm" / "test.jsonl", lists)
    assert tuple(load(folder).shipped) == ("minilm",)
    assert "data" not in DataSet(LocalFiles(folder), Source("folder", "set")).configs()


def test_a_split_in_two_formats_is_refused(tmp_path, write_table, load):
    folder = tmp_path / "set"
    for name, columns in (
        ("corpus/test.parquet", CORPUS),
        ("corpus/test.jsonl", CORPUS),
        ("queries/test.parquet", QUERIES),
        ("qrels/test.parquet", FIRST),
    ):
        write_table(folder / name, columns)
    with pytest.raises(BadData, match=r"corpus holds one split in several formats \(test"):
        load(folder)


def test_the_hub_is_read_in_this_layout_too(tmp_path, write_table, hub, load):
    folder = tmp_path / "scifact"
    for name, columns in (("c", CORPUS), ("q", QUERIES), ("r", FIRST)):
        write_table(folder / "data" / f"{name}.parquet", columns)
    files = {"corpus": {"corpus": "c"}, "queries": {"queries": "q"}, "default": {"test": "r"}}
    configs = [
        {"config_name": name, "data_files": {split: f"data/{file}.parquet"}}
        for name, splits in files.items()
        for split, file in splits.items()
    ]
    (folder / "README.md").write_text(f"---\n{json.dumps({'configs': configs})}\n---\n")
    hub.publish("mteb/scifact", folder)
    task = load("mteb/scifact")
    found = (task.name, task.corpus["d1"], list(task.queries))
    assert found == ("mteb/scifact/test", "T one", ["q1"])
