"""A suite in parts: each run is in one of them, and together they are the whole."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench import BadOption, load_runs
from rerank_bench.inspect.plan import plan_suite
from rerank_bench.reranking import choose, find_gpu, with_stages
from rerank_bench.runs import find_runs, variants
from rerank_bench.suite import build_pools, run_suite
from rerank_bench.suite.shards import Shard

NAMES = ["identity", "reverse", "random", "identity then reverse at 3", "reverse then random at 3"]


@pytest.fixture
def data(beir):
    queries = {f"q{i}": f"apple pear{i}" for i in range(4)}
    corpus = {f"d{i}": f"apple number {i} pear{i % 4}" for i in range(12)}
    return beir(queries, corpus, {f"q{i}": {f"d{i}": 1} for i in range(4)})


@given(st.integers(1, 12), st.integers(1, 9), st.integers(1, len(NAMES)))
def test_shards_are_apart_together_the_whole_and_of_one_size(count, pools, names):
    choices = with_stages([choose(name) for name in NAMES[:names]])
    units = pools * len({c.label for c in choices if c.after is None})
    seen = []
    for number in range(1, count + 1):
        if number > units:
            with pytest.raises(BadOption, match=f"the suite has {units} runs"):
                Shard(number, count).deal(choices, pools)
            continue
        dealt = Shard(number, count).deal(choices, pools)
        own = [(pool, choice.label) for pool in range(pools) for choice in dealt[pool]]
        firsts = [(pool, c) for pool in range(pools) for c in dealt[pool] if c.after is None]
        assert len(firsts) in {units // count, -(-units // count)}
        for pool, label in own:  # what a cascade begins with is made beside it
            chosen = next(c for c in choices if c.label == label)
            assert chosen.after is None or (pool, chosen.after.earlier.label) in own
        seen += own
    assert sorted(seen) == sorted((p, c.label) for p in range(pools) for c in choices)


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "1/0", "a/b", "-1/2", "1/2/3", "01/2"])
def test_a_shard_that_is_none_is_refused(text):
    with pytest.raises(BadOption, match="--shard takes a part of a whole such as 3/8"):
        Shard.of(text)


def test_the_reports_of_all_shards_together_are_that_of_one_run(suite_of, data, tmp_path):
    whole = suite_of(data, *NAMES, profiles=("bm25", "bm25()"), variants=variants(["reverse"]))
    made = {folder.relative_to(whole.out) for folder in run_suite(whole)}
    parts = [
        dataclasses.replace(whole, out=tmp_path / f"part-{n}", shard=Shard(n, 3)) for n in (1, 2, 3)
    ]
    found = [{folder.relative_to(part.out) for folder in run_suite(part)} for part in parts]
    assert sum(map(len, found)) == len(made)
    assert set().union(*found) == made
    columns = ["reranker", "profile", "measure", "natural", "gain"]
    one, many = (
        load_runs(*folders).rows[columns].sort_values(columns, ignore_index=True)
        for folders in ([whole.out], [part.out for part in parts])
    )
    pd.testing.assert_frame_equal(one, many)


def test_only_the_pools_of_a_shard_are_built_and_planned(suite_of, data):
    suite = suite_of(data, "identity", profiles=("bm25", "bm25()"), shard=Shard(2, 2))
    assert [item.pool.profile for item in build_pools(suite)] == ["bm25()"]
    assert [row.profile for row in plan_suite(suite, find_gpu("h200")).rows] == ["bm25()"]


def test_the_flag_reaches_the_suite(call, refused, data, tmp_path):
    words = ["run", "--task", data, "--profile", "bm25", "--profile", "bm25()", "--out"]
    words += [tmp_path / "runs", "--reranker", "identity", "--shard"]
    assert "is left with nothing: the suite has 2 runs" in refused(*words, "3/3")
    call(*words, "1/2")
    assert [folder.parent.name for folder in find_runs(tmp_path / "runs")] == ["bm25"]
    assert 'shard = "1/2"' in call(*words, "1/2", "--print-toml").stdout
