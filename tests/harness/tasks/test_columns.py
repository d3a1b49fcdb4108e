"""No column is passed over without a word: it is read, named in a note, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rerank_bench.errors import BadData
from rerank_bench.tasks import Note, Task, TaskOptions, find_tasks
from rerank_bench.tasks.columns import KINDS, unread
from rerank_bench.tasks.tables import Table

Writer = Callable[..., Path]
CORPUS = {"_id": ["d1", "d2", "d3"], "text": ["one", "two", ""]}
QUERIES = {"_id": ["q1", "q2"], "text": ["first?", "second?"]}
QRELS = {"query-id": ["q1", "q2"], "corpus-id": ["d1", "d2"]}


def only(folder: Path, options: TaskOptions | None = None) -> Task:
    (ref,) = find_tasks(str(folder), options or TaskOptions())
    return ref.load()


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
        ("queries", {**QUERIES, "title": ["x", "y"]}),
        ("qrels", {**QRELS, "relevance_level": [2, 2]}),
        ("qrels", {**QRELS, "label_id": [2, 2]}),
        ("qrels", {**QRELS, "is_positive": [True, False]}),
        ("qrels", {**QRELS, "level": [2, 2]}),
        ("qrels", {**QRELS, "degree": [2, 0]}),
        ("qrels", {**QRELS, "weight": ["1", "0"]}),
        ("queries", {**QUERIES, "instruction": ["find", "find"]}),
        ("qrels", {**QRELS, "relevance": [2, 1]}),
        ("qrels", {**QRELS, "score": [1, 1], "label": [0, 1]}),
        ("qrels", {**QRELS, "rel": ["2", None]}),
        ("qrels", {**QRELS, "Score": [0, 0]}),
    ],
)
def test_a_column_that_looks_like_content_or_a_grade_is_refused_and_named_with_the_cure(
    nano_folder: Writer, config: str, columns: dict[str, list[Any]]
) -> None:
    name = list(columns)[-1]
    folder = nano_folder(**{config: columns})
    with pytest.raises(BadData) as caught:
        only(folder)
    said = str(caught.value)
    assert f"{config}/a.parquet: column '{name}' is not read" in said
    assert f"--ignore-column {name}" in said
    assert only(folder, TaskOptions(ignore_column=[name])).queries


def test_a_beir_file_is_held_to_the_same(beir_folder: Path) -> None:
    row = {"_id": "d1", "text": "x", "abstract": "y"}
    (beir_folder / "corpus.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(
        BadData, match="column 'abstract' is not read; it looks like text: join it to 'text'"
    ):
        find_tasks(f"{beir_folder}/test")[0].load()


def test_other_columns_are_all_named_in_one_note(nano_folder: Writer) -> None:
    extra = {f"field_{i}": ["x", "y", "z"] for i in range(7)}
    folder = nano_folder(
        corpus={**CORPUS, **extra},
        queries={**QUERIES, "answers": [["a"], ["b"]], "language": ["en", "de"]},
        qrels={**QRELS, "iteration": [0, 0]},
    )
    names = (*(f"corpus: field_{i}" for i in range(7)), "queries: answers", "qrels: iteration")
    assert only(folder).notes["columns that are not read"] == Note(9, names)


def test_a_column_that_holds_nothing_is_neither_refused_nor_named(nano_folder: Writer) -> None:
    # the BeIR and CoIR data sets have empty titles in their queries, BEIR empty metadata
    folder = nano_folder(
        corpus={**CORPUS, "body": [None, "", " "], "metadata": [{"url": None}] * 3},
        queries={**QUERIES, "title": ["", ""]},
        qrels={**QRELS, "label": [None, None]},
    )
    assert list(only(folder).notes) == ["empty documents"]


def test_numbers_are_no_content_whatever_their_column_is_called(nano_folder: Writer) -> None:
    folder = nano_folder(corpus={**CORPUS, "num_sentences": [1, 2, 0]})
    assert only(folder).notes["columns that are not read"].examples == ("corpus: num_sentences",)


def test_an_ignored_title_is_left_out_of_the_text(nano_folder: Writer) -> None:
    folder = nano_folder(corpus={**CORPUS, "title": ["T", "T", "T"]})
    assert only(folder).corpus["d1"] == "T one"
    assert only(folder, TaskOptions(ignore_column=["title"])).corpus["d1"] == "one"


def test_a_candidate_list_has_no_column_beside_its_two(nano_folder: Writer) -> None:
    lists = {"query-id": ["q1"], "corpus-ids": [["d1", "d2"]], "ranks": [[2, 1]]}
    folder = nano_folder(bm25=lists)
    with pytest.raises(BadData, match=r"bm25/a.parquet: column 'ranks' is not read"):
        only(folder).shipped.load("bm25")
    ignoring = only(folder, TaskOptions(ignore_column=["ranks"]))
    assert ignoring.shipped.load("bm25") == {"q1": ("d1", "d2")}


def test_a_column_to_ignore_that_no_table_has_is_refused_with_those_there_are(
    nano_folder: Writer, beir_folder: Path
) -> None:
    for folder in (nano_folder(), beir_folder / "test"):
        with pytest.raises(BadData, match=r"has no column 'titel' \(has: _id, text, .*corpus-id"):
            only(folder, TaskOptions(ignore_column=["titel"]))


def test_numbers_beside_a_score_are_no_grades(nano_folder: Writer) -> None:
    folder = nano_folder(qrels={**QRELS, "score": [1, 1], "run": [1, 2]})
    assert only(folder).notes["columns that are not read"].examples == ("qrels: run",)


def test_a_missing_column_is_told_before_one_that_is_not_read() -> None:
    with pytest.raises(BadData, match="column 'text' is missing"):
        unread(Table("corpus", {"_id": ["d"], "contents": ["x"]}), "corpus")


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("corpus", ["metadata", "meta_information", "url", "language", "doc_id", "title_url"]),
        ("queries", ["metadata", "answers", "answer", "partition", "url", "text_id", "query_type"]),
        ("qrels", ["iteration", "Q0", "subtopic", "query", "split"]),
    ],
)
def test_columns_of_usual_data_sets_are_not_refused(kind: str, names: list[str]) -> None:
    columns = {name: ["x"] for name in (*KINDS[kind].needed, *names)}
    assert unread(Table("file", columns), kind) == names


def test_every_real_file_has_only_columns_that_are_read(nano: Path) -> None:
    for folder in (nano / "NanoDev", nano / "NanoGraded"):
        for ref in find_tasks(str(folder)):
            task = ref.load()
            assert "columns that are not read" not in task.notes
            for config in task.shipped.names():
                assert task.shipped.load(config)
