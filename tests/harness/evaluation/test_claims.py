from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rerank_bench.evaluation import MEASURES, Claim, ClaimRow, load_claims, match, results_of
from rerank_bench.evaluation.claims import SAME_FIRST_STAGE
from rerank_bench.reranking import catalogue
from rerank_bench.tasks import catalogue as tasks

MINILM = {
    "task": "NanoBEIR-en/msmarco", "profile": "bm25", "resolved": "bm25",
    "reranker": "ms-marco-MiniLM-L6-v2", "model": "cross-encoder/ms-marco-MiniLM-L6-v2",
    "engine": "vllm", "measure": "nDCG@10", "queries": 50, "failed": 0, "first_stage": 0.5,
    "natural": 0.6, "safeguarded": 0.7, "first_stage_binary": 0.5404, "natural_binary": 0.6,
    "safeguarded_binary": 0.668,
}  # fmt: skip


def matched(claims: Any = None, **more: Any) -> tuple[ClaimRow, ...]:
    return match(results_of([MINILM | more]), claims or load_claims())


def test_a_run_of_the_same_reranker_on_the_same_pool_is_compared() -> None:
    """The published pool has a positive for every query, and every positive gains 1."""
    (row,) = matched()
    assert (row.claim.value, row.measured, row.within) == (0.6686, 0.668, True)
    assert (row.task, row.profile, row.reranker) == (
        "NanoBEIR-en/msmarco", "bm25", "ms-marco-MiniLM-L6-v2",
    )  # fmt: skip


@pytest.mark.parametrize(
    "other",
    [
        {"queries": 49}, {"first_stage_binary": 0.5416}, {"measure": "MAP@100"}, {"depth": 20},
        {"profile": "contriever", "resolved": "contriever"},
        {"profile": "rrf(bm25,dense)", "resolved": "rrf(bm25(),dense(minilm))"},
        {"task": "NanoBEIR-de/msmarco"}, {"task": "msmarco"}, {"task": "NanoBEIR-en/nq"},
        {"max_doc_chars": 500}, {"max_doc_tokens": 500}, {"instruction": "task"},
        {"reranker": "ms-marco-MiniLM-L6-v2~1a2b3c"}, {"reranker": "ettin-reranker-150m"},
        {"model": "somebody/fine-tuned"}, {"is_real": False}, {"invalid": "labels were missing"},
        {"failed": 1}, {"judgements": "grades from 2"},
    ],
)  # fmt: skip
def test_what_differs_in_anything_that_counts_is_compared_with_no_claim(other: dict) -> None:
    assert matched(**other) == ()


@pytest.mark.parametrize(
    "same",
    [
        {"task": "nanobeir-EN/MSMARCO"}, {"profile": "run(my-bm25.trec)"}, {"depth": 100},
        {"profile": "first", "resolved": "bm25()"}, {"model": "/models/ms-marco-MiniLM-L6-v2/"},
        {"first_stage_binary": 0.5408}, {"apart": True}, {"instruction": "none"},
    ],
)  # fmt: skip
def test_names_of_the_same_thing_match(same: dict) -> None:
    assert len(matched(**same)) == 1


@pytest.mark.parametrize(("measured", "within"), [(0.75, True), (0.7501, False), (0.73, True)])
def test_within_means_at_most_the_tolerance_apart_under_the_claims_own_convention(
    measured: float, within: bool
) -> None:
    claim = replace(
        load_claims()[0], value=0.74, tolerance=0.01, first_stage=0.5, safeguarded=False,
        convention="",
    )  # fmt: skip
    (row,) = matched([claim], natural=measured)
    assert (row.measured, row.within) == (measured, within)


@pytest.mark.parametrize("claim", load_claims(), ids=lambda claim: claim.reranker)
def test_every_claim_can_be_met_by_a_run_of_the_catalogue(claim: Claim) -> None:
    assert catalogue()[claim.reranker].model == claim.model
    task = tasks()[claim.task]
    assert (task.queries, task.convention) == (claim.queries, claim.convention)
    assert claim.measure in MEASURES
    assert 0 < claim.first_stage < claim.value < 1
    assert 0 < claim.tolerance <= 0.02
    assert claim.why
    assert any(word in claim.source for word in ("arXiv:", "github.com/", "huggingface.co/"))


def test_no_claim_occurs_twice() -> None:
    keys = [(c.reranker, c.task, c.profile, c.measure) for c in load_claims()]
    assert len(set(keys)) == len(keys) >= 2
    assert SAME_FIRST_STAGE < 0.001
