"""Every column is read, named in a note, or refused."""

from __future__ import annotations

import json

import pytest

from rerank_bench.errors import BadData
from rerank_bench.tasks import Note
from rerank_bench.tasks.columns import RULES, unread_columns
from rerank_bench.tasks.table import Table

CORPUS = {"_id": ["d1", "d2", "d3"], "text": ["one", "two", ""]}
QUERIES = {"_id": ["q1", "q2"], "text": ["first?", "second?"]}
QRELS = {"query-id": ["q1", "q2"], "corpus-id": ["d1", "d2"]}


@pytest.mark.parametrize(
    ("config", "columns"),
    [
        ("corpus", {**CORPUS, "headings": ["h", "", ""]}),
        ("corpus", {**CORPUS, "doc_title": ["h", "", ""]}),
        ("corpus", {**CORPUS, "Title": [None, "h", None]}),
        ("corpus", {**CORPUS, "passageText": ["h", "h", "h"]}),
        ("corpus", {**CORPUS, "sentences": [["a", "b"], [], []]}),
        ("corpus", {**CORPUS, "title_en": ["h", "h", "h"]}),
        ("corpus", {**CORPUS, "passage_text_en": ["h", "h", "h"]}),
        ("corpus", {**CORPUS, "body_html": ["h", "h", "h"]}),
        ("corpus", {**CORPUS, "content": [{"en": "h"}, {"en": ""}, {"en": "h"}]}),
        ("corpus", {**CORPUS, "text_2": [[{"part": "h"}], [], []]}),
        ("qrels", {**QRELS, "relevance_level": [2, 2]}),
        ("qrels", {**QRELS, "label_id": [2, 2]}),
        ("qrels", {**QRELS, "is_positive": [True, False]}),
        ("qrels", {**QRELS, "level": [2, 2]}),
        ("qrels", {**QRELS, "degree": [2, 0]}),
        ("qrels", {**QRELS, "weight": ["1", "0"]}),
        ("queries", {**QUERIES, "title": ["x", "y"]}),
        ("queries", {**QUERIES, "prompt": ["find", "find"]}),
        ("qrels", {**QRELS, "relevance": [2, 1]}),
        ("qrels", {**QRELS, "score": [1, 1], "label": [0, 1]}),
        ("qrels", {**QRELS, "rel": ["2", None]}),
        ("qrels", {**QRELS, "Score": [0, 0]}),
        ("bm25", {"query-id": ["q1"], "corpus-ids": [["d1", "d2"]], "ranks": [[2, 1]]}),
    ],
)
def test_a_column_that_looks_like_content_or_a_grade_is_refused_and_can_be_ignored(
    nano_folder, load, config, columns
):
    name = list(columns)[-1]
    folder = nano_folder(**{config: columns})
    with pytest.raises(BadData) as caught:
        load(folder).shipped["bm25"]()
    assert f"{config}/a.parquet: column '{name}' is not read" in str(caught.value)
    assert f"--ignore-column {name}" in str(caught.value)
    assert load(folder, ignore_column=[name]).shipped["bm25"]()["q1"][0] == "d1"


def test_columns_of_a_beir_file_are_checked_too(beir_folder, load):
    row = {"_id": "d1", "text": "x", "abstract": "y"}
    (beir_folder / "corpus.jsonl").write_text(json.dumps(row) + "\n")
    message = "column 'abstract' is not read; it looks like text: join it to 'text'"
    with pytest.raises(BadData, match=message):
        load(f"{beir_folder}/test")


def test_other_columns_are_all_named_in_one_note(nano_folder, load):
    extra = {f"field_{i}": ["x", "y", "z"] for i in range(7)}
    folder = nano_folder(
        corpus={**CORPUS, **extra, "num_sentences": [1, 2, 0]},  # numbers are never content
        queries={**QUERIES, "answers": [["a"], ["b"]], "language": ["en", "de"]},
        qrels={**QRELS, "score": [1, 1], "run": [1, 2]},  # with a score, no grades
    )
    names = (*(f"corpus: {name}" for name in [*extra, "num_sentences"]), "queries: answers")
    note = load(folder).notes["columns that are not read"]
    assert note == Note(10, (*names, "qrels: run"))


def test_a_column_that_holds_nothing_is_neither_refused_nor_named(nano_folder, load):
    # the BeIR and CoIR data sets have empty titles in their queries, BEIR empty metadata
    folder = nano_folder(
        corpus={**CORPUS, "body": [None, "", " "], "metadata": [{"url": None}] * 3},
        queries={**QUERIES, "title": ["", ""]},
        qrels={**QRELS, "label": [None, None]},
    )
    assert list(load(folder).notes) == ["empty documents"]


def test_an_ignored_title_is_left_out_of_the_text(nano_folder, load):
    folder = nano_folder(corpus={**CORPUS, "title": ["T", "T", "T"]})
    assert load(folder).corpus["d1"] == "T one"
    assert load(folder, ignore_column=["title"]).corpus["d1"] == "one"


def test_a_column_to_ignore_that_no_table_has_is_refused(nano_folder, beir_folder, load):
    for folder in (nano_folder(), beir_folder / "test"):
        with pytest.raises(BadData, match=r"has no column 'titel' \(has: _id, text, .*corpus-id"):
            load(folder, ignore_column=["titel"])


def test_a_missing_column_is_reported_before_one_that_is_not_read():
    with pytest.raises(BadData, match="column 'text' is missing"):
        unread_columns(Table("corpus", {"_id": ["d"], "contents": ["x"]}), "corpus")


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("corpus", ["metadata", "meta_information", "url", "language", "doc_id", "title_url"]),
        ("queries", ["metadata", "answers", "answer", "partition", "url", "text_id", "query_type"]),
        ("qrels", ["iteration", "Q0", "subtopic", "query", "split"]),
    ],
)
def test_columns_of_usual_data_sets_are_not_refused(kind, names):
    columns = {name: ["x"] for name in (*RULES[kind].needed, *names)}
    assert unread_columns(Table("file", columns), kind) == names
