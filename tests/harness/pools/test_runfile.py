"""Files of ranked lists: which formats are read, how they are ordered, what is refused."""

from __future__ import annotations

import gzip
import json

import pytest

from rerank_bench import BadData, RerankBenchError
from rerank_bench.pools import PoolOptions, build_pool, write_pool

LISTED = tuple(f"d{i:03}" for i in range(150))
CONTRADICT = "queries whose ranks contradict their scores (ordered by score)"


@pytest.fixture
def pool_of(make_task, tmp_path):
    """Write a run file and build the pool of it."""

    def build(content, task=None, name="mine.run", **options):
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return build_pool(task or make_task(), f"run({tmp_path / name})", PoolOptions(**options))

    return build


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
    assert (again.rows, again.sha256) == (pool.rows, pool.sha256)
    assert (again.origin, again.resolved) == ("file", f"run({tmp_path / name})")


def test_a_line_has_task_query_documents_and_safeguard(make_task, tmp_path):
    file = tmp_path / "pool.jsonl"
    pool = build_pool(make_task(lists={"bm25": {"q": ("d001", "d002")}}), "bm25")
    write_pool([pool], file)
    assert json.loads(file.read_text()) == {
        "task": "set/split",
        "query-id": "q",
        "corpus-ids": ["d001", "d002", "d149"],
        "safeguard": "d149",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["pool.jsonl"]
    with pytest.raises(RerankBenchError, match="cannot be written"):
        write_pool([pool], tmp_path / "no" / "such" / "folder.jsonl")


@pytest.mark.parametrize(
    ("content", "scores"),
    [
        ("q Q0 d003 1 2.5 me\nq Q0 d001 2 1 me\n", (2.5, 1.0)),
        ("q\tQ0\td003\t1\t2.5\tmy own run\nq\tQ0\td001\t2\t1\tmy own run\n", (2.5, 1.0)),
        ("q\td003\t1\t2.5\nq\td001\t2\t1\n\n", (2.5, 1.0)),
        ("q d001 2\nq d003 1\nr d001 1\nr d003 2\n", None),
        ("q d003 0\nq d001 1\n", None),
        ('{"q": {"d001": 1, "d003": 2.5}}', (2.5, 1.0)),
        ('{"q": {"d001": 1, "d003": 2.5}, "other": {"d001": 3}}\n', (2.5, 1.0)),
        ('{\n "q": {\n  "d003": 2.5,\n  "d001": 1e0\n }\n}\n', (2.5, 1.0)),
        ('{"query-id": "q", "corpus-ids": ["gone", "d003", "d001"]}', None),
    ],
)
@pytest.mark.parametrize("name", ["mine", "mine.gz"])
def test_each_format_is_read_packed_or_not(pool_of, content, scores, name):
    pool = pool_of(content, name=name)
    assert pool.rows[0].natural == ("d003", "d001")
    assert (pool.rows[0].scores, pool.origin) == (scores, "file")
    missing = pool.notes.get("candidates missing from the corpus")
    assert (missing.examples if missing else ()) == (("gone",) if "gone" in content else ())


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (json.dumps({"q": {"d009": 1, "d003": 1, "d001": 2}}), ("d001", "d009", "d003")),
        ("q d003 2 1\nq d009 1 1\nq d001 3 1\n", ("d009", "d003", "d001")),
        ("q d009 1 1\nq d003 1 1\n", ("d003", "d009")),
    ],
)
def test_equal_scores_keep_the_order_of_a_json_file_and_the_ranks_of_a_run(
    pool_of, content, wanted
):
    assert pool_of(content).rows[0].natural == wanted


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("q Q0 d001 1 2.5\n", r"line 1: found 5 columns; a run has 6 \(query Q0 document rank "),
        ("q d001\n", "line 1: found 2 columns"),
        ("q Q0 d001 1 2.5 me\nq Q0 d002 2 2\n", "line 2: found 5 columns, and 6 in the first line"),
        ("q Q0 d001 1 2.5 me\nq Q0 d002 1 best me\n", "line 2: score 'best' is not a number"),
        ("q Q0 d002 1 3 me\nq Q0 d001 2 -inf me\n", "line 2: score -inf is not finite"),
        ("q Q0 d001 1 nan me\n", "line 1: score nan is not finite"),
        ("q d001 1 1e999\n", "line 1: score inf is not finite"),
        (
            "qid Q0 docid rank score tag\n",
            r"line 1: rank 'rank' in column 4 is not a number \(a header line\? remove",
        ),
        ("\nqid\tpid\trank\n", r"line 2: rank 'rank' in column 3 is not a number \(a header"),
        ("q d001 1 2\nq d002 x 1\n", "line 2: rank 'x' in column 3 is not a number$"),
        ("q d001 1.5 2\n", "line 1: rank '1.5' is not a whole number"),
        ("q d001 12\nq d002 11\n", "query q has ranks 11, 12; without scores they must be 1, 2, 3"),
        ("q d001 1\nq d002 1\n", "query q has ranks 1, 1; without scores they must be 1, 2"),
        ("q d001 1\nq d001 2\n", "line 2: query q ranks document d001 twice"),
        ('{"q": {"d001": NaN}}', "query 'q', document 'd001': score nan is not finite"),
        ('{"q": {"d001": "high"}}', "query 'q', document 'd001': score 'high' is not a number"),
        ('{"q": {"d001": true}}', "query 'q', document 'd001': score True is not a number"),
        ('{"q": ["d001"]}', r"query 'q' has no scores by document \(\{query: \{document: score"),
        ('{"model": {}, "default": {"test": {"q": {"d001": 1}}}}', "document 'test': score {'q'"),
        ('{"q": {"d001": 1, "d001": 2}}', "'d001' occurs twice in one JSON object"),
        ('{"q": {"d001": 1}', "line 1: expected"),
        ('{"q": {"d001": 2, "d001 ": 1}}', "query q ranks document d001 twice"),
        ('{"q": {"d001": 2}, "q ": {"d002": 1}}', "query q occurs twice"),
        ('{"q": {"d001": 1, "d002": 1}}', "all scores are equal, as in judgements; a run needs"),
        ("q,d001,1,0.5\n", "found 1 column; a run has 6 .*, with white space or tabs between them"),
        ('[{"query-id": "q", "corpus-ids": ["d001"]}]', "is a JSON array; write one object"),
        ("q d001 3\nq d002 2\nq d003 1\n", "column 3 falls in every query, as scores do; write"),
        ("q d001 1\nr d002 1\n", "one document per query and no scores, as judgements have; for"),
        ("q d001 0\nr d002 1\nr d003 2\n", "query r has ranks 1, 2; without scores they must be 0"),
        ("q d001 30 1\nq d002 20 2\n", "query q: the least rank in column 3 is 20, not 1 or 0"),
        ("q d001 7 1\nq d002 1 2\n", "column 3 falls in every query while column 4 counts 1, 2, 3"),
        ("q Q0 d001 7 0 t\nq Q0 d002 7 1 t\n", "column 4 falls in every query while column 5 co"),
        ('{"q": ' * 99999, "line 1: expected .*nested too deeply"),
        (f"q Q0 d001 {'9' * 5000} 1.0 me\n", "line 1: rank '9{40}…' is not a whole number"),
        ('{"query-id": "q", "corpus-ids": ["a"], "corpus-ids": ["b"]}', "line 1: .*occurs twice"),
        ('{"query-id": "q", "corpus-ids": ["a"], "scores": [1]}\n', "line 1: .*'scores' is not re"),
        (
            '{"query-id": "q", "corpus-ids": ["a", "b"], "safeguard": "a"}\n',
            "line 1: safeguard 'a' must be the last of its corpus-ids",
        ),
        ('{"q": {"d\\u0000": 1}}', "'d.x00' is not an id"),
        ('{"query-id": "q"}\n', "line 1: expected"),
        ('{"query-id": "q", "corpus-ids": ["a"]}\n{"query-id"\n', "line 2: expected"),
        ('{"query-id": "q", "corpus-ids": "abc"}\n', "line 1: expected .*not a list"),
        ('{"query-id": null, "corpus-ids": []}\n', "line 1: expected .*None is not an id"),
        ('{"query-id": "q", "corpus-ids": [null]}\n', "line 1: expected"),
        ('{"query-id": "q", "corpus-ids": ["d\\ud800"]}', "a non-empty string or a whole number"),
        ('{"query-id": "q", "corpus-ids": []}\n' * 2, "line 2: query q occurs twice"),
        ('{"query-id": "q", "corpus-ids": ["a", "a"]}\n', "line 1: query q ranks document a twice"),
        ('{"task": "x/y", "query-id": "q", "corpus-ids": []}\n', "set/split, only of x/y"),
        ('{"task": ["x"], "query-id": "q", "corpus-ids": []}\n', "no line of task set/split"),
        ("other Q0 d001 1 2 me\n", r"no query of task set/split \('other' against 'q'\); write"),
        (b"q d 1\n\xff", "mine.run, line 2 cannot be read: convert it to UTF-8"),
        (gzip.compress(b"q Q0 d 1 2 x\n" * 99, mtime=0)[:-9], "cannot be read"),
    ],
)
def test_a_broken_file_is_named_with_its_line(pool_of, tmp_path, content, message):
    with pytest.raises(BadData, match=message) as raised:
        pool_of(content)
    assert str(tmp_path / "mine.run") in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_or_half_packed_file_is_an_error(make_task, tmp_path):
    (tmp_path / "half.gz").write_bytes(gzip.compress(b"q Q0 d 1 2 x\n" * 99)[:-9])
    for name in ("none.run", "half.gz"):
        with pytest.raises(BadData, match="cannot be read"):
            build_pool(make_task(), f"run({tmp_path / name})")


