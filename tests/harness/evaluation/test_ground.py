from __future__ import annotations

from typing import Any

from rerank_bench.evaluation import Row
from rerank_bench.evaluation.ground import set_apart


def row(reranker: str, queries: int = 30, **more: Any) -> Row:
    given = {"task": "t", "profile": "bm25", "measure": "nDCG@10", "ground": "usual", **more}
    return Row(origin="", reranker=reranker, queries=queries, first_stage=0.5, **given)


def apart(*rows: Row) -> list[str]:
    return sorted(row.reranker or "" for row in set_apart(rows) if row.apart)


def test_rows_of_the_same_queries_pools_and_judgements_compare() -> None:
    assert apart(row("a"), row("b"), row("c")) == []


def test_equally_many_other_queries_do_not_compare_with_those_of_most_rows() -> None:
    assert apart(row("a", ground="other"), row("b"), row("c")) == ["a"]


def test_a_sample_of_the_queries_is_apart_and_so_is_one_run_on_a_few_more() -> None:
    few = [row(name, 10, ground="few") for name in "bcd"]
    assert apart(row("a"), *few) == ["b", "c", "d"]
    assert apart(row("a", 33, ground="more"), row("b"), row("c")) == ["a"]


def test_of_two_the_one_by_the_usual_judgements_is_not_apart() -> None:
    assert apart(row("a", ground="strict", judgements="grades from 2"), row("b")) == ["a"]


def test_each_task_profile_and_measure_is_looked_at_by_itself() -> None:
    others = [row(f, 10, **{f: "x"}, ground="own") for f in ("task", "profile", "measure")]
    assert apart(row("a"), *others) == []
