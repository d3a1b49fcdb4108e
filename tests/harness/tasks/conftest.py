"""Small data sets on disk, written by the tests that break them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

Columns = Mapping[str, Sequence[Any]]

GOOD: dict[str, Columns] = {
    "corpus": {"_id": ["d1", "d2", "d3"], "text": ["one", "two", ""]},
    "queries": {"_id": ["q1", "q2"], "text": ["first?", "second?"]},
    "qrels": {"query-id": ["q1", "q2"], "corpus-id": ["d1", "d2"]},
    "bm25": {"query-id": ["q1", "q2"], "corpus-ids": [["d1", "d3"], ["d2"]]},
}


def write_split(folder: Path, config: str, split: str, columns: Columns) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = folder / config / f"{split}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(dict(columns)), file)
    return file


@pytest.fixture
def nano_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write a Nano folder of whole tasks; keyword arguments replace the columns of a config."""

    def write(*splits: str, **changed: Columns | None) -> Path:
        folder = tmp_path / "Tiny"
        for split in splits or ("a",):
            for config, columns in {**GOOD, **changed}.items():
                if columns is not None:
                    write_split(folder, config, split, columns)
        return folder

    return write


@pytest.fixture
def beir_folder(tmp_path: Path) -> Path:
    """A BEIR folder with two tasks, `dev` and `test`."""
    folder = tmp_path / "scifact"
    (folder / "qrels").mkdir(parents=True)
    documents = [
        {"_id": "d1", "title": "Cats", "text": "are small."},
        {"_id": "d2", "title": "", "text": "Dogs bark."},
    ]
    queries = [{"_id": "q1", "text": "what is small?"}, {"_id": "q2", "text": "what barks?"}]
    for name, rows in (("corpus", documents), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    head = "query-id\tcorpus-id\tscore\n"
    (folder / "qrels" / "test.tsv").write_text(f"{head}q1\td1\t2\nq1\td2\t0\n")
    (folder / "qrels" / "dev.tsv").write_text(f"{head}q2\td2\t1\n")
    return folder
