"""Texts and ids are read in one way in every layout: BEIR, Nano folders, the hub, MTEB's."""

from __future__ import annotations

import json

import pytest

from rerank_bench.errors import BadData
from rerank_bench.tasks import Note, files, replace_unreadable, table

IDS = ["d1", "d2", "d3", "d4", "d5", "d6"]
TITLES = ["Cats", None, float("nan"), " \t", "Only a title", "T"]
TEXTS = ["are small.", "bare", "plain", "blank title", None, " "]
JOINED = ["Cats are small.", "bare", "plain", "blank title", "Only a title", "T"]


@pytest.fixture(autouse=True, params=["in memory", "on disk"])
def place(request, monkeypatch):
    """Hold the rows and texts of tasks in memory, or leave them on disk as those of large ones."""
    if request.param == "on disk":
        for module in (files, table):
            monkeypatch.setattr(module, "IN_MEMORY", 0)
    return request.param


def write_lines(file, *rows):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(map(json.dumps, rows)) + "\n")


@pytest.mark.parametrize("layout", ["nano", "beir", "mteb"])
def test_title_and_text_are_joined_and_null_and_nan_are_empty(
    layout, nano_folder, beir_folder, load
):
    titles = [title if isinstance(title, str) else None for title in TITLES]
    rows = zip(IDS, TITLES, TEXTS, strict=True)
    corpus = [{"_id": i, "title": title, "text": text} for i, title, text in rows]
    if layout == "nano":
        folder = nano_folder(corpus={"_id": IDS, "title": titles, "text": TEXTS})
    elif layout == "beir":
        folder = beir_folder
        write_lines(folder / "corpus.jsonl", *corpus)
        (folder / "qrels" / "dev.tsv").unlink()
    else:
        folder = nano_folder("test", corpus=None, bm25=None)
        write_lines(folder / "corpus" / "corpus.jsonl", *corpus)
    task = load(folder)
    assert list(task.corpus.values()) == JOINED
    assert "columns that are not read" not in task.notes


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"_id": "d2", "text": 7}, r"line 3: column 'text' holds int, not a string: 7"),
        ({"_id": "d2", "text": "x", "title": ["a"]}, "line 3: column 'title' holds list"),
        *(
            ({"_id": wrong, "text": ""}, "line 3: column '_id': .* is not an id")
            for wrong in ("d\ud800", "d\0", "  ", "", True, 1.5)
        ),
    ],
)
def test_a_cell_of_the_wrong_type_is_refused_with_file_and_line(beir_folder, load, row, message):
    file = beir_folder / "corpus.jsonl"
    file.write_text('{"_id": "d1", "text": "one"}\n\n' + json.dumps(row) + "\n")
    with pytest.raises(BadData, match=f"corpus.jsonl, {message}") as caught:
        load(f"{beir_folder}/test")
    str(caught.value).encode("utf-8")


def test_nul_and_lone_surrogates_are_replaced_and_counted(beir_folder, load):
    write_lines(
        beir_folder / "corpus.jsonl",
        {"_id": "d1", "title": "T\ud800", "text": "a\0b"},
        {"_id": "d2", "text": "\udfff is alone, \ud83d\ude00 is a pair"},
        {"_id": "d3", "text": "clean"},
    )
    write_lines(beir_folder / "queries.jsonl", {"_id": "q1", "text": "small\udc00?"})
    task = load(f"{beir_folder}/test")
    texts = ["T\ufffd a\ufffdb", "\ufffd is alone, \U0001f600 is a pair", "clean"]
    assert list(task.corpus.values()) == texts
    assert task.queries == {"q1": "small\ufffd?"}
    note = task.notes["texts in which U+FFFD replaces NUL or a lone surrogate"]
    assert note == Note(3, ("q1", "d1", "d2"))


def test_every_lone_surrogate_can_be_encoded_afterwards():
    text = "".join(map(chr, range(0xD800, 0xE000))) + "\0"
    assert replace_unreadable(text).encode("utf-8") == b"\xef\xbf\xbd" * (0x800 + 1)
    assert replace_unreadable("é\U0001f600\x01\n") == "é\U0001f600\x01\n"


@pytest.mark.parametrize(
    ("query_id", "doc_ids", "wanted"),
    [
        (("q1\t", " q1", "q1 "), (" d1", "d1 ", " d1"), ("q1", "d1")),
        ((1, 1, 1), (10, 10, 10), ("1", "10")),
    ],
)
def test_ids_lose_white_space_and_whole_numbers_become_strings(
    nano_folder, load, query_id, doc_ids, wanted
):
    folder = nano_folder(
        corpus={"_id": [doc_ids[0]], "text": ["x"]},
        queries={"_id": [query_id[0]], "text": ["x?"]},
        qrels={"query-id": [query_id[1]], "corpus-id": [[doc_ids[1]]]},
        bm25={"query-id": [query_id[2]], "corpus-ids": [[doc_ids[2]]]},
    )
    query, document = wanted
    assert load(folder).qrels == {query: {document: 1}}
    assert load(folder).shipped["bm25"]() == {query: (document,)}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (b'{"_id": "d1", "text": "one", "text": "two"}', "line 1: 'text' occurs twice in one"),
        (b'{"_id": "d1", "text": "x", "m": {"a": 1, "a": 2}}', "line 1: 'a' occurs twice"),
        (b'{"_id": "d1", "text": "x", "m": ' + b"[" * 99999, "line 1 is not JSON: its values are"),
        (b'{"_id": "d1", "text": "x", "m": ' + b"9" * 5000 + b"}", "line 1 is not JSON: Exceeds"),
        (b'{"_id": "d1", "text": "x"}\n{"_id": "d2", "text": "\xe9"}', "line 2 cannot be read"),
        (b'{"_id": "d1", "text": "x"}\n{"_id": "d2", "txt": "y"}', "line 2: 'text' is missing"),
    ],
)
@pytest.mark.parametrize("layout", ["beir", "mteb"])
def test_a_json_line_that_cannot_be_read_in_full_is_refused_with_its_number(
    beir_folder, nano_folder, load, layout, row, message
):
    file, name = beir_folder / "corpus.jsonl", f"{beir_folder}/test"
    if layout == "mteb":
        name = nano_folder("test", corpus=None, bm25=None)
        (name / "corpus").mkdir()
        file = name / "corpus" / "corpus.jsonl"
    file.write_bytes(row + b"\n")
    with pytest.raises(BadData, match=rf"corpus.jsonl, {message}"):
        load(name)


def test_lists_that_name_the_same_document_share_its_id():
    lists = [["passage-1", "passage-2"], ["passage-2 "]]
    found = table.ranked_lists(table.Table("lists", {"query-id": [1, 2], "corpus-ids": lists}))
    assert found == {"1": ("passage-1", "passage-2"), "2": ("passage-2",)}
    assert found["1"][1] is found["2"][0]