def test_ranks_that_contradict_scores_are_counted_with_an_example(make_task, pool_of):
    queries = {"q": "apple", "r": "pear", "s": "fig"}
    task = make_task(queries=queries, qrels={q: {"d149": 1} for q in queries})
    lines = ["q d001 1 1", "q d002 2 3", "r d001 1 5", "r d002 2 9", "s d001 1 2", "s d002 2 1"]
    pool = pool_of("\n".join(lines), task)
    note = pool.notes[CONTRADICT]
    example = "q: d001 at rank 1 has score 1, d002 at rank 2 has 3"
    assert (note.count, note.examples) == (2, (example,))
    assert [row.natural for row in pool.rows] == [("d002", "d001")] * 2 + [("d001", "d002")]


def test_contradictions_are_counted_in_a_fusion_too(make_task, tmp_path):
    (tmp_path / "a.run").write_text("q d001 1 1\nq d002 2 3\n")
    pool = build_pool(make_task(), f"rrf(bm25(),run({tmp_path / 'a.run'}))")
    assert pool.notes[CONTRADICT].count == 1


@pytest.mark.parametrize(
    "content",
    [
        "q d001 0 3\nq d002 0 2\nq d003 0 1\n",  # every rank the same
        "q d003 3 1\nq d001 1 1\nq d002 2 1\n",  # every score the same
        "q Q0 d001 10 3 t\nq Q0 d002 20 2 t\n",
    ],
)
def test_equal_ranks_or_scores_contradict_nothing(pool_of, content):
    assert CONTRADICT not in pool_of(content).notes


