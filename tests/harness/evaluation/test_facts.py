"""What a report says of how much a reranker read of its documents."""

from __future__ import annotations

from typing import Any

import pytest

from rerank_bench.evaluation import Facts, facts, query_values
from rerank_bench.runs import QueryResult, Run


def of(*, asks=("PairScore",), options=None, **settings: Any) -> Facts:
    """Two queries: one with four candidates and a safeguard, one with two."""
    reranker = {"label": "r", "asks": list(asks), "options": options or {}}
    reranker |= settings.pop("reranker", {})
    results = (
        QueryResult(
            "q1", tuple("abcde"), (0.0,) * 5, (1, 2, 3, 4, 5), "e", counts={"truncated": 2}
        ),
        QueryResult("q2", tuple("ab"), (None,) * 2, (1, 2), failed="no", counts={"truncated": 1}),
    )
    run = Run({"settings": {"reranker": reranker, **settings}}, results, {})
    return Facts(run, query_values(run))


@pytest.mark.parametrize(
    ("options", "settings", "expected"),
    [
        ({"max_pair_tokens": 509, "max_doc_tokens": None}, {}, "509 with query"),
        ({"max_pair_tokens": 8048, "max_doc_tokens": 8048}, {}, "8048 with query"),
        ({"max_pair_tokens": 509}, {"max_doc_tokens": 200}, "200, 509 with query"),
        ({"max_doc_tokens": 450, "max_window_tokens": 3000}, {}, "450, 3000 a window"),
        ({"max_doc_tokens": 128}, {"max_doc_tokens": 200}, "128"),
        ({"max_doc_tokens": 128}, {"max_doc_tokens": 64}, "64"),
        ({}, {}, "all"),
        ({"max_pair_tokens": 0}, {"reranker": {"pair_tokens": 509}}, "509 with query"),
        ({"max_pair_tokens": 0}, {"reranker": {"pair_tokens": None}}, "all"),
    ],
)
def test_the_budget_is_as_the_reranker_and_the_run_set_it(options, settings, expected):
    assert facts.budget(of(options=options, **settings)) == expected


def test_the_share_cut_is_of_all_documents_that_were_given():
    whole = of()
    assert (facts.documents(whole), facts.cut(whole)) == (7, 3 / 7)
    assert facts.documents(of(depth=3)) == 3 + 1 + 2


def test_a_reranker_that_reads_nothing_has_no_budget_and_cuts_nothing():
    own = of(asks=())
    assert (facts.budget(own), facts.cut(own), facts.documents(own)) == (None, None, 7)


@pytest.mark.parametrize(
    ("reranker", "expected"),
    [
        ({}, None),
        ({"instruction": None}, "none"),
        ({"instruction": {"source": "task", "text": "find it"}}, "task"),
    ],
)
def test_an_instruction_that_was_not_recorded_is_not_called_none(reranker, expected):
    assert facts.instruction(of(reranker=reranker)) == expected
