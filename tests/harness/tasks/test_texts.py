"""Texts are read in one way by every loader: BEIR, Nano folders, the hub, MTEB's layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rerank_bench.errors import BadData
from rerank_bench.tasks import Note, Task, find_tasks, readable
from rerank_bench.tasks.texts import joined

Writer = Callable[..., Path]
REPLACED = "texts in which U+FFFD replaces NUL or a lone surrogate"
TITLES = ["Cats", None, float("nan"), " \t", "Only a title"]
TEXTS = ["are small.", "bare", "plain", "blank title", None]
JOINED = ["Cats are small.", "bare", "plain", "blank title", "Only a title"]
IDS = ["d1", "d2", "d3", "d4", "d5"]


def only(folder: Path) -> Task:
    (ref,) = find_tasks(str(folder))
    return ref.load()


def write_lines(file: Path, rows: list[dict[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def as_nano(nano_folder: Writer, beir_folder: Path) -> Path:
    titles = [title if isinstance(title, str) else None for title in TITLES]
    return nano_folder(corpus={"_id": IDS, "title": titles, "text": TEXTS})


def as_beir(nano_folder: Writer, beir_folder: Path) -> Path:
    rows = zip(IDS, TITLES, TEXTS, strict=True)
    corpus = [{"_id": i, "title": title, "text": text} for i, title, text in rows]
    write_lines(beir_folder / "corpus.jsonl", corpus)
    (beir_folder / "qrels" / "dev.tsv").unlink()
    return beir_folder


def as_mteb(nano_folder: Writer, beir_folder: Path) -> Path:
    folder = nano_folder("test", corpus=None, bm25=None)
    rows = zip(IDS, TITLES, TEXTS, strict=True)
    corpus = [{"_id": i, "title": title, "text": text} for i, title, text in rows]
    write_lines(folder / "corpus" / "corpus.jsonl", corpus)
    return folder


@pytest.mark.parametrize("layout", [as_nano, as_beir, as_mteb])
def test_every_loader_joins_title_and_text_alike_and_takes_null_and_nan_as_empty(
    layout: Callable[..., Path], nano_folder: Writer, beir_folder: Path
) -> None:
    task = only(layout(nano_folder, beir_folder))
    assert list(task.corpus.values()) == JOINED
    assert "columns that are not read" not in task.notes


@pytest.mark.parametrize(
    ("title", "text", "whole"),
    [
        ("a", "b", "a b"),
        ("", "b", "b"),
        ("\n", "b", "b"),
        ("a", "", "a"),
        ("a", " ", "a"),
        ("",) * 3,
    ],
)
def test_a_part_of_white_space_adds_nothing(title: str, text: str, whole: str) -> None:
    assert joined(title, text) == whole


def test_a_title_or_text_that_is_no_string_is_refused_with_file_and_line(beir_folder: Path) -> None:
    for name, row in (
        ("text", {"_id": "d2", "text": 7}),
        ("title", {"_id": "d2", "text": "x", "title": ["a", "b"]}),
    ):
        write_lines(beir_folder / "corpus.jsonl", [{"_id": "d1", "text": "one"}])
        with (beir_folder / "corpus.jsonl").open("a") as file:
            file.write("\n" + json.dumps(row) + "\n")
        with pytest.raises(BadData, match=rf"corpus.jsonl, line 3: column '{name}' holds \w+, not"):
            find_tasks(f"{beir_folder}/test")[0].load()


def test_in_parquet_it_is_refused_with_file_and_row(nano_folder: Writer) -> None:
    folder = nano_folder(corpus={"_id": ["d1", "d2"], "title": [1.5, 2.5], "text": ["x", "y"]})
    with pytest.raises(
        BadData, match=r"corpus/a.parquet, row 1: column 'title' holds float, not a string: 1.5"
    ):
        only(folder)
    folder = nano_folder(queries={"_id": ["q1", "q2"], "text": [1, 2]})
    with pytest.raises(BadData, match=r"queries/a.parquet, row 1: column 'text' holds int"):
        only(folder)


def test_the_row_of_a_later_shard_is_that_of_its_own_file(nano_folder: Writer) -> None:
    folder = nano_folder(corpus={"_id": ["d1", "d2"], "text": ["x", "y"]})
    (folder / "corpus" / "a.parquet").rename(folder / "corpus" / "a-00000-of-00002.parquet")
    nano_folder(corpus={"_id": ["d3", "d2"], "text": ["z", "again"]})
    (folder / "corpus" / "a.parquet").rename(folder / "corpus" / "a-00001-of-00002.parquet")
    with pytest.raises(BadData, match=r"a-00001-of-00002.parquet, row 2: id 'd2' is there twice"):
        only(folder)


def test_nul_and_lone_surrogates_are_replaced_and_counted(beir_folder: Path) -> None:
    write_lines(
        beir_folder / "corpus.jsonl",
        [
            {"_id": "d1", "title": "T\ud800", "text": "a\0b"},
            {"_id": "d2", "text": "\udfff is alone, \ud83d\ude00 is a pair"},
            {"_id": "d3", "text": "clean"},
        ],
    )
    write_lines(beir_folder / "queries.jsonl", [{"_id": "q1", "text": "small\udc00?"}])
    task = find_tasks(f"{beir_folder}/test")[0].load()
    assert task.corpus == {
        "d1": "T\ufffd a\ufffdb",
        "d2": "\ufffd is alone, \U0001f600 is a pair",
        "d3": "clean",
    }
    assert task.queries == {"q1": "small\ufffd?"}
    assert task.notes[REPLACED] == Note(3, ("q1", "d1", "d2"))


def test_every_lone_surrogate_can_be_encoded_afterwards() -> None:
    text = "".join(map(chr, range(0xD800, 0xE000))) + "\0"
    assert readable(text).encode("utf-8") == b"\xef\xbf\xbd" * (0x800 + 1)
    assert readable("é\U0001f600\x01\n") == "é\U0001f600\x01\n"


@pytest.mark.parametrize("wrong", ["d\ud800", "d\0", "  ", ""])
def test_an_id_that_no_file_can_hold_is_refused_with_its_line(
    beir_folder: Path, wrong: str
) -> None:
    write_lines(
        beir_folder / "corpus.jsonl", [{"_id": "d1", "text": "x"}, {"_id": wrong, "text": ""}]
    )
    with pytest.raises(
        BadData, match=r"corpus.jsonl, line 2: .* in column '_id' is no id"
    ) as caught:
        find_tasks(f"{beir_folder}/test")[0].load()
    str(caught.value).encode("utf-8")


def test_white_space_around_an_id_is_no_part_of_it_in_any_table(nano_folder: Writer) -> None:
    folder = nano_folder(
        corpus={"_id": [" d1", "d2 "], "text": ["x", "y"]},
        queries={"_id": ["q1\t"], "text": ["x?"]},
        qrels={"query-id": [" q1"], "corpus-id": [["d1 ", "d2"]]},
        bm25={"query-id": ["q1 "], "corpus-ids": [[" d2"]]},
    )
    task = only(folder)
    assert task.qrels == {"q1": {"d1": 1, "d2": 1}}
    assert task.shipped.load("bm25") == {"q1": ("d2",)}


def test_invalid_utf_8_in_a_parquet_file_is_an_error_and_no_traceback(nano_folder: Writer) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = nano_folder()
    broken = pa.array([b"\xed\xa0\x80", b"x", b"y"]).view(pa.string())
    table = pa.table({"_id": pa.array(["d1", "d2", "d3"]), "text": broken})
    pq.write_table(table, folder / "corpus" / "a.parquet")
    with pytest.raises(BadData, match=r"corpus/a.parquet cannot be read as parquet"):
        only(folder)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (b'{"_id": "d1", "text": "one", "text": "two"}', "line 1: 'text' is there twice in one"),
        (b'{"_id": "d1", "text": "x", "m": {"a": 1, "a": 2}}', "line 1: 'a' is there twice"),
        (b'{"_id": "d1", "text": "x", "m": ' + b"[" * 99999, "line 1 is no JSON: its values are"),
        (b'{"_id": "d1", "text": "x", "m": ' + b"9" * 5000 + b"}", "line 1 is no JSON: Exceeds"),
        (b'{"_id": "d1", "text": "x"}\n{"_id": "d2", "text": "\xe9"}', "line 2 cannot be read"),
    ],
)
def test_a_json_line_that_cannot_be_read_whole_is_refused_with_its_number(
    beir_folder: Path, row: bytes, said: str
) -> None:
    (beir_folder / "corpus.jsonl").write_bytes(row + b"\n")
    with pytest.raises(BadData, match=rf"corpus.jsonl, {said}"):
        find_tasks(f"{beir_folder}/test")[0].load()


def test_a_parquet_file_with_two_columns_of_one_name_is_refused(nano_folder: Writer) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = nano_folder()
    table = pa.table([["d1"], ["one"], ["two"]], names=["_id", "text", "text"])
    pq.write_table(table, folder / "corpus" / "a.parquet")
    with pytest.raises(BadData, match=r"corpus/a.parquet: column 'text' is there twice"):
        only(folder)


@pytest.mark.parametrize("layout", [as_beir, as_mteb])
def test_a_json_line_without_a_text_is_refused_in_every_layout(
    layout: Callable[..., Path], nano_folder: Writer, beir_folder: Path
) -> None:
    folder = layout(nano_folder, beir_folder)
    (file,) = folder.rglob("corpus.jsonl")
    write_lines(file, [{"_id": "d1", "text": "x"}, {"_id": "d2", "txt": "y"}])
    with pytest.raises(BadData, match=r"corpus.jsonl, line 2: 'text' is missing"):
        only(folder)
