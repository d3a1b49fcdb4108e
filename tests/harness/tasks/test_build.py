"""What a task keeps, counts and refuses of its three tables."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench.errors import BadData
from rerank_bench.tasks import Note, Source, TaskOptions, find_tasks
from rerank_bench.tasks.build import build_task
from rerank_bench.tasks.ids import mismatch
from rerank_bench.tasks.table import Table

QUERIES, DOCUMENTS = ["q1", "q2", "q3"], ["d1", "d2", "d3", "d4"]
GRADED = st.dictionaries(
    st.tuples(st.sampled_from([*QUERIES, "q?"]), st.sampled_from([*DOCUMENTS, "d?"])),
    st.integers(-2, 3),
    min_size=1,
)
TEN = [str(i) for i in range(1, 11)]
PADDED = [name.zfill(3) for name in TEN]


def make(graded, min_grade, seed):
    rows, documents = list(graded.items()), list(DOCUMENTS)
    random.Random(seed).shuffle(rows)
    random.Random(seed).shuffle(documents)
    query_ids, doc_ids = zip(*(pair for pair, _ in rows), strict=True)
    grades = [grade for _, grade in rows]
    tables = {
        "corpus": Table("corpus", {"_id": documents, "text": documents}),
        "queries": Table("queries", {"_id": QUERIES, "text": QUERIES}),
        "qrels": Table("qrels", {"query-id": query_ids, "corpus-id": doc_ids, "score": grades}),
    }
    options = TaskOptions(min_grade=min_grade, keep_going=True)
    return build_task("t", "t", tables=tables, source=Source("folder", "t"), options=options)


@given(GRADED, st.integers(1, 3), st.integers(0, 9))
def test_a_query_is_kept_exactly_when_it_has_a_positive(graded, min_grade, seed):
    positive = {q for (q, _), grade in graded.items() if grade >= min_grade} & set(QUERIES)
    try:
        task = make(graded, min_grade, seed)
    except BadData:
        assert not positive
        return
    assert list(task.queries) == [query_id for query_id in QUERIES if query_id in positive]
    assert all(task.positives(query_id) for query_id in task.queries)
    dropped = task.notes.get("queries without a positive")
    assert (dropped.count if dropped else 0) == len(QUERIES) - len(positive)
    kept = {(q, d): g for q, found in task.qrels.items() for d, g in found.items()}
    assert kept == {pair: grade for pair, grade in graded.items() if pair[0] in positive}


@given(GRADED, st.integers(0, 9))
def test_the_sha256_depends_on_the_data_and_not_on_order_or_min_grade(graded, seed):
    graded[("q1", "d1")] = 3
    first = make(graded, 1, seed).source.sha256
    assert make(graded, 3, seed + 1).source.sha256 == first
    graded[("q1", "d1")] = 2
    assert make(graded, 1, seed).source.sha256 != first


def qrels(queries, documents, scores=None):
    found = {"query-id": queries, "corpus-id": documents}
    return found if scores is None else {**found, "score": scores}


def test_grade_0_is_a_judgement_and_min_grade_sets_what_is_positive(nano_folder, load):
    folder = nano_folder(qrels=qrels(["q1"] * 3 + ["q2"], ["d1", "d2", "d3", "d2"], [0, 1, 2, 1]))
    assert load(folder).positives("q1") == {"d2", "d3"}
    strict = load(folder, min_grade=2)
    assert strict.positives("q1") == {"d3"}
    assert strict.qrels == {"q1": {"d1": 0, "d2": 1, "d3": 2}}
    assert strict.notes["queries without a positive"] == Note(1, ("q2",))


def test_judgements_of_unknown_ids_and_repeated_ones_are_counted_and_kept(nano_folder, load):
    unknown = [f"x{i}" for i in range(7)]
    task = load(nano_folder(qrels=qrels(["q1"] * 8, ["d1", *unknown], [1] * 5 + [0] * 3)))
    assert task.notes["qrels to unknown ids"] == Note(7, tuple(unknown[:5]))
    assert task.notes["positives outside the corpus"].count == 4
    assert task.positives("q1") == {"d1", "x0", "x1", "x2", "x3"}
    notes = load(nano_folder(qrels=qrels(["q1", "q1", "q2", "q9"], ["d1", "d1", "d2", "d2"]))).notes
    assert notes["judged queries without a text"] == Note(1, ("q9",))
    assert notes["repeated judgements"] == Note(1, ("q1 d1",))


@pytest.mark.parametrize(
    ("documents", "scores", "wanted"),
    [
        ([["d1", "d2"]], None, {"d1": 1, "d2": 1}),
        ([["d1", "d2"]], [2], {"d1": 2, "d2": 2}),
        ([["d1", "d2"]], [[2, 0]], {"d1": 2, "d2": 0}),
    ],
)
def test_a_row_of_qrels_may_hold_several_documents(nano_folder, load, documents, scores, wanted):
    assert load(nano_folder(qrels=qrels(["q1"], documents, scores))).qrels["q1"] == wanted


BROKEN = [
    ({"corpus": {"_id": ["d1", "d1"], "text": ["x", "y"]}}, "row 2: id 'd1' occurs twice"),
    ({"queries": {"_id": ["q1", "q1"], "text": ["x", "y"]}}, "id 'q1' occurs twice"),
    ({"queries": {"_id": ["q1"], "text": [" \n"]}}, "query 'q1' has no text"),
    ({"queries": {"_id": ["q1"], "text": [None]}}, "query 'q1' has no text"),
    ({"corpus": {"id": ["d1"], "text": ["x"]}}, "column '_id' is missing (has: id, text)"),
    ({"corpus": {"_id": ["d1"]}}, "column 'text' is missing"),
    ({"corpus": {"_id": ["d1", None], "text": ["x", "y"]}}, "row 2: column '_id': None is not an"),
    ({"corpus": {"_id": [], "text": []}}, "holds no rows"),
    ({"queries": {"_id": [], "text": []}}, "holds no rows"),
    ({"qrels": qrels([], [])}, "holds no judgements"),
    ({"qrels": qrels(["q1"], ["d1"], [0])}, "no query of task Tiny/a has a judgement of grade 1"),
    ({"qrels": qrels(["q1"] * 2, ["d1"] * 2, [1, 2])}, "query 'q1' grades 'd1' both 1 and 2"),
    ({"qrels": qrels(["q1"], ["d1"], [0.5])}, "row 1: query 'q1': score 0.5 is not a whole"),
    ({"qrels": qrels(["q1"], [["d1", "d2"]], [[2]])}, "query 'q1' has 2 documents but 1 scores"),
    ({"corpus": {"_id": ["d1"], "title": [1.5], "text": ["x"]}}, "row 1: column 'title' holds flo"),
    ({"queries": {"_id": ["q1"], "text": [1]}}, "row 1: column 'text' holds int, not a string: 1"),
]


@pytest.mark.parametrize(
    ("changed", "message"), BROKEN, ids=[message[:30] for _, message in BROKEN]
)
def test_broken_data_are_an_error_that_names_the_file(nano_folder, load, changed, message):
    folder = nano_folder(**changed)
    with pytest.raises(BadData) as caught:
        load(folder)
    assert message in str(caught.value)
    assert f"{next(iter(changed))}/a.parquet" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def ten(nano_folder):
    """Write a task of queries 1 to 10 and documents 1 to 10 with these judgements."""
    texts = {"_id": TEN, "text": [f"text {i}" for i in TEN]}
    return lambda *rows: nano_folder(corpus=texts, queries=texts, qrels=qrels(*rows), bm25=None)


@pytest.mark.parametrize(
    ("rows", "message", "note"),
    [
        ((TEN, PADDED), "no positive is in", "positives outside the corpus"),
        (([*TEN, *TEN], [*TEN, *PADDED], [0] * 10 + [1] * 10), "no positive is in", ""),
        ((TEN, PADDED[:2] + TEN[2:]), "", "positives outside the corpus"),
        ((TEN, PADDED[:3] + TEN[3:]), "no positive of 3 of 10 queries is in", ""),
        (
            ([*TEN, *TEN], [*PADDED[:3], *TEN[3:], *TEN[1:], "1"], [1] * 10 + [0] * 10),
            "no positive of 3 of 10 queries is in",
            "",
        ),
        # the corpus has these under no spelling
        (
            (
                [*TEN, *TEN],
                [*(f"x{i}-{i}" for i in TEN[:5]), *TEN[5:], *TEN[1:], "1"],
                [1] * 10 + [0] * 10,
            ),
            "",
            "positives outside the corpus",
        ),
        ((PADDED[:2] + TEN[2:], TEN), "", "judged queries without a text"),
        ((PADDED[:3] + TEN[3:], TEN), "3 of 10 query ids are not in", "judged queries without a t"),
        (([f"{i}" for i in range(1, 100)], ["1"] * 99), "", "judged queries without a text"),
        ((["1"], ["1"]), "", "queries without a positive"),
    ],
)
def test_ids_that_do_not_match_are_refused_with_one_of_each_side(ten, load, rows, message, note):
    folder = ten(*rows)
    if message:
        with pytest.raises(BadData) as caught:
            load(folder)
        assert f"qrels/a.parquet: {message}" in str(caught.value)
        assert "a.parquet" in str(caught.value).partition(message)[2]
        assert "('001' against '1'); write the ids alike, or pass --keep-going" in str(caught.value)
    notes = load(folder, keep_going=True).notes
    assert any(name.startswith(note) for name in notes)
    assert message or load(folder).notes == notes


def test_no_query_in_common_is_refused_even_with_keep_going(ten, load):
    folder = ten([f"q{i}" for i in TEN], TEN)
    for keep_going in (False, True):
        with pytest.raises(
            BadData, match=r"judges none of the queries in .*\('q1' against '1'\); wri"
        ):
            load(folder, keep_going=keep_going)


def test_ids_of_a_beir_folder_are_checked_too(beir, load):
    texts = {name: name for name in TEN}
    by_query = {name: {name: 1} for name in TEN[:5] + PADDED[5:]}
    with pytest.raises(BadData, match=r"5 of 10 query ids are not in .*\('006' against '6'\)"):
        load(beir(texts, texts, by_query, name="queries"))
    by_query = {name: {f"doc{name}": 1} for name in TEN}
    with pytest.raises(BadData, match=r"no positive is in .*corpus.jsonl \('doc1' against '1'\)"):
        load(beir(texts, texts, by_query, name="documents"))
    assert dict(load(beir(texts, texts, {"1": {"1": 1}}, name="shared")).notes) == {}


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        (["x", "007"], ["a", "7"], "'007' against '7'"),
        (["D12"], ["1", "12"], "'D12' against '12'"),
        (["Doc-A"], ["b", "doca"], "'Doc-A' against 'doca'"),
        (["x"], ["a", "b"], "'x' against 'a'"),
    ],
)
def test_the_example_is_of_two_spellings_of_one_id_if_there_are_any(ours, theirs, message):
    assert str(mismatch("it", ours, theirs, cure="fix")) == f"it ({message}); fix"


def test_the_order_of_rows_does_not_change_the_sha256(nano_folder, write_table):
    folder = nano_folder()
    ids = {"_id": ["d3", "d2", "d1"]}
    found = []
    for texts in (["", "two", "one"], ["", "one", "two"]):
        found.append(find_tasks(str(folder))[0].load().source.sha256)
        write_table(folder / "corpus" / "a.parquet", {**ids, "text": texts})
    assert found[0] == found[1] != find_tasks(str(folder))[0].load().source.sha256
