from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rerank_bench.evaluation import MEASURES, Row, load_claims, match
from rerank_bench.evaluation.claims import SAME_FIRST_STAGE
from rerank_bench.reranking import catalogue

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

MINILM = replace(
    ZEPHYR, task="NanoBEIR-en/msmarco", profile="bm25", reranker="ms-marco-MiniLM-L6-v2",
    model="cross-encoder/ms-marco-MiniLM-L6-v2", queries=50, first_stage=0.5404,
    natural=0.6, safeguarded=0.668,
)  # fmt: skip

MEAN = replace(
    ZEPHYR, task="NanoMMTEB-v2", tasks=18, profile="reranking_hybrid", queries=3248,
    first_stage=0.507092, reranker="cross-encoder-ruri-v3-reranker-310m",
    model="cl-nagoya/ruri-v3-reranker-310m", safeguarded=0.4861,
)  # fmt: skip


def test_a_run_stands_beside_every_claim_of_the_same_reranker_on_the_same_pool() -> None:
    found = match([ZEPHYR], load_claims())
    assert [(row.claim.value, row.measured, row.within) for row in found] == [
        (0.7365, 0.74, True),
        (0.7388, 0.74, False),
    ]
    assert {row.reranker for row in found} == {"RankZephyr"}
    assert all(row.task == ZEPHYR.task for row in found)


def test_a_figure_of_an_earlier_prompt_is_shown_and_gives_no_verdict() -> None:
    earlier = [claim for claim in load_claims() if "earlier list" in claim.source]
    assert len(earlier) == 3
    assert all("earlier wording of rank_llm's prompt" in claim.caveat for claim in earlier)
    present, other = match([ZEPHYR], load_claims())
    assert present.comparable
    assert not other.comparable


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
        {"max_doc_chars": 500},
        {"max_doc_tokens": 500},
        {"instruction": "task"},
        {"reranker": "RankZephyr~1a2b3c"},
        {"reranker": "RankVicuna"},
        {"model": "somebody/fine-tuned"},
        {"engine": "fake"},
        {"invalid": "labels were missing"},
        {"order": "reverse"},
        {"repeat": 2},
        {"natural": None},
        {"tasks": 2},
        {"judgements": "grades from 2"},
        {"judgements": "qrels_official, grades from 2"},
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
        {"judgements": "qrels_official"},
        {"failed": 0},
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
    (row,) = match([MINILM], load_claims())
    assert (row.measured, row.within, row.comparable) == (0.668, True, True)


def test_a_claim_is_matched_and_judged_under_its_own_convention() -> None:
    equal = {"first_stage": 0.5404, "safeguarded": 0.668}
    graded = replace(MINILM, first_stage=0.5, safeguarded=0.6, binary=equal)
    (row,) = match([graded], load_claims())
    assert (row.claim.convention, row.measured, row.within) == ("binary", 0.668, True)
    linear = [replace(claim, convention="") for claim in load_claims()]
    assert match([graded], linear) == ()


def test_only_figures_of_nano_sets_are_of_equal_gains() -> None:
    for claim in load_claims():
        nano = bool(claim.sets) or claim.mean_of > 1
        assert claim.convention == ("binary" if nano else ""), claim


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
    (row,) = match([MEAN], load_claims())
    assert (row.claim.value, row.measured, row.claim.mean_of) == (0.4840, 0.4861, 18)


def test_a_mean_of_other_tasks_is_no_such_mean_though_its_queries_are_as_many() -> None:
    assert match([replace(MEAN, tasks=2)], load_claims()) == ()


@pytest.mark.parametrize("task", ["msmarco", "NanoMSMARCO"])
@pytest.mark.parametrize("data", ["NanoBEIR-en", "NanoBEIR", "somebody/nanobeir-EN"])
def test_a_task_is_known_by_the_data_set_that_holds_it(data: str, task: str) -> None:
    assert len(match([replace(MINILM, task=f"{data}/{task}")], load_claims())) == 1


@pytest.mark.parametrize("data", ["NanoBEIR-de/", "MyThings/", ""])
@pytest.mark.parametrize("task", ["NanoMSMARCO", "NanoNFCorpus", "nq"])
def test_a_task_of_that_name_in_another_data_set_is_another_task(data: str, task: str) -> None:
    assert match([replace(MINILM, task=data + task)], load_claims()) == ()


def test_only_the_judgements_of_the_source_may_stand_for_the_usual_ones() -> None:
    assert match([replace(MINILM, judgements="qrels_official")], load_claims()) == ()
    assert match([replace(MEAN, judgements="in part qrels_official")], load_claims()) == ()


def test_a_row_apart_from_its_neighbours_is_set_beside_the_claim_about_its_own_pool() -> None:
    rows = match([replace(ZEPHYR, apart=True, judgements="qrels_official")], load_claims())
    assert [row.comparable for row in rows] == [True, False]


def test_a_run_with_failed_queries_is_shown_with_the_reason_and_gets_no_verdict() -> None:
    rows = match([replace(ZEPHYR, natural=0.7365, failed=3)], load_claims())
    assert len(rows) == 2
    assert not any(row.comparable or row.within for row in rows)
    assert all("3 of 43 queries failed" in row.claim.caveat for row in rows)
    (mean,) = match([replace(MEAN, failed=1)], load_claims())
    assert "1 of 3248 queries failed" in mean.claim.caveat


def test_the_reason_of_failed_queries_stands_beside_a_caveat_and_never_in_the_list() -> None:
    nfcorpus = replace(MINILM, task="NanoBEIR-en/NanoNFCorpus", failed=1)
    (row,) = match([nfcorpus], load_claims())
    assert "all positives in the pool" in row.claim.caveat
    assert "1 of 50 queries failed in NanoBEIR-en/NanoNFCorpus · bm25" in row.claim.caveat
    assert not any("failed" in claim.caveat for claim in load_claims())


def test_figures_of_one_label_and_several_algorithms_say_which_it_was_and_give_no_verdict() -> None:
    several = [c for c in load_claims() if c.reranker.startswith(("pairwise-", "setwise-"))]
    assert {"pairwise-flan-ul2", "pairwise-flan-t5-xl"} <= {c.reranker for c in several}
    algorithms = ("heap sort, ", "all pairs ", "every pair ")
    assert all(claim.caveat.startswith(algorithms) for claim in several)


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
        assert all(name == name.lower() and "/" not in name for name in claim.sets), claim
        assert claim.caveat or (claim.first_stage and claim.profile), claim
        assert claim.first_stage or claim.sets or "noveleval" in claim.tasks, claim


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
        assert all(abs((p[3] or 0) - (first or 0)) > 2 * SAME_FIRST_STAGE for p in same)


def test_the_tolerance_of_written_rankings_covers_what_one_source_says_twice() -> None:
    """Figures of rank_llm's list and of an earlier version of it, for one checkpoint and pool."""
    moved = []
    for earlier in (c for c in load_claims() if "earlier list" in c.source):
        same = replace(earlier, value=0.0, source="", caveat="")
        (later,) = (
            c
            for c in load_claims()
            if replace(c, value=0.0, source="") == same and "earlier list" not in c.source
        )
        moved.append(abs(later.value - earlier.value))
        assert moved[-1] <= earlier.tolerance + 1e-9
    assert max(moved) == pytest.approx(0.01)


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
