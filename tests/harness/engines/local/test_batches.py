"""Budgets, the order of batches, and what happens when memory runs out."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench.engines.local.batches import Batcher, pad
from rerank_bench.engines.prepare import Answer, Prepared
from rerank_bench.types import Failure, Logits

lengths = st.lists(st.integers(1, 60), max_size=40)


def sequences(sizes: Sequence[int]) -> list[Prepared]:
    return [Prepared(i, None, [1] * size, size) for i, size in enumerate(sizes)]


def lengths_of(batch: Sequence[Prepared]) -> list[Answer]:
    return [Logits((float(one.room),)) for one in batch]


@given(sizes=lengths, budget=st.integers(1, 300), shared=st.integers(0, 20))
def test_batches_keep_to_the_budget_longest_first_and_lose_nothing(
    sizes: list[int], budget: int, shared: int
) -> None:
    sizes = [shared + size for size in sizes]
    seen: list[list[int]] = []

    def forward(batch: Sequence[Prepared]) -> list[Answer]:
        seen.append([one.room for one in batch])
        return lengths_of(batch)

    found = dict(Batcher(budget).run(sequences(sizes), forward, shared=shared))
    assert found == {i: Logits((float(size),)) for i, size in enumerate(sizes)}
    assert [size for batch in seen for size in batch] == sorted(sizes, reverse=True)
    computed = [(len(batch), len(batch) * (batch[0] - shared + shared // 8)) for batch in seen]
    assert all(rows == 1 or positions <= budget for rows, positions in computed)


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("full"), RuntimeError("[…] can't allocate memory: you tried …")],
)
def test_out_of_memory_halves_the_batch_and_goes_on(error: Exception) -> None:
    sizes, tried = [10] * 16 + [3, 2], []

    def forward(batch: Sequence[Prepared]) -> list[Answer]:
        tried.append(len(batch))
        if sum(one.room for one in batch) > 45:
            raise error
        return lengths_of(batch)

    batcher = Batcher(160)
    found = dict(batcher.run(sequences(sizes), forward))
    assert found == {i: Logits((float(size),)) for i, size in enumerate(sizes)}
    assert tried == [16, 8, 4, 4, 4, 4, 2]
    assert batcher.budget == 40


def test_a_sequence_too_big_on_its_own_is_a_failure_and_the_rest_is_answered() -> None:
    def forward(batch: Sequence[Prepared]) -> list[Answer]:
        if batch[0].room > 50:
            raise torch.OutOfMemoryError("full")
        return lengths_of(batch)

    found = dict(Batcher(100).run(sequences([60, 20, 30]), forward))
    assert isinstance(found[0], Failure)
    assert "max_doc_tokens" in found[0].reason
    assert found[1] == Logits((20.0,))
    assert found[2] == Logits((30.0,))


def test_the_error_that_holds_the_tensors_is_let_go() -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def forward(batch: Sequence[Prepared]) -> list[Answer]:
        if len(batch) > 1:
            tensor = torch.zeros(10)
            held.append(weakref.ref(tensor))
            raise torch.OutOfMemoryError("full")
        assert held[0]() is None
        return lengths_of(batch)

    gc.disable()
    try:
        assert len(dict(Batcher(100).run(sequences([5, 5]), forward))) == 2
    finally:
        gc.enable()


def test_another_error_of_the_model_is_not_swallowed() -> None:
    def forward(batch: Sequence[Prepared]) -> list[Answer]:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        dict(Batcher(100).run(sequences([5]), forward))


def test_the_share_of_padding_is_counted() -> None:
    batcher = Batcher(20)
    assert batcher.waste == 0.0
    dict(batcher.run(sequences([10, 6]), lengths_of))
    assert batcher.waste == pytest.approx(4 / 20)
    dict(batcher.run(sequences([10, 6]), lengths_of, shared=4))
    assert batcher.waste == pytest.approx((4 + 4) / (20 + 4 + 12))


def test_padding_masks_by_length_and_numbers_a_rows_own_tokens() -> None:
    batch = [Prepared(0, None, [5, 2, 2], 3), Prepared(1, None, [7], 1)]
    tokens = SimpleNamespace(pad_id=2)
    left = pad(batch, SimpleNamespace(decoder=True, device="cpu", tokens=tokens))
    assert left.ids.tolist() == [[5, 2, 2], [2, 2, 7]]
    assert left.mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert left.positions.tolist() == [[0, 1, 2], [0, 0, 0]]
    right = pad(batch, SimpleNamespace(decoder=False, device="cpu", tokens=tokens))
    assert right.mask.tolist() == [[1, 1, 1], [1, 0, 0]]
