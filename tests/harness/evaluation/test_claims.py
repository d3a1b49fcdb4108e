from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rerank_bench.evaluation import MEASURES, Row
from rerank_bench.evaluation.claims import load_claims, match
from rerank_bench.registry import catalogue

ZEPHYR = Row(
    task="NanoGraded/trec_dl19",
    profile="bm25_anserini",
    origin="shipped",
    reranker="RankZephyr",
    model="castorini/rank_zephyr_7b_v1_full",
    engine="vllm",
    measure="nDCG@10",
    queries=43,
    first_stage=0.50578,
    natural=0.7400,
    safeguarded=0.9,
)


def test_a_run_stands_beside_every_claim_of_the_same_reranker_on_the_same_pool() -> None:
    found = match([ZEPHYR], load_claims())
    assert [(row.claim.value, row.measured, row.within) for row in found] == [
        (0.7365, 0.74, True),
        (0.7420, 0.74, True),
    ]
    assert {row.reranker for row in found} == {"RankZephyr"}
    assert all(row.comparable and row.task == ZEPHYR.task for row in found)


@pytest.mark.parametrize(
    "other",
    [
        {"queries": 42},
        {"first_stage": 0.507},
        {"profile": "contriever", "resolved": "contriever"},
        {"profile": "rrf(bm25,dense)", "resolved": "rrf(bm25(),dense(minilm))"},
        {"task": "NanoGraded/cranfield"},
        {"measure": "MAP@100"},
        {"depth": 20},
        {"reranker": "RankZephyr~1a2b3c"},
        {"reranker": "RankVicuna"},
        {"model": "somebody/fine-tuned"},
        {"engine": "fake"},
        {"invalid": "labels were missing"},
        {"order": "reverse"},
        {"repeat": 2},
        {"natural": None},
    ],
)
def test_what_differs_in_anything_that_counts_is_set_beside_no_claim(other: dict) -> None:
    assert match([replace(ZEPHYR, **other)], load_claims()) == ()


@pytest.mark.parametrize(
    "same",
    [
        {"task": "DL19"},
        {"profile": "run(my-bm25.trec)"},
        {"profile": "first", "resolved": "bm25()"},
        {"model": "/models/rank_zephyr_7b_v1_full/"},
        {"depth": 100},
        {"first_stage": 0.5062},
    ],
)
def test_names_of_the_same_thing_match(same: dict) -> None:
    assert len(match([replace(ZEPHYR, **same)], load_claims())) == 2


def test_the_first_stage_decides_which_claim_it_is() -> None:
    splade = replace(ZEPHYR, profile="splade_pp_ed", first_stage=0.7308, natural=0.70)
    (row,) = match([splade], load_claims())
    assert (row.claim.value, row.within) == (0.7781, False)


@pytest.mark.parametrize(("measured", "within"), [(0.75, True), (0.7501, False), (0.73, True)])
def test_within_means_at_most_the_tolerance_apart(measured: float, within: bool) -> None:
    claim = replace(load_claims()[0], value=0.74, tolerance=0.01)
    (row,) = match([replace(ZEPHYR, natural=measured)], [claim])
    assert row.within is within


def test_a_claim_over_pools_with_every_positive_is_held_against_the_safeguarded_value() -> None:
    minilm = replace(
        ZEPHYR, task="NanoBEIR-en/msmarco", profile="bm25", reranker="ms-marco-MiniLM-L6-v2",
        model="cross-encoder/ms-marco-MiniLM-L6-v2", queries=50, first_stage=0.5404,
        natural=0.6, safeguarded=0.668,
    )  # fmt: skip
    (row,) = match([minilm], load_claims())
    assert (row.measured, row.within, row.comparable) == (0.668, True, True)


def test_a_claim_with_a_caveat_is_shown_and_gives_no_verdict() -> None:
    mono = replace(
        ZEPHYR, task="NanoGraded/noveleval", profile="bm25", queries=21, first_stage=0.3,
        reranker="pointwise-monot5-3b-msmarco-10k", model="castorini/monot5-3b-msmarco-10k",
        natural=0.8462,
    )  # fmt: skip
    (row,) = match([mono], load_claims())
    assert not row.within
    assert not row.comparable
    assert "20 candidates" in row.claim.caveat


def test_the_mean_of_a_data_set_can_be_claimed_too() -> None:
    mean = replace(
        ZEPHYR, task="NanoMMTEB-v2", profile="reranking_hybrid", queries=3248, first_stage=0.507092,
        reranker="cross-encoder-ruri-v3-reranker-310m", model="cl-nagoya/ruri-v3-reranker-310m",
        safeguarded=0.4861,
    )  # fmt: skip
    (row,) = match([mean], load_claims())
    assert row.within


def test_every_claim_can_be_checked() -> None:
    for claim in load_claims():
        assert 0 < claim.value < 1, claim
        assert 0 < claim.tolerance <= 0.02, claim
        assert claim.why, claim
        assert claim.measure in MEASURES, claim
        assert claim.queries > 1, claim
        assert any(w in claim.source for w in ("arXiv:", "github.com/", "huggingface.co/")), claim
        assert all(name == name.lower() and "/" not in name for name in claim.tasks), claim
        assert claim.profile == claim.profile.lower(), claim
        assert claim.caveat or (claim.first_stage and claim.profile), claim


def test_a_claim_about_a_named_reranker_names_its_model() -> None:
    named = [claim for claim in load_claims() if claim.reranker in catalogue()]
    assert len({claim.reranker for claim in named}) >= 6
    assert all(catalogue()[claim.reranker].model == claim.model for claim in named)


def test_no_claim_stands_there_twice_and_pools_of_one_name_can_be_told_apart() -> None:
    claims = load_claims()
    assert len(set(claims)) == len(claims)
    pools = {(c.tasks, c.queries, c.profile, c.first_stage) for c in claims}
    for tasks, queries, profile, first in pools:
        same = [
            p
            for p in pools
            if (p[0], p[1]) == (tasks, queries) and p != (tasks, queries, profile, first)
        ]
        assert all(abs((p[3] or 0) - (first or 0)) > 0.01 for p in same)


def test_the_tolerance_of_written_rankings_covers_what_one_source_says_twice() -> None:
    """RankZephyr after BM25 on DL19: the paper's figure and that of its authors' repository."""
    both = [c for c in load_claims() if c.reranker == "RankZephyr" and c.first_stage == 0.5058]
    assert abs(both[0].value - both[1].value) <= both[0].tolerance


def test_the_first_stages_are_those_of_the_lists_at_hand(nano: Path) -> None:
    from rerank_bench.evaluation import pool_values, relevant
    from rerank_bench.pools import PoolOptions, build_pool
    from rerank_bench.tasks import TaskOptions, find_tasks

    options = TaskOptions(qrels="qrels_official")
    (ref,) = find_tasks(str(nano / "NanoGraded" / "trec_dl19"), options)
    task = ref.load()
    for profile, value in (("bm25_anserini", 0.5058), ("splade_pp_ed", 0.7308)):
        pool = build_pool(task, profile, PoolOptions())
        ids = list(task.queries)
        rows = {row.query_id: row.doc_ids for row in pool.rows}
        natural = [rows[q][:100] for q in ids]
        grades = [relevant(task.qrels.get(q, {})) for q in ids]
        assert pool_values(natural, grades)["nDCG@10"] == pytest.approx(value, abs=5e-5)
