from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rerank_bench.errors import BadData
from rerank_bench.evaluation import Comparison, Evaluation, PerQuery, compare

FIRST = np.linspace(0.2, 0.8, 40)
Run = tuple[dict[str, Any], PerQuery]


def run(
    reranker: str,
    gains: Any,
    task: str = "t",
    failed: tuple[str, ...] = (),
    skip: int = 0,
    **more: Any,
) -> Run:
    """A run of 40 queries at most, of which the first `skip` were not run."""
    array = np.broadcast_to(np.asarray(gains, dtype=float), 40)[skip:]
    ids = tuple(f"q{i}" for i in range(40))[skip:]
    record = {
        "task": task, "profile": "bm25", "reranker": reranker, "measure": "nDCG@10", "pool": "sha",
        "queries": len(array), "first_stage": 0.5, "ceiling": 0.9, "failed": len(failed), **more,
    }  # fmt: skip
    arrays = {"nDCG@10": FIRST[skip:] + array}, {"nDCG@10": array}
    return record, PerQuery(ids, None, frozenset(failed), *arrays)


def compared(*runs: Run) -> Comparison:
    """The first reranker against the second."""
    records = [record for record, _ in runs]
    keys = [(r["task"], r["profile"], r["reranker"]) for r in records]
    arrays = dict(zip(keys, (own for _, own in runs), strict=True))
    one, other = dict.fromkeys(r["reranker"] for r in records)
    return compare(Evaluation.of(records, per_query=arrays), one, other)


def only(found: Comparison) -> Any:
    (row,) = found.results.rows().itertuples()
    return row


def test_the_difference_is_paired_over_the_queries() -> None:
    """Both gain very differently from query to query, and the first always 0.1 more."""
    gains = np.random.default_rng(0).normal(0, 0.3, 40)
    noise = np.random.default_rng(1).normal(0, 0.01, 40)
    found = compared(run("a", gains + 0.1 + noise), run("b", gains))
    row = only(found)
    assert row.gain == pytest.approx(0.1 + noise.mean())
    assert row.natural - row.first_stage == pytest.approx(row.gain)
    assert (row.gain_low > 0.09, row.starred, row.wins, row.losses) == (True, True, 40, 0)
    assert (found.one, found.other) == ("a", "b")


def test_queries_are_listed_by_how_much_they_differ() -> None:
    gains = np.zeros(40)
    gains[[3, 5]] = 0.2, -0.4
    queries = compared(run("a", gains), run("b", 0)).queries
    assert [query.query_id for query in queries[:2]] == ["q5", "q3"]
    assert (queries[0].difference, len(queries)) == (pytest.approx(-0.4), 40)


def test_swapping_the_two_swaps_the_sign() -> None:
    a, b = (run(n, np.random.default_rng(s).normal(0, 0.2, 40)) for s, n in enumerate("ab"))
    forth, back = only(compared(a, b)), only(compared(b, a))
    assert (forth.gain, forth.p) == pytest.approx((-back.gain, back.p))
    assert (forth.wins, forth.losses) == (back.losses, back.wins)


def test_only_queries_that_both_ran_are_compared() -> None:
    row = only(compared(run("a", 0.1), run("b", 0, skip=10)))
    assert (row.queries, row.gain) == (30, pytest.approx(0.1))


def test_what_is_not_tested_keeps_no_star_of_a_gain_over_the_first_stage() -> None:
    """Nineteen queries say too little of a difference."""
    noise = np.random.default_rng(0).normal(0, 0.01, 40)
    starred = {"starred": True, "p": 0.0, "p_holm": 0.0, "family": "the gains of a"}
    row = only(compared(run("a", 0.4 + noise, **starred), run("b", 0.4 - noise, skip=21)))
    assert np.isnan([row.p, row.p_holm]).all()
    assert (row.starred, row.family) == (False, "")


def test_a_data_set_has_a_mean_of_differences() -> None:
    sizes = {"S/x": 0.1, "S/y": 0.3}
    found = compared(
        *(run(n, size * (n == "a"), task) for task, size in sizes.items() for n in "ab")
    )
    assert found.means.values["gain"].tolist() == pytest.approx([0.2])


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"pool": "other"}, "t after bm25: the two ran on different pools"),
        ({"task": "u"}, "no task and profile in common"),
        ({"judgements": "grades from 2"}, "different judgements"),
        ({"max_doc_chars": 50}, "cut to different lengths"),
        ({"max_doc_tokens": 50}, "cut to different lengths"),
        ({"depth": 20}, "all candidates, one the first 20"),
    ],
)
def test_what_does_not_compare_is_one_line(more: dict, why: str) -> None:
    with pytest.raises(BadData, match=why):
        compared(run("a", 0), run("b", 0, **more))


def test_where_only_some_compare_the_rest_is_named_and_left_out() -> None:
    others = run("b", 0), run("b", 0, task="u", depth=20)
    found = compared(*(run("a", 0.1, task=task) for task in "tu"), *others)
    assert only(found).task == "t"
    assert found.left_out == ("u after bm25: one reranked all candidates, one the first 20",)


def test_a_difference_from_a_floor_is_in_no_family() -> None:
    gains = 0.4 + np.random.default_rng(0).normal(0, 0.01, 40)
    row = only(compared(run("a", gains), run("random", 0, floor=True)))
    assert (np.isnan(row.p), row.family) == (True, "")


def test_what_makes_a_difference_no_finding_goes_with_it() -> None:
    bad = run(
        "b", 0, failed=("q1", "q2", "q99"), invalid="labels missing", noise=0.02, is_real=False
    )
    row = only(compared(run("a", 0.1, failed=("q2",)), bad))
    assert (row.invalid, row.failed, row.noise) == ("labels missing", 2, 0.02)
    assert (row.is_real, row.starred) == (False, False)
