"""Judgements in text files as other programs write them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rerank_bench.errors import BadData
from rerank_bench.tasks import Task, TaskOptions, find_tasks
from rerank_bench.tasks.qrelsfile import read_beir_qrels, read_trec_qrels
from rerank_bench.tasks.tables import judgements

WANTED = {"q1": {"d1": 2, "d2": 0}}


def of(folder: Path) -> Task:
    return find_tasks(f"{folder}/test")[0].load()


@pytest.mark.parametrize(
    "text",
    [
        "query_id\tcorpus_id\tscore\nq1\td1\t2\nq1\td2\t0\n",
        "qid\tpid\trelevance\nq1\td1\t2\nq1\td2\t0\n",
        "\n\nquery-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n",
        "\ufeffquery-id\tcorpus-id\tscore\r\nq1\td1\t2\r\nq1\td2\t0\r\n",
        "q1\td1\t2\nq1\td2\t0\n",
        "query-id\tcorpus-id\tscore\nq1\td1\t2.0\nq1\td2\t0.0\n",
        "query-id\tscore\tcorpus-id\nq1\t2\td1\nq1\t0\td2\n",
        "doc_id\tquery_id\tRelevance Score\nd1\tq1\t2\nd2\tq1\t0\n",
        '"q1" , "d1" ,"2.0"\n"q1","d2" , 0 \n',
        '"query-id"\t"corpus-id"\t"score"\n"q1"\t"d1"\t"2"\nq1\t"d2"\t0\n',
        "query_id,doc_id,relevance\nq1,d1,2\nq1, d2 ,0\n",
        "query-id\tcorpus-id\tscore\n q1 \td1 \t 2\nq1\t d2\t0 \n",
    ],
)
def test_beir_qrels_are_read_under_any_header(beir_folder: Path, text: str) -> None:
    (beir_folder / "qrels" / "test.tsv").write_text(text, encoding="utf-8")
    assert of(beir_folder).qrels == WANTED


@pytest.mark.parametrize(
    "text",
    [
        "q1 0 d1 2.0\nq1 Q0 d2 0\n",
        "qid iter docid rel\nq1 0 d1 2\nq1 0 d2 0\n",
        "docno 0 topic judgment\nd1 0 q1 2\nd2 0 q1 0\n",
        "\nq1\t0\td1\t2\nq1\t0\t d2\t0.\n",
        "  q1   0   d1   2\nq1 0 d2 -0\n",
    ],
)
def test_trec_qrels_take_whole_grades_and_a_header_too(tmp_path: Path, text: str) -> None:
    (tmp_path / "qrels.txt").write_text(text)
    assert judgements(read_trec_qrels(tmp_path / "qrels.txt"))[0] == WANTED


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("q1\td1\t0.5\n", "line 1: grade '0.5' is no whole number"),
        ("qid\tpid\trel\nq1\td1\t1\nq1\td2\thigh\n", "line 3: grade 'high' is no whole number"),
        ("q1\td1\tnan\n", "line 1: grade 'nan'"),
        ("q1\td1\t1_0\n", "line 1: grade '1_0'"),
        ("q1\t0\td1\t1\n", "line 1: expected 3 columns .*, found 4"),
        ('q1\t"d1\t1\n', "line 1 cannot be split at its quotation marks"),
        (
            "q1\td1\t\nq1\td2\t1\n",
            "line 1: grade '' is no number; write a whole number, or",
        ),
        ("q1\td1\tx\nq1\td2\t1\n", "line 1: grade 'x' is no number"),
        ("query-id\tcorpus-id\tquery\nq1\td1\t1\n", "line 1: grade 'query' is no number"),
        ("h\th\th\nq1\td1\t1\n", "line 1: grade 'h' is no number"),
        ("q1\t \t1\n", "line 1: '' in column 'corpus-id' is no id"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "test.tsv").write_text(text)
    with pytest.raises(BadData, match=said):
        judgements(read_beir_qrels(tmp_path / "test.tsv"))


def test_a_first_trec_line_without_a_grade_is_no_header(tmp_path: Path) -> None:
    (tmp_path / "qrels.txt").write_text("q1 0 d1 x\nq1 0 d2 1\n")
    with pytest.raises(BadData, match="line 1: grade 'x' is no number"):
        read_trec_qrels(tmp_path / "qrels.txt")


def test_json_lines_take_the_names_of_a_header_too(beir_folder: Path) -> None:
    (beir_folder / "qrels" / "test.tsv").unlink()
    rows = [{"query_id": "q1", "doc_id": d, "relevance": g} for d, g in WANTED["q1"].items()]
    (beir_folder / "qrels" / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert of(beir_folder).qrels == WANTED
    rows = [{**row, "label": 1} for row in rows]
    (beir_folder / "qrels" / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(BadData, match=r"column '(relevance|label)' is not read; it looks like gr"):
        of(beir_folder)


@pytest.mark.parametrize("name", ["test.jsonl", "test.jsonl.gz", "test.csv", "test.tsv.gz"])
def test_qrels_of_a_beir_folder_may_be_json_lines_or_packed(beir_folder: Path, name: str) -> None:
    (beir_folder / "qrels" / "test.tsv").unlink()
    rows = [{"query-id": "q1", "corpus-id": d, "score": g} for d, g in WANTED["q1"].items()]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if "jsonl" not in name:
        text = "".join(f"q1,{d},{g}\n" for d, g in WANTED["q1"].items())
    data = text.encode()
    file = beir_folder / "qrels" / name
    file.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert [ref.name for ref in find_tasks(str(beir_folder))] == ["scifact/dev", "scifact/test"]
    assert of(beir_folder).qrels == WANTED


def test_of_two_files_of_one_name_beirs_own_form_is_read(beir_folder: Path) -> None:
    row = {"query-id": "q1", "corpus-id": "d2", "score": 1}
    (beir_folder / "qrels" / "test.jsonl").write_text(json.dumps(row))
    assert of(beir_folder).qrels == WANTED


def test_the_trec_file_of_a_nano_task_may_have_grades_with_a_point(
    nano_folder: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("q1 0 d1 1.0\nq2\t0\td2\t2.0\n")
    (ref,) = find_tasks(str(nano_folder()), TaskOptions(qrels=str(tmp_path / "mine.txt")))
    assert ref.load().qrels == {"q1": {"d1": 1}, "q2": {"d2": 2}}


def test_a_grade_in_json_lines_may_be_a_string_as_in_tsv(beir_folder: Path) -> None:
    (beir_folder / "qrels" / "test.tsv").unlink()
    rows = [{"query-id": "q1", "corpus-id": d, "score": f"{g}.0"} for d, g in WANTED["q1"].items()]
    (beir_folder / "qrels" / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert of(beir_folder).qrels == WANTED


@pytest.mark.parametrize(
    ("name", "line", "grade"),
    [
        ("test.tsv", "q1\td1\t" + "9" * 5000, "grade '9{40}…'"),
        ("test.jsonl", '{"query-id": "q1", "corpus-id": "d1", "score": 1%s}' % ("0" * 20), "1"),
        ("test.jsonl", '{"query-id": "q1", "corpus-id": "d1", "score": "x"}', "score 'x'"),
        ("test.jsonl", '{"query-id": "q1", "corpus-id": "d1", "score": null}', "score None"),
    ],
)
def test_a_grade_that_no_run_file_can_hold_is_refused_with_its_line(
    beir_folder: Path, name: str, line: str, grade: str
) -> None:
    (beir_folder / "qrels" / "test.tsv").unlink()
    (beir_folder / "qrels" / name).write_text(line + "\n")
    with pytest.raises(BadData, match=rf"{name}, line 1.*{grade}.* is no whole number of up to"):
        of(beir_folder)
