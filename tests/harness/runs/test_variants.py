from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench.errors import BadOption
from rerank_bench.reranking import arranged
from rerank_bench.runs import Variant, variants


def test_the_run_itself_comes_first_and_each_variant_once() -> None:
    found = variants(["first-stage", "reverse", "random:2"], repeat=2, alone=True)
    assert [one.suffix for one in found] == [
        "", "~order-reverse", "~order-random-0", "~order-random-1", "~repeat-2", "~alone",
    ]  # fmt: skip
    assert variants([]) == (Variant(),)


@pytest.mark.parametrize("text", ["backwards", "random:", "random:x", "random:-1", "reverse:2"])
def test_an_unknown_order_is_refused(text: str) -> None:
    if text == "random:":
        assert len(variants([text])) == 2
        return
    with pytest.raises(BadOption, match="--orders takes first-stage, reverse and random:N"):
        variants([text])


@given(st.sampled_from(["first-stage", "reverse", "random-0", "random-7"]), st.integers(1, 4))
def test_settings_are_read_back_and_say_nothing_of_the_run_itself(order: str, repeat: int) -> None:
    one = Variant(order=order, repeat=repeat)
    assert Variant.of(one.settings) == one
    assert (one.settings == {}) == one.is_main == (one.suffix == "")


@given(st.lists(st.text(min_size=1), unique=True), st.sampled_from(["reverse", "random-3"]))
def test_every_order_is_a_permutation(ids: list[str], order: str) -> None:
    places = arranged(ids, "q", order)
    assert sorted(places) == list(range(len(ids)))
    assert arranged(ids, "q", "first-stage") == list(range(len(ids)))
    assert arranged(ids, "q", "reverse") == list(range(len(ids)))[::-1]


def test_a_random_order_does_not_depend_on_the_other_documents() -> None:
    ids = [f"d{i}" for i in range(30)]
    whole = [ids[place] for place in arranged(ids, "q", "random-1")]
    part = ids[:20]
    assert [part[place] for place in arranged(part, "q", "random-1")] == [
        doc for doc in whole if doc in part
    ]
    assert arranged(ids, "q", "random-1") != arranged(ids, "q", "random-2")
    assert arranged(ids, "q", "random-1") != arranged(ids, "p", "random-1")
