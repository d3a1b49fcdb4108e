"""Run files of other programs: which forms are read, how they are ordered, what is refused."""

from __future__ import annotations

import gzip
import json

import pytest

from rerank_bench import BadData
from rerank_bench.pools import PoolOptions, build_pool

CONTRADICT = "queries whose ranks contradict their scores (ordered by score)"


def pool_of(task, file, content, **options):
    data = content.encode()
    file.write_bytes(gzip.compress(data) if file.suffix == ".gz" else data)
    return build_pool(task, f"run({file})", PoolOptions(**options))


@pytest.mark.parametrize(
    ("content", "scores"),
    [
        ("q Q0 d003 1 2.5 me\nq Q0 d001 2 1 me\n", (2.5, 1.0)),
        ("q\tQ0\td003\t1\t2.5\tmy own run\nq\tQ0\td001\t2\t1\tmy own run\n", (2.5, 1.0)),
        ("q\td003\t1\t2.5\nq\td001\t2\t1\n", (2.5, 1.0)),
        ("q d001 2\nq d003 1\nr d001 1\nr d003 2\n", None),
        ("q d003 0\nq d001 1\n", None),
        ('{"q": {"d001": 1, "d003": 2.5}}', (2.5, 1.0)),
        ('{"q": {"d001": 1, "d003": 2.5}, "other": {"d001": 3}}\n', (2.5, 1.0)),
        ('{\n "q": {\n  "d003": 2.5,\n  "d001": 1e0\n }\n}\n', (2.5, 1.0)),
    ],
)
@pytest.mark.parametrize("name", ["mine", "mine.gz"])
def test_each_form_is_read_packed_or_not(make_task, tmp_path, content, scores, name):
    pool = pool_of(make_task(), tmp_path / name, content)
    assert pool.rows[0].natural == ("d003", "d001")
    assert pool.rows[0].scores == scores
    assert pool.origin == "file"


def test_equal_scores_keep_the_order_of_a_json_file_and_the_ranks_of_a_run(make_task, tmp_path):
    content = json.dumps({"q": {"d009": 1, "d003": 1, "d001": 2}})
    pool = pool_of(make_task(), tmp_path / "a.json", content)
    assert pool.rows[0].natural == ("d001", "d009", "d003")
    pool = pool_of(make_task(), tmp_path / "a.run", "q d003 2 1\nq d009 1 1\nq d001 3 1\n")
    assert pool.rows[0].natural == ("d009", "d003", "d001")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("q Q0 d001 1 2.5\n", r"line 1: found 5 columns; a run has 6 \(query Q0 document rank "),
        ("q d001\n", "line 1: found 2 columns"),
        ("q Q0 d001 1 2.5 me\nq Q0 d002 2 2\n", "line 2: found 5 columns, and 6 in the first line"),
        ("q Q0 d001 1 inf me\n", "line 1: score inf is not finite"),
        ("q Q0 d001 1 nan me\n", "line 1: score nan is not finite"),
        ("q d001 1 1e999\n", "line 1: score inf is not finite"),
        (
            "qid Q0 docid rank score tag\n",
            r"line 1: rank 'rank' in column 4 is no number \(a header",
        ),
        (
            "\nqid\tpid\trank\n",
            r"line 2: rank 'rank' in column 3 is no number \(a header line\? rem",
        ),
        ("q d001 1 2\nq d002 x 1\n", "line 2: rank 'x' in column 3 is no number$"),
        ("q d001 1.5 2\n", "line 1: rank '1.5' is no whole number"),
        (
            "q d001 12\nq d002 11\n",
            r"query q has ranks 11, 12; without scores they must be 1, 2, 3",
        ),
        ("q d001 1\nq d002 1\n", "query q has ranks 1, 1; without scores they must be 1, 2"),
        ("q d001 1\nq d001 2\n", "line 2: query q ranks document d001 twice"),
        ('{"q": {"d001": NaN}}', "query q, document d001: score nan is not finite"),
        ('{"q": {"d001": "high"}}', "query q, document d001: score 'high' is no number"),
        ('{"q": {"d001": true}}', "query q, document d001: score True is no number"),
        ('{"q": ["d001"]}', r"query 'q' has no scores by document \(\{query: \{document: score"),
        ('{"model": {}, "default": {"test": {"q": {"d001": 1}}}}', "document test: score {'q'"),
        ('{"q": {"d001": 1, "d001": 2}}', "'d001' is there twice in one JSON object"),
        ('{"q": {"d001": 1}', "line 1: expected"),
        ('{"query-id": "q", "corpus-ids": ["d\\ud800"]}', "an id is a string or a whole number"),
        ('{"q": {"d001": 2, "d001 ": 1}}', "query q ranks document d001 twice"),
        ('{"q": {"d001": 2}, "q ": {"d002": 1}}', "query q is there twice"),
        ('{"q": {"d001": 1, "d002": 1}}', "all scores are equal, as in judgements; a run needs"),
        ("q,d001,1,0.5\n", "found 1 column; a run has 6 .*, with white space or tabs between them"),
        (
            '[{"query-id": "q", "corpus-ids": ["d001"]}]',
            "is a JSON array; write one object",
        ),
        ("q d001 3\nq d002 2\nq d003 1\n", "column 3 falls in every query, as scores do; write"),
        ("q d001 1\nr d002 1\n", "one document per query and no scores, as judgements have; for"),
        ("q d001 0\nr d002 1\nr d003 2\n", "query r has ranks 1, 2; without scores they must be 0"),
        (
            "q d001 30 1\nq d002 20 2\n",
            "query q: the least rank in column 3 is 20, not 1 or 0",
        ),
        ("q d001 7 1\nq d002 1 2\n", "column 3 falls in every query while column 4 counts 1, 2, 3"),
        ("q Q0 d001 7 0 t\nq Q0 d002 7 1 t\n", "column 4 falls in every query while column 5 co"),
        ('{"q": ' * 99999, "line 1: expected .*nested too deeply"),
        (f"q Q0 d001 {'9' * 5000} 1.0 me\n", "line 1: rank '9{40}…' is no whole number"),
        ('{"query-id": "q", "corpus-ids": ["a"], "corpus-ids": ["b"]}', "line 1: .*is there twice"),
        ('{"q": {"d\\u0000": 1}}', "document: 'd.x00' is no id"),
    ],
)
def test_a_refusal_says_what_is_wrong(make_task, tmp_path, content, said):
    with pytest.raises(BadData, match=said) as raised:
        pool_of(make_task(), tmp_path / "mine.run", content)
    assert str(tmp_path / "mine.run") in str(raised.value)
    assert "\n" not in str(raised.value)