def test_a_run_of_mostly_unknown_documents_is_refused_with_both_kinds_of_id(pool_of):
    content = "q 001 1 3\nq d001 2 2\nq 002 3 1\n"
    with pytest.raises(BadData, match=r"2 of 3 ranked documents are not in .* \('001' against 'd0"):
        pool_of(content)
    assert pool_of(content, keep_going=True).rows[0].natural == ("d001",)


def test_a_run_of_other_queries_is_refused_and_one_of_more_queries_is_not(make_task, pool_of):
    queries = {str(i): "apple" for i in range(1, 5)}
    task = make_task(queries=queries, qrels={q: {"d149": 1} for q in queries})
    message = (
        r"2 of 4 query ids are not in task .*, and 2 of its 4 are not here \('03' against '3'\)"
    )
    with pytest.raises(BadData, match=message):
        pool_of("".join(f"{q} d001 1 9\n" for q in ("1", "2", "03", "04")), task)
    many = "".join(f"{q} d001 1 9\n" for q in [*queries, *(f"x{i}" for i in range(50))])
    note = pool_of(many, task).notes["ranked queries that the task does not have"]
    assert (note.count, note.examples[0]) == (50, "x0")
    assert pool_of("1 d001 1 9\n", task).notes["queries without a candidate"].count == 3


def test_a_shipped_list_of_none_of_the_documents_is_refused(make_task):
    task = make_task(lists={"bm25": {"q": ("1", "2")}})
    with pytest.raises(BadData, match=r"shipped list bm25: 2 of 2 ranked documents .*'1' against"):
        build_pool(task, "bm25")
    assert build_pool(task, "bm25", PoolOptions(keep_going=True)).rows[0].natural == ()
