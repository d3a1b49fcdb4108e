from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from rerank_bench.errors import BadData, UnknownName
from rerank_bench.tasks import TaskOptions, find_tasks


def test_each_qrels_file_is_a_task_and_its_stem_the_split(beir_folder: Path) -> None:
    dev, test = find_tasks(str(beir_folder))
    assert (dev.name, test.name) == ("scifact/dev", "scifact/test")
    assert dev.load().split == "dev"
    assert [ref.name for ref in find_tasks(f"{beir_folder}/test")] == ["scifact/test"]


def test_a_title_is_put_before_its_text_and_grades_are_kept(beir_folder: Path) -> None:
    task = find_tasks(f"{beir_folder}/test")[0].load()
    assert task.corpus == {"d1": "Cats are small.", "d2": "Dogs bark."}
    assert task.qrels == {"q1": {"d1": 2, "d2": 0}}
    assert task.source.kind == "beir"
    assert task.shipped.names() == ()
    with pytest.raises(UnknownName, match="none is known"):
        task.shipped.load("bm25")


def test_the_queries_of_another_split_are_no_part_of_a_task(beir_folder: Path) -> None:
    task = find_tasks(f"{beir_folder}/test")[0].load()
    assert list(task.queries) == ["q1"]
    assert "queries without a positive" not in task.notes


def test_packed_files_are_read(beir_folder: Path) -> None:
    for name in ("corpus", "queries"):
        plain = beir_folder / f"{name}.jsonl"
        with gzip.open(f"{plain}.gz", "wb") as packed:
            packed.write(plain.read_bytes())
        plain.unlink()
    assert len(find_tasks(f"{beir_folder}/test")[0].load().corpus) == 2


def test_an_unknown_split_is_answered_with_the_nearest(beir_folder: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean test"):
        find_tasks(f"{beir_folder}/tset")


def test_a_trec_file_makes_a_task_of_its_own(beir_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("q2 0 d1 1\n")
    (ref,) = find_tasks(str(beir_folder), TaskOptions(qrels=str(file)))
    assert ref.name == "scifact/mine"
    assert ref.load().qrels == {"q2": {"d1": 1}}
    with pytest.raises(BadData, match="is no file"):
        find_tasks(str(beir_folder), TaskOptions(qrels="nope.txt"))


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("corpus.jsonl", '{"_id": "d1"}\n', "line 1: 'text' is missing"),
        ("corpus.jsonl", '{"_id": "d1", "text": "x"}\n{oops\n', "line 2 is no JSON"),
        ("queries.jsonl", "[1]\n", "line 1 is no JSON object"),
        ("qrels/test.tsv", "q1 d1 1\n", "line 1: expected 3 columns"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\tyes\n", "line 2: grade 'yes'"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\n", "no judgements"),
    ],
)
def test_a_broken_file_is_an_error_that_names_file_and_line(
    beir_folder: Path, file: str, text: str, said: str
) -> None:
    (beir_folder / file).write_text(text)
    with pytest.raises(BadData) as caught:
        find_tasks(f"{beir_folder}/test")[0].load()
    assert said in str(caught.value)
    if "judgements" not in said:
        assert file in str(caught.value)


def test_a_missing_part_is_named_before_anything_is_read(beir_folder: Path) -> None:
    (beir_folder / "queries.jsonl").unlink()
    with pytest.raises(BadData, match=r"has no queries.jsonl"):
        find_tasks(str(beir_folder))


def test_judgements_of_other_queries_are_an_error_that_names_both_files(beir_folder: Path) -> None:
    (beir_folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq7\td1\t1\n")
    with pytest.raises(BadData, match=r"test.tsv judges none of the queries in .*queries.jsonl"):
        find_tasks(f"{beir_folder}/test")[0].load()