def test_ranks_that_contradict_scores_are_counted_with_an_example(make_task, tmp_path):
    queries = {"q": "apple", "r": "pear", "s": "fig"}
    task = make_task(queries=queries, qrels={q: {"d149": 1} for q in queries})
    lines = ["q d001 1 1", "q d002 2 3", "r d001 1 5", "r d002 2 9", "s d001 1 2", "s d002 2 1"]
    pool = pool_of(task, tmp_path / "a.run", "\n".join(lines))
    note = pool.notes[CONTRADICT]
    example = "q: d001 at rank 1 has score 1, d002 at rank 2 has 3"
    assert (note.count, note.examples) == (2, (example,))
    assert [row.natural for row in pool.rows] == [("d002", "d001")] * 2 + [("d001", "d002")]


@pytest.mark.parametrize(
    "content",
    [
        "q d001 0 3\nq d002 0 2\nq d003 0 1\n",  # every rank the same
        "q d003 3 1\nq d001 1 1\nq d002 2 1\n",  # every score the same
        "q Q0 d001 10 3 t\nq Q0 d002 20 2 t\n",
    ],
)
def test_equal_ranks_or_scores_contradict_nothing(make_task, tmp_path, content):
    assert CONTRADICT not in pool_of(make_task(), tmp_path / "a.run", content).notes


def test_a_contradiction_is_told_of_a_list_in_a_fusion_too(make_task, tmp_path):
    (tmp_path / "a.run").write_text("q d001 1 1\nq d002 2 3\n")
    pool = build_pool(make_task(), f"rrf(bm25(),run({tmp_path / 'a.run'}))")
    assert pool.notes[CONTRADICT].count == 1


def test_a_run_of_mostly_unknown_documents_is_refused_with_both_kinds_of_id(make_task, tmp_path):
    content = "q 001 1 3\nq d001 2 2\nq 002 3 1\n"
    with pytest.raises(BadData, match=r"2 of 3 ranked documents are not in .* \('001' against 'd0"):
        pool_of(make_task(), tmp_path / "a.run", content)
    pool = pool_of(make_task(), tmp_path / "a.run", content, keep_going=True)
    assert pool.rows[0].natural == ("d001",)


def test_a_run_of_other_queries_is_refused_and_one_of_more_queries_is_not(make_task, tmp_path):
    queries = {str(i): "apple" for i in range(1, 5)}
    task = make_task(queries=queries, qrels={q: {"d149": 1} for q in queries})
    right = "".join(f"{q} d001 1 9\n" for q in queries)
    wrong = "1 d001 1 9\n2 d001 1 9\n03 d001 1 9\n"
    with pytest.raises(BadData, match=r"lacks 2 of 4 queries of task .* \('03' against '3'\)"):
        pool_of(task, tmp_path / "a.run", wrong + "04 d001 1 9\n")
    many = right + "".join(f"x{i} d001 1 9\n" for i in range(50))
    pool = pool_of(task, tmp_path / "a.run", many)
    assert pool.notes["ranked queries that the task does not have"].count == 50
    few = pool_of(task, tmp_path / "a.run", "1 d001 1 9\n")
    assert few.notes["queries without a candidate"].count == 3
    with pytest.raises(BadData, match=r"no query of task set/split \('x1' against '1'\); write"):
        pool_of(task, tmp_path / "a.run", "x1 d001 1 9\n")


def test_a_shipped_list_of_none_of_the_documents_is_refused(make_task):
    task = make_task(lists={"bm25": {"q": ("1", "2")}})
    with pytest.raises(BadData, match=r"shipped list bm25: 2 of 2 ranked documents .*'1' against"):
        build_pool(task, "bm25")
    assert build_pool(task, "bm25", PoolOptions(keep_going=True)).rows[0].natural == ()
