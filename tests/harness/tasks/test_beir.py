"""BEIR folders, and judgements in text files as other programs write them."""

from __future__ import annotations

import gzip
import json

import pytest

from rerank_bench.errors import BadData, UnknownName
from rerank_bench.tasks import TaskOptions, find_tasks
from rerank_bench.tasks.files import read_beir_qrels, read_trec_qrels
from rerank_bench.tasks.table import judgements

WANTED = {"q1": {"d1": 2, "d2": 0}}
HEAD = "query-id\tcorpus-id\tscore\n"


def test_each_qrels_file_is_a_task_of_the_queries_it_judges(beir_folder, load):
    assert [ref.name for ref in find_tasks(str(beir_folder))] == ["scifact/dev", "scifact/test"]
    task = load(f"{beir_folder}/test")
    assert (task.name, task.split, task.source.kind) == ("scifact/test", "test", "beir")
    assert task.corpus == {"d1": "Cats are small.", "d2": "Dogs bark."}
    assert (task.qrels, list(task.queries), dict(task.shipped)) == (WANTED, ["q1"], {})
    assert "queries without a positive" not in task.notes
    with pytest.raises(UnknownName, match="did you mean test"):
        find_tasks(f"{beir_folder}/tset")


def test_packed_files_are_read(beir_folder, load):
    for name in ("corpus", "queries"):
        plain = beir_folder / f"{name}.jsonl"
        (beir_folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    assert len(load(f"{beir_folder}/test").corpus) == 2


def test_a_trec_file_makes_a_task_of_its_own(beir_folder, tmp_path, load):
    file = tmp_path / "mine.txt"
    file.write_text("q2 0 d1 1\n")
    task = load(beir_folder, qrels=str(file))
    assert (task.name, task.qrels) == ("scifact/mine", {"q2": {"d1": 1}})
    assert load(f"{beir_folder}/own", qrels=str(file)).name == "scifact/own"
    assert load(beir_folder, qrels=str(beir_folder / "qrels" / "test.tsv")).qrels == WANTED
    with pytest.raises(UnknownName, match=r"unknown qrels config or file 'nope\.txt'"):
        find_tasks(str(beir_folder), TaskOptions(qrels="nope.txt"))


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("corpus.jsonl", '{"_id": "d1"}\n', "line 1: 'text' is missing"),
        ("corpus.jsonl", '{"_id": "d1", "text": "x"}\n{oops\n', "line 2 is not JSON"),
        ("queries.jsonl", "[1]\n", "line 1 is not a JSON object"),
        ("qrels/test.tsv", HEAD, "holds no judgements"),
        ("qrels/test.tsv", f"{HEAD}q7\td1\t1\n", "test.tsv judges none of the queries in "),
    ],
)
def test_a_broken_file_is_named_with_its_line(beir_folder, load, file, text, message):
    (beir_folder / file).write_text(text)
    with pytest.raises(BadData) as caught:
        load(f"{beir_folder}/test")
    assert message in str(caught.value)
    assert file in str(caught.value)


def test_a_missing_part_is_named_before_anything_is_read(beir_folder):
    for file in (beir_folder / "qrels").iterdir():
        file.unlink()
    with pytest.raises(BadData, match=r"no config 'qrels' .*a BEIR folder needs qrels/TASK.tsv"):
        find_tasks(str(beir_folder))
    (beir_folder / "queries.jsonl").unlink()
    with pytest.raises(BadData, match=r"has no queries.jsonl"):
        find_tasks(str(beir_folder))


