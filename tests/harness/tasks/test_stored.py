"""A corpus on disk is a mapping like any other."""

from __future__ import annotations

from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench import BadData
from rerank_bench.folders import cache_folder
from rerank_bench.pools import build_pool
from rerank_bench.tasks import files, stored, table
from rerank_bench.tasks.stored import RepeatedId, StoredTexts

TEXTS = st.dictionaries(
    st.text(st.characters(codec="utf-8"), max_size=3),
    st.text(st.characters(codec="utf-8")),
    min_size=1,
    max_size=20,
)


@given(TEXTS, st.sampled_from([1, 3, 50]))
def test_stored_texts_are_read_back_by_id_and_in_order(texts, batch):
    with mock.patch.object(stored, "_BATCH", batch):
        found = StoredTexts(texts.items())
        assert list(found.items()) == list(texts.items())
        assert list(found.values()) == list(texts.values())
        assert all(found[text_id] == text for text_id, text in texts.items())
        assert (len(found), found) == (len(texts), texts)


def test_ids_of_equal_hash_are_told_apart(monkeypatch):
    monkeypatch.setattr(stored, "hash", len, raising=False)
    found = StoredTexts([("a", "one"), ("b", "two"), ("cc", "three")])
    assert (found["a"], found["b"]) == ("one", "two")
    assert "c" not in found
    with pytest.raises(KeyError):
        found["c"]
    with pytest.raises(RepeatedId) as caught:
        StoredTexts([("a", "one"), ("b", "two"), ("a", "three")])
    assert caught.value.text_id == "a"


def test_the_file_takes_no_place_in_the_folder():
    found = StoredTexts([("a", "one")])
    assert list((cache_folder() / "scratch").iterdir()) == []
    assert found["a"] == "one"


@pytest.fixture
def on_disk(monkeypatch):
    """Leave the rows and texts of tasks on disk, as those of large ones."""
    for module in (files, table):
        monkeypatch.setattr(module, "IN_MEMORY", 0)


def test_rows_of_parquet_are_left_on_disk_by_their_size_before_compression(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "IN_MEMORY", 50_000)
    columns = {"_id": ["d1", "d2"], "text": ["a" * 40_000, "b" * 40_000]}
    for name, rows in (("small", 1), ("large", 2)):
        part = pa.table({column: values[:rows] for column, values in columns.items()})
        pq.write_table(part, tmp_path / name, compression="zstd")
    assert (tmp_path / "large").stat().st_size < 50_000
    held, left = (files.read_files([tmp_path / name]) for name in ("small", "large"))
    assert held.read is None
    assert left.read is not None
    assert {name: list(column) for name, column in left.columns.items()} == columns


@pytest.mark.parametrize("profile", ["bm25", "bm25()", "rrf(bm25,bm25())"])
def test_a_task_on_disk_is_that_in_memory_and_has_its_pools(
    nano_folder, load, monkeypatch, profile
):
    held = load(nano_folder())
    for module in (files, table):
        monkeypatch.setattr(module, "IN_MEMORY", 0)
    kept = load(nano_folder())
    assert isinstance(kept.corpus, StoredTexts)
    assert (kept.source, dict(kept.corpus), kept.qrels) == (held.source, held.corpus, held.qrels)
    assert build_pool(kept, profile) == build_pool(held, profile)


def test_a_document_that_occurs_twice_is_named_by_its_file_and_row(
    nano_folder, load, on_disk, write_table
):
    folder = nano_folder()
    columns = {"_id": ["d1", "d2", "d1"], "text": ["one", "two", "three"]}
    write_table(folder / "corpus" / "a.parquet", columns)
    with pytest.raises(BadData, match=r"a\.parquet, row 3: id 'd1' occurs twice"):
        load(folder)


def test_the_lines_of_a_large_file_are_numbered(beir_folder, load, on_disk):
    with (beir_folder / "corpus.jsonl").open("a") as file:
        file.write('\n{"_id": "d3", "text": 4}\n')
    with pytest.raises(BadData, match=r"corpus\.jsonl, line 4: column 'text' holds int"):
        load(f"{beir_folder}/test")
