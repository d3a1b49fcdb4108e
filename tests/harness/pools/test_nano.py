"""The pools of real data sets against those that their makers published."""

from __future__ import annotations

import dataclasses
import re

import pytest

from rerank_bench.pools import build_pool
from rerank_bench.tasks import find_tasks


@pytest.fixture(scope="module")
def safeguards(nano):
    """Task -> number of safeguards, from the table in the data's own README."""
    rows = re.findall(r"^\| Nano\w+ \|(.+)\|$", (nano / "README.md").read_text(), re.MULTILINE)
    cells = [[cell.strip() for cell in row.split("|")] for row in rows]
    return {row[0]: int(row[4]) for row in cells}


@pytest.mark.parametrize("name", ["NanoDev", "NanoGraded"])
def test_fusing_the_shipped_lists_gives_the_published_hybrid_and_its_safeguards(
    nano, safeguards, name
):
    for ref in find_tasks(str(nano / name)):
        task = ref.load()
        ours, shipped = (build_pool(task, p) for p in ("rrf(bm25,all_minilm_l6_v2)", "hybrid"))
        published = task.shipped["reranking_hybrid"]()
        assert {row.query_id: row.doc_ids for row in ours.rows} == published
        assert shipped.origin == "shipped"
        assert shipped.rows == tuple(dataclasses.replace(row, scores=None) for row in ours.rows)
        counted = sum(row.safeguard is not None for row in shipped.rows)
        assert counted == safeguards[task.split]


def test_computed_bm25_leaves_out_what_the_published_lists_are_padded_with(nano):
    (ref,) = find_tasks(str(nano / "NanoDev" / "belebele_x"))
    task = ref.load()
    ours, padded = build_pool(task, "bm25()"), build_pool(task, "bm25")
    assert min(len(row.natural) for row in padded.rows) == 100
    assert min(len(row.natural) for row in ours.rows) < 100
    for row in ours.rows:
        assert all(score > 0 for score in row.scores or ())
        assert row.safeguard or not task.positives(row.query_id).isdisjoint(row.natural)


def test_news_that_are_their_own_queries_are_counted_and_can_be_excluded(nano):
    (ref,) = find_tasks(str(nano / "NanoGraded" / "lee_news"))
    task = ref.load()
    kept = build_pool(task, "bm25")
    assert kept.notes["queries with their own document in the pool"].count == 48
    without = build_pool(dataclasses.replace(task, exclude_identical=True), "bm25")
    assert "queries with their own document in the pool" not in without.notes
    for before, after in zip(kept.rows, without.rows, strict=True):
        assert len(after.natural) == len(before.natural) - 1
