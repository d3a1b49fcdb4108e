from __future__ import annotations

from typing import Any

import pytest

from rerank_bench.evaluation.sensitivity import (
    agreement,
    latency_row,
    order_row,
    promotion,
)
from rerank_bench.reranking import Usage, arranged
from rerank_bench.runs import QueryResult, Run

POOL = [f"d{i:02}" for i in range(20)]


def run(order: str, out: list[str], **more: Any) -> Run:
    ranks = tuple(POOL.index(doc) + 1 if doc in POOL else 101 for doc in out)
    scores = tuple(float(-i) for i in range(len(out)))
    result = QueryResult("q", tuple(out), scores, ranks, **more)
    variant = {} if order == "first-stage" else {"variant": {"order": order}}
    return Run({"settings": variant}, (result,), {})


def test_outputs_that_do_not_depend_on_the_input_agree_wholly() -> None:
    out = sorted(POOL, key=lambda doc: doc[::-1])
    assert agreement([run("first-stage", out), run("reverse", out)]) == pytest.approx(1.0)


def test_an_output_equal_to_the_input_depends_on_it_wholly() -> None:
    """Tau -1 between an order and its reverse, and only the first half of the input is promoted."""
    runs = [run("first-stage", POOL), run("reverse", POOL[::-1])]
    assert agreement(runs) == pytest.approx(-1.0)
    assert promotion(runs) == (1.0,) * 5 + (0.0,) * 5


def test_promotion_is_over_random_orders_where_there_are_some() -> None:
    """The same ten documents rise wherever they are: the share of a tenth is what it holds."""
    out = POOL[::-1]
    given = [POOL[place] for place in arranged(POOL, "q", "random-0")]
    found = promotion([run("first-stage", POOL), run("random-0", out)])
    top = set(out[:10])
    assert found == tuple(
        sum(doc in top for doc in given[2 * i : 2 * i + 2]) / 2 for i in range(10)
    )


def test_safeguard_and_failed_queries_have_no_part() -> None:
    guarded = run("reverse", ["s", *POOL[::-1]], safeguard="s")
    assert promotion([guarded]) == (1.0,) * 5 + (0.0,) * 5
    failed = run("reverse", POOL, failed="no answer")
    assert promotion([failed]) == ()
    assert agreement([failed, failed]) is None


def test_an_order_row_has_mean_and_spread_over_orders() -> None:
    runs = [run("first-stage", POOL), run("reverse", POOL[::-1])]
    found = order_row(("t", "p", "r"), [0.6, 0.4], runs)
    assert (found.mean, found.sd) == (pytest.approx(0.5), pytest.approx(0.02**0.5))
    assert found.orders == ("first-stage", "reverse")


def test_latency_is_the_median_and_the_95th_percentile_of_served_queries() -> None:
    seconds = [0.1 * i for i in range(1, 22)]
    results = [QueryResult(str(i), (), (), (), usage=Usage(seconds=s)) for i, s in
               enumerate(seconds)]  # fmt: skip
    results.append(QueryResult("f", (), (), (), failed="x", usage=Usage(seconds=99.0)))
    found = latency_row(("t", "p", "r"), "a laptop", Run({"settings": {}}, tuple(results), {}))
    assert (found.queries, found.hardware) == (21, "a laptop")
    assert (found.p50, found.p95) == (pytest.approx(1.1), pytest.approx(2.0))
