"""MTEB's layout: qrels in `default`, one split of texts for all tasks, a prefix per subset."""

from __future__ import annotations

import json

import pytest

from rerank_bench.errors import BadData, UnknownName
from rerank_bench.tasks import Source, TaskOptions, find_tasks
from rerank_bench.tasks.folder import DataSet, LocalFiles

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
