from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rerank_bench.errors import BadData
from rerank_bench.evaluation import Row, compare, infer

FIRST = np.linspace(0.2, 0.8, 40)


def row(reranker: str, gains: Any, task: str = "t", **more: Any) -> Row:
    array = np.asarray(gains, dtype=float)
    facts = {"pool": "sha", "query_ids": tuple(f"q{i}" for i in range(len(array)))}
    return Row(
        task=task, profile="bm25", origin="", reranker=reranker, measure="nDCG@10",
        queries=len(array), first_stage=0.5, ceiling=0.9, query_gains=array,
        query_naturals=FIRST[: len(array)] + array, **{**facts, **more},
    )  # fmt: skip


def test_the_difference_is_paired_over_the_queries() -> None:
    """Both gain very differently from query to query, and the first always 0.1 more."""
    gains = np.random.default_rng(0).normal(0, 0.3, 40)
    noise = np.random.default_rng(1).normal(0, 0.01, 40)
    found = compare([row("a", gains + 0.1 + noise)], [row("b", gains)])
    (difference,) = found.rows
    assert difference.gain == pytest.approx(0.1 + noise.mean())
    assert difference.natural - difference.first_stage == pytest.approx(difference.gain)
    assert (difference.gain_low or 0) > 0.09
    assert difference.starred
    assert (difference.wins, difference.losses) == (40, 0)
    assert (found.one, found.other) == ("a", "b")


def test_queries_are_listed_by_how_much_they_differ() -> None:
    gains = np.zeros(40)
    gains[[3, 5]] = 0.2, -0.4
    duels = compare([row("a", gains)], [row("b", np.zeros(40))]).duels
    assert [duel.query_id for duel in duels[:2]] == ["q5", "q3"]
    assert duels[0].difference == pytest.approx(-0.4)
    assert len(duels) == 40


def test_swapping_the_two_swaps_the_sign() -> None:
    a, b = (row(n, np.random.default_rng(s).normal(0, 0.2, 40)) for s, n in enumerate("ab"))
    (forth,), (back,) = compare([a], [b]).rows, compare([b], [a]).rows
    assert forth.gain == pytest.approx(-(back.gain or 0))
    assert forth.p == pytest.approx(back.p)
    assert (forth.wins, forth.losses) == (back.losses, back.wins)


def test_only_queries_that_both_ran_are_compared() -> None:
    few = row("b", np.zeros(40))
    few = replace(
        few, query_ids=few.query_ids[10:], query_gains=few.query_gains[10:],
        query_naturals=few.query_naturals[10:],
    )  # fmt: skip
    (difference,) = compare([row("a", np.full(40, 0.1))], [few]).rows
    assert difference.queries == 30
    assert difference.gain == pytest.approx(0.1)


def test_what_is_not_tested_keeps_no_star_of_a_gain_over_the_first_stage() -> None:
    """Rows come with stars of their own gains; nineteen queries say too little of a difference."""
    noise = np.random.default_rng(0).normal(0, 0.01, 40)
    ones, _ = infer([row("a", 0.4 + noise)])
    assert ones[0].starred
    few = row("b", 0.4 - noise[:19])
    (difference,) = compare(ones, [few]).rows
    assert (difference.p, difference.p_holm, difference.family) == (None, None, "")
    assert not difference.starred


def test_a_data_set_has_a_mean_of_differences() -> None:
    ones = [row("a", np.full(40, size), task) for task, size in (("S/x", 0.1), ("S/y", 0.3))]
    others = [row("b", np.zeros(40), task) for task in ("S/x", "S/y")]
    found = compare(ones, others)
    assert found.groups[0].rows[0].gain == pytest.approx(0.2)


def test_other_pools_and_nothing_in_common_are_one_line() -> None:
    with pytest.raises(BadData, match="t after bm25: the two ran on different pools"):
        compare([row("a", np.zeros(40))], [row("b", np.zeros(40), pool="other")])
    with pytest.raises(BadData, match="no task and profile in common"):
        compare([row("a", np.zeros(40))], [row("b", np.zeros(40), task="u")])
    strange = tuple(f"x{i}" for i in range(40))
    with pytest.raises(BadData, match="no query in common"):
        compare([row("a", np.zeros(40))], [row("b", np.zeros(40), query_ids=strange)])


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"judgements": "grades from 2"}, "different judgements"),
        ({"max_doc_chars": 50}, "cut to different lengths"),
        ({"max_doc_tokens": 50}, "cut to different lengths"),
        ({"depth": 20}, "all candidates, one the first 20"),
    ],
)
def test_other_judgements_and_other_depths_do_not_compare(more: dict, told: str) -> None:
    with pytest.raises(BadData, match=told):
        compare([row("a", np.zeros(40))], [row("b", np.zeros(40), **more)])


def test_where_only_some_compare_the_rest_is_named_and_left_out() -> None:
    ones = [row("a", np.full(40, 0.1), task=task) for task in "tu"]
    others = [row("b", np.zeros(40)), row("b", np.zeros(40), task="u", depth=20)]
    found = compare(ones, others)
    assert [r.task for r in found.rows] == ["t"]
    assert found.left_out == ("u after bm25: one reranked all candidates, one the first 20",)


def test_a_difference_from_a_floor_is_in_no_family() -> None:
    gains = 0.4 + np.random.default_rng(0).normal(0, 0.01, 40)
    (difference,) = compare([row("a", gains)], [row("random", np.zeros(40), floor=True)]).rows
    assert (difference.p, difference.family) == (None, "")


def test_what_makes_a_difference_no_finding_goes_with_it() -> None:
    bad = row("b", np.zeros(40), invalid="labels missing", noise=0.02, engine="fake",
              query_failed=frozenset({"q1", "q2", "q99"}))  # fmt: skip
    good = row("a", np.full(40, 0.1), query_failed=frozenset({"q2"}))
    (difference,) = compare([good], [bad]).rows
    assert (difference.invalid, difference.failed) == ("labels missing", 2)
    assert (difference.noise, difference.engine, difference.starred) == (0.02, "fake", False)
