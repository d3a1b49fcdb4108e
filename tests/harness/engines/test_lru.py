"""Values that are kept within a number of bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rerank_bench.engines.lru import LruCache


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 60)), max_size=40))
def test_the_bytes_are_those_of_what_is_kept(puts):
    kept: LruCache[int, int] = LruCache(100)
    for key, size in puts:
        kept.put(key, size, size)
        assert key in kept
        assert kept.bytes == sum(kept.get(k) for k in range(6) if k in kept) <= 100
