"""Small data sets on disk, written by the tests that break them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rerank_bench.tasks import TaskOptions, find_tasks

GOOD = {
    "corpus": {"_id": ["d1", "d2", "d3"], "text": ["one", "two", ""]},
    "queries": {"_id": ["q1", "q2"], "text": ["first?", "second?"]},
    "qrels": {"query-id": ["q1", "q2"], "corpus-id": ["d1", "d2"]},
    "bm25": {"query-id": ["q1", "q2"], "corpus-ids": [["d1", "d3"], ["d2"]]},
}


@pytest.fixture
def write_table():
    """Write columns to a parquet file, or to JSON lines by the file's name."""

    def write(file: Path, columns) -> Path:
        import pyarrow as pa
        import pyarrow.parquet as pq

        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".parquet":
            pq.write_table(pa.table(dict(columns)), file)
        else:
            rows = [
                dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
            ]
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return file

    return write


@pytest.fixture
def nano_folder(tmp_path, write_table):
    """Write a Nano folder of whole tasks; keyword arguments replace the columns of a config."""

    def write(*splits: str, **changed) -> Path:
        folder = tmp_path / "Tiny"
        for split in splits or ("a",):
            for config, columns in {**GOOD, **changed}.items():
                if columns is not None:
                    write_table(folder / config / f"{split}.parquet", columns)
        return folder

    return write


@pytest.fixture
def beir_folder(tmp_path, write_table) -> Path:
    """A BEIR folder with two tasks, `dev` and `test`."""
    folder = tmp_path / "scifact"
    texts = {"title": ["Cats", ""], "text": ["are small.", "Dogs bark."]}
    write_table(folder / "corpus.jsonl", {"_id": ["d1", "d2"], **texts})
    queries = {"_id": ["q1", "q2"], "text": ["what is small?", "what barks?"]}
    write_table(folder / "queries.jsonl", queries)
    (folder / "qrels").mkdir()
    head = "query-id\tcorpus-id\tscore\n"
    (folder / "qrels" / "test.tsv").write_text(f"{head}q1\td1\t2\nq1\td2\t0\n")
    (folder / "qrels" / "dev.tsv").write_text(f"{head}q2\td2\t1\n")
    return folder


@pytest.fixture
def load():
    """Load the only task that a name means."""

    def load_only(name, **options):
        (ref,) = find_tasks(str(name), TaskOptions(**options))
        return ref.load()

    return load_only


@pytest.fixture
def nano_on_hub(nano_folder, hub):
    """Publish a Nano folder of these splits, with a card as the hub's data sets have it."""

    def publish(dataset, *splits, **changed) -> str:
        folder = nano_folder(*splits, **changed)
        configs = [
            {
                "config_name": config.name,
                "data_files": [
                    {"split": file.stem, "path": f"{config.name}/{file.name}"}
                    for file in sorted(config.iterdir())
                ],
            }
            for config in sorted(folder.glob("*/"))
        ]
        (folder / "README.md").write_text(f"---\n{json.dumps({'configs': configs})}\n---\n")
        return hub.publish(dataset, folder)

    return publish
