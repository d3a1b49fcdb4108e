from __future__ import annotations

import pytest

from rerank_bench.evaluation import orders
from rerank_bench.runs import QueryResult


def test_the_first_stage_is_the_pool_as_it_came_without_the_safeguard() -> None:
    result = QueryResult("q", ("s", "c", "a", "b"), (None,) * 4, (4, 3, 1, 2), safeguard="s")
    assert orders.first_stage(result) == ["a", "b", "c"]
    assert orders.natural(result.doc_ids, "s") == ["c", "a", "b"]


def test_below_the_depth_nothing_moves_but_the_safeguard() -> None:
    grades = {"c": 3, "b": 1, "s": 2}
    pool = ["a", "b", "c"]
    assert orders.best(pool, grades) == ["c", "b", "a"]
    assert orders.best(pool, grades, depth=2) == ["b", "a", "c"]
    assert orders.best(pool, grades, depth=2, safeguard="s") == ["s", "b", "a", "c"]
    for kept in orders.shuffles(pool, "q", depth=2, safeguard="s"):
        assert kept[-1] == "c"
        assert sorted(kept[:3]) == ["a", "b", "s"]


def test_the_twenty_shuffles_of_a_query_do_not_depend_on_the_order_of_its_pool() -> None:
    pool = [f"d{i}" for i in range(20)]
    own = orders.shuffles(pool, "q")
    assert own == orders.shuffles(pool[::-1], "q")
    both = own + orders.shuffles(pool, "r")
    assert len(set(map(tuple, both))) == 40
    assert all(sorted(one) == sorted(pool) for one in both)


def test_shuffles_put_each_document_anywhere_equally_often() -> None:
    """8,000 shuffles of four documents: each is in each place a quarter of the time."""
    drawn = [order for q in range(400) for order in orders.shuffles("abcd", f"q{q}")]
    for place in range(4):
        for document in "abcd":
            share = sum(order[place] == document for order in drawn) / len(drawn)
            assert abs(share - 0.25) < 0.025  # five standard errors


@pytest.mark.parametrize(
    ("scores", "tied"),
    [
        ([3.0, 2.0, 1.0], False),
        ([3.0, 3.0, 1.0], True),
        ([*range(20, 10, -1), 11.0], True),  # the tenth place is decided by a tie
        ([*range(20, 9, -1), 10.0], False),  # places 11 and 12 are not of the top ten
        ([2.0, None, None], False),
    ],
)
def test_a_top_ten_is_tied_where_equal_scores_decide_its_order_or_its_last_place(
    scores: list[float | None], tied: bool
) -> None:
    ids = tuple(map(str, range(len(scores))))
    result = QueryResult("q", ids, tuple(scores), tuple(range(1, len(scores) + 1)))
    assert orders.top_tied(result) == tied


def test_a_tie_with_the_safeguard_is_no_tie() -> None:
    result = QueryResult("q", ("a", "s", "b"), (1.0, 1.0, 0.5), (1, 3, 2), safeguard="s")
    assert not orders.top_tied(result)
