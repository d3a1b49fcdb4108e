"""Which sequences are read as one group, against the best division of all."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench.engines.local import sharing
from rerank_bench.engines.local.sharing import PrefixGroup, group_by_prefix
from rerank_bench.engines.prepare import Prepared


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "SHORTEST", 2)


texts = st.lists(st.integers(0, 1), min_size=1, max_size=9)
prepared = st.lists(st.tuples(texts, st.integers(0, 3)), max_size=12).map(
    lambda found: [
        Prepared(i, None, ids, len(ids), ending=min(ending, len(ids) - 1))
        for i, (ids, ending) in enumerate(found)
    ]
)


def common(rows: Sequence[Prepared]) -> int:
    """Tokens that all rows begin with, short of those whose logits are wanted."""
    least = min(len(row.ids) - row.ending - 1 for row in rows)
    return next((n for n in range(least) if len({row.ids[n] for row in rows}) > 1), least)


def most_saved(rows: Sequence[Prepared], cost: int) -> int:
    """What the best single group of all would save."""
    rows = sorted(rows, key=lambda row: row.ids)
    spans = itertools.combinations(range(len(rows) + 1), 2)
    sizes = [(common(rows[start:stop]), stop - start - 1) for start, stop in spans]
    return max((shared * more - cost for shared, more in sizes if shared >= 2), default=0)


@given(rows=prepared, cost=st.integers(0, 12))
def test_groups_lose_nothing_begin_alike_and_save_no_less_than_the_best_of_them(
    rows: list[Prepared], cost: int
) -> None:
    found = group_by_prefix(rows, cost)
    assert sorted(one.index for group in found for one in group.members) == list(range(len(rows)))
    sharing_ones = [group for group in found if group.shared]
    assert len(found) - len(sharing_ones) <= 1
    for group in sharing_ones:
        assert 2 <= group.shared <= common(group.members)
        assert all(list(one.ids[: group.shared]) == group.prefix for one in group.members)
    saved = [group.shared * (len(group.members) - 1) - cost for group in sharing_ones]
    assert all(value > 0 for value in saved)
    assert sum(saved) >= most_saved(rows, cost)


def test_a_short_prefix_is_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "SHORTEST", 16)
    rows = [Prepared(i, None, [*range(15), 90 + i], 16) for i in range(9)]
    assert group_by_prefix(rows, 0) == [PrefixGroup(rows)]
    longer = [Prepared(i, None, [*range(16), 90 + i], 17) for i in range(9)]
    assert group_by_prefix(longer, 0) == [PrefixGroup(longer, 16)]
