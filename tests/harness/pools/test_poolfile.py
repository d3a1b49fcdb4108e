from __future__ import annotations

import gzip
import json

import pytest

from rerank_bench import BadData, RerankBenchError
from rerank_bench.pools import build_pool, write_pool

LISTED = tuple(f"d{i:03}" for i in range(150))


@pytest.mark.parametrize("name", ["pool.jsonl", "pool (1), q.jsonl.gz"])
def test_a_pool_is_read_back_as_it_was_written(make_task, tmp_path, name):
    queries = {"q": "apple", "s": "fig", "7": "plum"}
    lists = {"bm25": {"q": LISTED, "s": ("d149", "ü\u2028x"), "7": ()}}
    corpus = {**dict.fromkeys(LISTED, "pear"), "ü\u2028x": "fig"}
    qrels = {q: {"d149": 1} for q in queries}
    task = make_task(queries=queries, qrels=qrels, corpus=corpus, lists=lists)
    pool = build_pool(task, "bm25")
    other = build_pool(make_task(name="set/other", lists={"bm25": {"q": ("d003",)}}), "bm25")
    write_pool([other, pool], tmp_path / name)
    again = build_pool(task, f"run({tmp_path / name})")
    assert again.rows == pool.rows
    assert again.sha256 == pool.sha256
    assert (again.origin, again.resolved) == ("file", f"run({tmp_path / name})")


def test_a_line_says_task_query_documents_and_safeguard(make_task, tmp_path):
    file = tmp_path / "pool.jsonl"
    write_pool([build_pool(make_task(lists={"bm25": {"q": ("d001", "d002")}}), "bm25")], file)
    assert json.loads(file.read_text()) == {
        "task": "set/split",
        "query-id": "q",
        "corpus-ids": ["d001", "d002", "d149"],
        "safeguard": "d149",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["pool.jsonl"]


def test_a_trec_run_is_ordered_by_score_and_then_by_its_rank(make_task, tmp_path):
    rows = ["q Q0 d003 3 1.5 me", "q Q0 d001 1 2.5 me", "q Q0 d009 2 1.5 me", "r Q0 d001 1 9 me"]
    plain, packed = tmp_path / "a.run", tmp_path / "a.run.gz"
    plain.write_text("\n".join(rows) + "\n\n")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    pool = build_pool(make_task(), f"run({plain})")
    assert pool.rows[0].natural == ("d001", "d009", "d003")
    assert pool.rows[0].scores == (2.5, 1.5, 1.5)
    assert pool.notes["ranked queries that the task does not have"].examples == ("r",)
    assert build_pool(make_task(), f"run({packed})").rows == pool.rows


def test_unknown_documents_are_counted_and_left_out(make_task, tmp_path):
    file = tmp_path / "pool.jsonl"
    file.write_text('{"query-id": "q", "corpus-ids": ["gone", "d001"]}')
    pool = build_pool(make_task(), f"run({file})")
    assert pool.rows[0].natural == ("d001",)
    assert pool.notes["candidates missing from the corpus"].examples == ("gone",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("q Q0 d001 1 2.5 me\nq Q0 d002 1 best me\n", "line 2: score 'best' is no number"),
        ("q Q0 d001 1 nan me\n", "line 1"),
        ("q Q0 d002 1 3 me\nq Q0 d001 2 -inf me\n", "line 2"),
        ("q Q0 d001 1 2.5\n", "line 1: found 5 columns; a run has 6"),
        ("q Q0 d001 1 2 me\nq Q0 d001 2 1 me\n", "line 2: query q ranks document d001 twice"),
        ('{"query-id": "q"}\n', "line 1: expected"),
        ('{"query-id": "q", "corpus-ids": ["a"]}\n{"query-id"\n', "line 2: expected"),
        ('{"query-id": "q", "corpus-ids": "abc"}\n', "line 1: expected"),
        ('{"query-id": null, "corpus-ids": []}\n', "line 1: expected"),
        ('{"query-id": "q", "corpus-ids": [null]}\n', "line 1: expected"),
        ('{"query-id": "q", "corpus-ids": []}\n' * 2, "line 2: query q stands there twice"),
        ('{"query-id": "q", "corpus-ids": ["a", "a"]}\n', "line 1: query q ranks document a twice"),
        ('{"task": "x/y", "query-id": "q", "corpus-ids": []}\n', "set/split, only of x/y"),
        ('{"task": ["x"], "query-id": "q", "corpus-ids": []}\n', "no line of task set/split"),
        ('{"query-id": "q", "corpus-ids": ["a"], "scores": [1]}\n', "line 1: .*'scores' is not re"),
        (
            '{"query-id": "q", "corpus-ids": ["a", "b"], "safeguard": "a"}\n',
            "line 1: safeguard 'a' must be the last of its corpus-ids",
        ),
        ("other Q0 d001 1 2 me\n", "ranks no query of task set/split"),
    ],
)
def test_a_broken_file_is_named_with_its_line(make_task, tmp_path, content, message):
    file = tmp_path / "mine.run"
    file.write_text(content)
    with pytest.raises(BadData, match=message) as raised:
        build_pool(make_task(), f"run({file})")
    assert str(file) in str(raised.value)


def test_a_file_that_cannot_be_read_is_told(make_task, tmp_path):
    with pytest.raises(BadData, match="cannot be read"):
        build_pool(make_task(), f"run({tmp_path / 'none.run'})")
    half = gzip.compress(b"q Q0 d 1 2 x\n" * 99)[:-9]
    for name, content, said in (("half.gz", half, ""), ("b", b"q d 1\n\xff", ", line 2")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadData, match=f"{name}{said} cannot be read"):
            build_pool(make_task(), f"run({tmp_path / name})")


def test_a_file_that_cannot_be_written_is_told(make_task, tmp_path):
    pool = build_pool(make_task(lists={"bm25": {"q": ("d001",)}}), "bm25")
    with pytest.raises(RerankBenchError, match="cannot be written"):
        write_pool([pool], tmp_path / "no" / "such" / "folder.jsonl")
