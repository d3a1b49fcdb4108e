from __future__ import annotations

import random
from itertools import groupby
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank_bench.evaluation import StratumRow, interval, query_rows, query_values, strata
from rerank_bench.evaluation.significance import FEWEST
from rerank_bench.runs import QueryResult, Run

SETTINGS = {
    "task": "toy",
    "profile": {"asked": "bm25", "resolved": "bm25()", "origin": "computed"},
    "reranker": {"label": "flip", "method": "flip", "options": {}},
    "engine": {"name": "none"},
    "depth": None,
    "min_grade": 1,
    "queries": None,
}


def run_of(results: list[QueryResult]) -> Run:
    """Each query's positive is `a`."""
    return Run(
        {"format": 1, "settings": SETTINGS}, tuple(results), {r.query_id: {"a": 1} for r in results}
    )


def query(
    number: int, *, before: int | None, after: int, pool: int = 120, **more: Any
) -> QueryResult:
    """A pool whose positive moved from rank `before` to rank `after`; None: it is not there."""
    others = [f"x{i}" for i in range(pool - 1)]
    first, last = list(others), list(others)
    if before is not None:
        first.insert(before - 1, "a")
        last.insert(after - 1, "a")
    ranks = {doc_id: rank for rank, doc_id in enumerate(first, 1)}
    return QueryResult(
        f"q{number}", tuple(last), (0.0,) * len(last), tuple(ranks[d] for d in last), **more
    )


def of(results: list[QueryResult]) -> list[StratumRow]:
    run = run_of(results)
    return strata(run, query_rows(run, query_values(run)))


def named(rows: list[StratumRow], kind: str) -> dict[str, int]:
    return {row.value: row.queries for row in rows if row.kind == kind}


def test_queries_are_grouped_by_the_rank_of_the_best_positive() -> None:
    ranks = [1, 2, 5, 6, 10, 11, 30, 31, 100, 101, None]
    rows = of([query(i, before=rank, after=1) for i, rank in enumerate(ranks)])
    assert named(rows, "positive's rank") == {
        "1": 1, "2-5": 2, "6-10": 2, "11-30": 2, "31-100": 2, "below 100": 1, "not in the pool": 1,
    }  # fmt: skip
    first = next(row for row in rows if row.value == "1")
    assert (first.first_stage, first.natural, first.gain) == (1.0, 1.0, 0.0)
    assert (first.task, first.profile, first.reranker) == ("toy", "bm25", "flip")
    deep = next(row for row in rows if row.value == "31-100")
    assert (deep.first_stage, deep.natural, deep.gain) == (0.0, 1.0, 1.0)


def test_lengths_are_thirds_and_say_their_bounds() -> None:
    rows = of([query(i, before=2, after=1, query_chars=10 * (i + 1)) for i in range(9)])
    found = named(rows, "query length")
    assert found == {
        "short (< 30 characters)": 2,
        "medium (30 to 60 characters)": 4,
        "long (> 60 characters)": 3,
    }


def test_languages_are_sorted_by_name_and_those_not_known_are_last() -> None:
    languages = ["sv", "de", None, "de"]
    rows = of([query(i, before=2, after=1, language=name) for i, name in enumerate(languages)])
    assert list(named(rows, "language").items()) == [("de", 2), ("sv", 1), ("not known", 1)]


@pytest.mark.parametrize(
    "more",
    [
        [{}] * 4,
        [{"language": "en", "query_chars": 7}] * 4,
        [{}, *({"query_chars": i} for i in range(4))],
    ],
    ids=["nothing known", "all alike", "lengths of some"],
)
def test_a_kind_whose_queries_cannot_be_parted_is_left_out(more: list[dict[str, Any]]) -> None:
    assert of([query(i, before=2, after=1, **own) for i, own in enumerate(more)]) == []


def test_an_interval_needs_twenty_queries() -> None:
    few = [query(i, before=1 + i % 3, after=1 + i % 2, language="de") for i in range(FEWEST)]
    more = [query(100 + i, before=2, after=1, language="sv") for i in range(FEWEST - 1)]
    rows = {row.value: row for row in of([*few, *more]) if row.kind == "language"}
    gains = [
        1 / (1, 1.5849625007211562)[i % 2] - 1 / (1, 1.5849625007211562, 2.0)[i % 3]
        for i in range(20)
    ]
    low, high = interval(gains)
    assert (rows["de"].gain_low, rows["de"].gain_high) == (pytest.approx(low), pytest.approx(high))
    assert low < rows["de"].gain < high
    assert (rows["sv"].gain_low, rows["sv"].gain_high) == (None, None)


def test_versions_of_one_question_are_a_cluster() -> None:
    """Twenty versions of four questions have a wider interval than twenty questions."""
    rng = random.Random(4)
    before = [rng.randint(1, 9) for _ in range(4)]
    results = [
        query(i, before=before[i % 4], after=1, base=base, language="de")
        for i, base in enumerate([f"b{i % 4}" for i in range(20)])
    ]
    alone = [query(i, before=before[i % 4], after=1, language="de") for i in range(20)]
    other = [query(99, before=1, after=1, language="sv")]
    wide, narrow = (
        next(row for row in of([*part, *other]) if row.value == "de") for part in (results, alone)
    )
    assert wide.gain == narrow.gain
    assert wide.gain_high - wide.gain_low > 1.5 * (narrow.gain_high - narrow.gain_low)  # type: ignore[operator]


SOME = st.builds(
    dict,
    before=st.none() | st.integers(1, 40),
    after=st.integers(1, 40),
    language=st.sampled_from(["de", "sv", None]),
    query_chars=st.integers(1, 30),
)


@given(st.lists(SOME, min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_the_strata_of_a_kind_share_out_all_queries_and_their_gains(drawn: list[dict]) -> None:
    results = [query(i, pool=40, **more) for i, more in enumerate(drawn)]
    run = run_of(results)
    values = query_values(run)
    for kind, rows in groupby(strata(run, query_rows(run, values)), key=lambda row: row.kind):
        part = list(rows)
        assert sum(row.queries for row in part) == len(results), kind
        assert len({row.value for row in part}) == len(part) > 1
        total = sum(row.gain * row.queries for row in part) / len(results)
        assert total == pytest.approx(float(values.gain("nDCG@10").mean()))
