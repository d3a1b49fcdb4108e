"""MTEB's layout: qrels in `default`, one split of texts for all tasks, a prefix per subset."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from rerank_bench.errors import BadData, UnknownName
from rerank_bench.tasks import Source, TaskOptions, find_tasks
from rerank_bench.tasks.folder import FolderReader

CORPUS = {"_id": ["d1", "d2"], "title": ["T", ""], "text": ["one", "two"]}
QUERIES = {"_id": ["q1", "q2"], "text": ["first?", "second?"]}
FIRST = {"query-id": ["q1"], "corpus-id": ["d1"], "score": [1]}
SECOND = {"query-id": ["q2", "q2"], "corpus-id": ["d2", "d1"], "score": [2.0, 0.0]}


def parquet(file: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(dict(columns)), file)


def json_lines(file: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    rows = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_texts_of_all_tasks_in_one_split_and_qrels_in_default(tmp_path: Path) -> None:
    folder = tmp_path / "scifact"
    parquet(folder / "corpus" / "corpus-00000-of-00001.parquet", CORPUS)
    parquet(folder / "queries" / "queries-00000-of-00001.parquet", QUERIES)
    parquet(folder / "default" / "dev-00000-of-00001.parquet", FIRST)
    parquet(folder / "default" / "test-00000-of-00001.parquet", SECOND)
    dev, test = (ref.load() for ref in find_tasks(str(folder)))
    assert (dev.name, test.name) == ("scifact/dev", "scifact/test")
    assert dev.corpus == test.corpus == {"d1": "T one", "d2": "two"}
    assert dev.queries == {"q1": "first?"}
    assert test.qrels == {"q2": {"d2": 2, "d1": 0}}
    assert dict(dev.notes) == dict(test.notes) == {}
    assert test.shipped.names() == ()
    with pytest.raises(UnknownName, match="did you mean test"):
        find_tasks(f"{folder}/tset")


def test_json_lines_are_read_where_the_readme_declares_them(tmp_path: Path) -> None:
    folder = tmp_path / "fiqa"
    json_lines(folder / "data" / "c.jsonl", CORPUS)
    json_lines(folder / "data" / "q.jsonl", QUERIES)
    (folder / "data" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    declared = [("default", "test", "test.tsv"), ("corpus", "corpus", "c.jsonl")]
    configs = [
        {"config_name": name, "data_files": [{"split": split, "path": f"data/{file}"}]}
        for name, split, file in [*declared, ("queries", "queries", "q.jsonl")]
    ]
    (folder / "README.md").write_text(f"---\n{json.dumps({'configs': configs})}\n---\n")
    (ref,) = find_tasks(str(folder))
    assert ref.name == "fiqa/test"
    assert ref.load().qrels == {"q1": {"d1": 1}}


def test_a_clone_of_a_repository_in_json_lines_is_a_beir_folder(tmp_path: Path) -> None:
    folder = tmp_path / "nfcorpus"
    json_lines(folder / "corpus.jsonl", CORPUS)
    json_lines(folder / "queries.jsonl", {**QUERIES, "metadata": [{}, {}]})
    json_lines(folder / "qrels" / "test.jsonl", SECOND)
    (ref,) = find_tasks(str(folder))
    task = ref.load()
    assert (ref.name, task.qrels) == ("nfcorpus/test", {"q2": {"d2": 2, "d1": 0}})
    assert dict(task.notes) == {}


def test_each_subset_is_a_task_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "miracl"
    for subset, qrels in (("ar", FIRST), ("de", SECOND)):
        parquet(folder / f"{subset}-corpus" / "dev-00000-of-00001.parquet", CORPUS)
        parquet(folder / f"{subset}-queries" / "dev-00000-of-00001.parquet", QUERIES)
        parquet(folder / f"{subset}-qrels" / "dev-00000-of-00001.parquet", qrels)
        lists = {"query-id": ["q1", "q2"], "corpus-ids": [["d1"], ["d2"]]}
        parquet(folder / f"{subset}-top_ranked" / "dev-00000-of-00001.parquet", lists)
        parquet(folder / f"{subset}-bm25" / "dev.parquet", lists)
    ar, de = find_tasks(str(folder))
    assert (ar.name, de.name) == ("miracl/ar-dev", "miracl/de-dev")
    task = find_tasks(f"{folder}/de-dev")[0].load()
    assert (task.split, list(task.queries)) == ("de-dev", ["q2"])
    # the candidates of top_ranked are in no order, so they are no first stage
    assert task.shipped.names() == ("bm25",)
    assert task.shipped.load("bm25")["q2"] == ("d2",)


def test_a_trec_file_makes_the_task_where_texts_are_for_all(tmp_path: Path) -> None:
    folder, file = tmp_path / "set", tmp_path / "mine.qrels"
    parquet(folder / "corpus" / "corpus.parquet", CORPUS)
    parquet(folder / "queries" / "queries.parquet", QUERIES)
    file.write_text("q2 0 d2 1\n")
    (ref,) = find_tasks(str(folder), TaskOptions(qrels=str(file)))
    assert (ref.name, ref.load().qrels) == ("set/mine", {"q2": {"d2": 1}})
    with pytest.raises(BadData, match="has no config 'qrels'"):
        find_tasks(str(folder))


def test_a_config_without_candidates_and_a_folder_that_a_config_covers_are_no_list(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "set"
    parquet(folder / "corpus" / "corpus-00000-of-00001.parquet", CORPUS)
    parquet(folder / "queries" / "queries-00000-of-00001.parquet", QUERIES)
    parquet(folder / "data" / "test-00000-of-00001.parquet", FIRST)
    configs = [{"config_name": "default", "data_files": {"test": "data/test-*"}}]
    (folder / "README.md").write_text(f"---\n{json.dumps({'configs': configs})}\n---\n")
    json_lines(folder / "instruction" / "test.jsonl", {"query-id": ["q1"], "instruction": ["x"]})
    json_lines(folder / "minilm" / "test.jsonl", {"query-id": ["q1"], "corpus-ids": [["d1"]]})
    (ref,) = find_tasks(str(folder))
    assert ref.load().shipped.names() == ("minilm",)
    assert "data" not in FolderReader(folder, Source("folder", "set")).configs()


def test_a_split_in_two_forms_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    parquet(folder / "corpus" / "test.parquet", CORPUS)
    json_lines(folder / "corpus" / "test.jsonl", CORPUS)
    parquet(folder / "queries" / "test.parquet", QUERIES)
    parquet(folder / "qrels" / "test.parquet", FIRST)
    with pytest.raises(BadData, match=r"corpus holds one split in several forms \(test"):
        find_tasks(str(folder))[0].load()


def test_the_hub_is_read_in_this_layout_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    from rerank_bench.tasks import hub

    folder = tmp_path / "scifact"
    parquet(folder / "c.parquet", CORPUS)
    parquet(folder / "q.parquet", QUERIES)
    parquet(folder / "r.parquet", FIRST)
    parts = (("corpus", "corpus", "c"), ("queries", "queries", "q"), ("default", "test", "r"))
    configs = [
        {"config_name": name, "data_files": [{"split": split, "path": f"{file}.parquet"}]}
        for name, split, file in parts
    ]
    (folder / "README.md").write_text(f"---\n{json.dumps({'configs': configs})}\n---\n")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    for name in (
        "get_dataset_config_names",
        "get_dataset_split_names",
        "get_dataset_config_info",
        "load_dataset",
    ):
        real = getattr(datasets, name)

        def call(path: str, *rest: str, _real: Any = real, revision: str, **kind: Any) -> Any:
            return _real(str(folder), *rest, **kind)

        monkeypatch.setattr(datasets, name, call)
    monkeypatch.setattr(hub, "resolve", lambda dataset, revision: "0" * 40)
    hub._configs.cache_clear()
    hub._splits.cache_clear()
    hub._columns.cache_clear()
    (ref,) = find_tasks("mteb/scifact")
    task = ref.load()
    assert (task.name, task.corpus["d1"], list(task.queries)) == (
        "mteb/scifact/test",
        "T one",
        ["q1"],
    )