@pytest.mark.parametrize(
    "text",
    [
        "query_id\tcorpus_id\tscore\nq1\td1\t2\nq1\td2\t0\n",
        "qid\tpid\trelevance\nq1\td1\t2\nq1\td2\t0\n",
        f"\n\n{HEAD}q1\td1\t2\nq1\td2\t0\n",
        "\ufeffquery-id\tcorpus-id\tscore\r\nq1\td1\t2\r\nq1\td2\t0\r\n",
        "q1\td1\t2\nq1\td2\t0\n",
        f"{HEAD}q1\td1\t2.0\nq1\td2\t0.0\n",
        "query-id\tscore\tcorpus-id\nq1\t2\td1\nq1\t0\td2\n",
        "doc_id\tquery_id\tRelevance Score\nd1\tq1\t2\nd2\tq1\t0\n",
        '"q1" , "d1" ,"2.0"\n"q1","d2" , 0 \n',
        '"query-id"\t"corpus-id"\t"score"\n"q1"\t"d1"\t"2"\nq1\t"d2"\t0\n',
        "query_id,doc_id,relevance\nq1,d1,2\nq1, d2 ,0\n",
        f"{HEAD} q1 \td1 \t 2\nq1\t d2\t0 \n",
    ],
)
def test_beir_qrels_are_read_under_any_header(tmp_path, text):
    (tmp_path / "test.tsv").write_text(text, encoding="utf-8")
    assert judgements(read_beir_qrels(tmp_path / "test.tsv"))[0] == WANTED


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
def test_trec_qrels_take_whole_grades_and_a_header_too(tmp_path, text):
    (tmp_path / "qrels.txt").write_text(text)
    assert judgements(read_trec_qrels(tmp_path / "qrels.txt"))[0] == WANTED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q1\td1\t0.5\n", "line 1: grade '0.5' is not a whole number"),
        ("qid\tpid\trel\nq1\td1\t1\nq1\td2\thigh\n", "line 3: grade 'high' is not a whole"),
        (f"{HEAD}q1\td1\tyes\n", "line 2: grade 'yes'"),
        ("q1\td1\tnan\n", "line 1: grade 'nan'"),
        ("q1\td1\t1_0\n", "line 1: grade '1_0'"),
        ("q1 d1 1\n", r"line 1: expected 3 columns .*, found 1"),
        ("q1\t0\td1\t1\n", "line 1: expected 3 columns .*, found 4"),
        ('q1\t"d1\t1\n', "line 1 cannot be split at its quotation marks"),
        ("q1\td1\t\nq1\td2\t1\n", "line 1: grade '' is not a number; write a whole number, or"),
        ("q1\td1\tx\nq1\td2\t1\n", "line 1: grade 'x' is not a number"),
        ("query-id\tcorpus-id\tquery\nq1\td1\t1\n", "line 1: grade 'query' is not a number"),
        ("h\th\th\nq1\td1\t1\n", "line 1: grade 'h' is not a number"),
        ("q1\td1\t" + "9" * 5000, "line 1: grade '9{40}…' is not a whole number of up to nine"),
        ("q1\t \t1\n", "line 1: column 'corpus-id': '' is not an id"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path, text, message):
    (tmp_path / "test.tsv").write_text(text)
    with pytest.raises(BadData, match=message):
        judgements(read_beir_qrels(tmp_path / "test.tsv"))


@pytest.mark.parametrize("name", ["test.jsonl", "test.jsonl.gz", "test.csv", "test.tsv.gz"])
def test_qrels_may_be_json_lines_or_packed(beir_folder, load, name):
    (beir_folder / "qrels" / "test.tsv").unlink()
    rows = [{"query-id": "q1", "corpus-id": d, "score": g} for d, g in WANTED["q1"].items()]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if "jsonl" not in name:
        text = "".join(f"q1,{d},{g}\n" for d, g in WANTED["q1"].items())
    data = text.encode()
    file = beir_folder / "qrels" / name
    file.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert [ref.name for ref in find_tasks(str(beir_folder))] == ["scifact/dev", "scifact/test"]
    assert load(f"{beir_folder}/test").qrels == WANTED


def test_of_two_files_of_one_name_beirs_own_format_is_read(beir_folder, load):
    row = {"query-id": "q1", "corpus-id": "d2", "score": 1}
    (beir_folder / "qrels" / "test.jsonl").write_text(json.dumps(row))
    assert load(f"{beir_folder}/test").qrels == WANTED


def test_a_first_trec_line_without_a_grade_is_not_a_header(tmp_path):
    (tmp_path / "qrels.txt").write_text("q1 0 d1 x\nq1 0 d2 1\n")
    with pytest.raises(BadData, match="line 1: grade 'x' is not a number"):
        read_trec_qrels(tmp_path / "qrels.txt")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"query_id": "q1", "doc_id": "d1", "relevance": 2}, ""),
        ({"query-id": "q1", "corpus-id": "d1", "score": "2.0"}, ""),
        ({"query_id": "q1", "doc_id": "d1", "relevance": 2, "label": 1}, "column 'relevance' is n"),
        ({"query-id": "q1", "corpus-id": "d1", "score": 10**20}, "score 1.* is not a whole number"),
        ({"query-id": "q1", "corpus-id": "d1", "score": "x"}, "line 1: query 'q1': score 'x' is n"),
        ({"query-id": "q1", "corpus-id": "d1", "score": None}, "line 1: query 'q1': score None is"),
    ],
)
def test_json_lines_take_the_names_and_grades_of_a_tsv(beir_folder, load, row, message):
    (beir_folder / "qrels" / "test.tsv").unlink()
    (beir_folder / "qrels" / "test.jsonl").write_text(json.dumps(row))
    if message:
        with pytest.raises(BadData, match=f"test.jsonl.*{message}"):
            load(f"{beir_folder}/test")
    else:
        assert load(f"{beir_folder}/test").qrels == {"q1": {"d1": 2}}
