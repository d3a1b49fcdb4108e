from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from rerank_bench.errors import BadData
from rerank_bench.tasks import NoLists, Source, Task, TaskOptions
from rerank_bench.tasks.checking import Tables, make_task
from rerank_bench.tasks.tables import Table

QUERIES, DOCUMENTS = ["q1", "q2", "q3"], ["d1", "d2", "d3", "d4"]
GRADED = st.dictionaries(
    st.tuples(st.sampled_from([*QUERIES, "q?"]), st.sampled_from([*DOCUMENTS, "d?"])),
    st.integers(-2, 3),
    min_size=1,
)


def make(graded: dict[tuple[str, str], int], min_grade: int, seed: int) -> Task:
    rows, documents = list(graded.items()), list(DOCUMENTS)
    random.Random(seed).shuffle(rows)
    random.Random(seed).shuffle(documents)
    qrels = {
        "query-id": [query_id for (query_id, _), _ in rows],
        "corpus-id": [doc_id for (_, doc_id), _ in rows],
        "score": [grade for _, grade in rows],
    }
    return make_task(
        "t",
        "t",
        tables=Tables(
            Table("queries", {"_id": QUERIES, "text": QUERIES}),
            Table("corpus", {"_id": documents, "text": documents}),
            Table("qrels", qrels),
        ),
        source=Source("folder", "t"),
        shipped=NoLists(),
        options=TaskOptions(min_grade=min_grade, keep_going=True),
    )


@given(GRADED, st.integers(1, 3), st.integers(0, 9))
def test_a_query_is_kept_exactly_when_it_has_a_positive(
    graded: dict[tuple[str, str], int], min_grade: int, seed: int
) -> None:
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
def test_the_sha256_is_that_of_the_data_not_of_its_order_or_of_min_grade(
    graded: dict[tuple[str, str], int], seed: int
) -> None:
    graded[("q1", "d1")] = 3
    first = make(graded, 1, seed).source.sha256
    assert make(graded, 3, seed + 1).source.sha256 == first
    graded[("q1", "d1")] = 2
    assert make(graded, 1, seed).source.sha256 != first
