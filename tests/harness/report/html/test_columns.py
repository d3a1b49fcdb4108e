from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rerank_bench.report.html.columns import column, measure


def unpacked(packed: dict[str, Any]) -> list[Any]:
    """What the page makes of a column."""
    values = list(packed.get("list", []))
    runs = packed.get("runs", [])
    for value, length in zip(runs[::2], runs[1::2], strict=True):
        values += [value] * length
    return [packed["of"][place] for place in values] if "of" in packed else values


texts = st.lists(st.one_of(st.none(), st.sampled_from(["a", "b", "é"])), min_size=1)


@given(texts.filter(any))
def test_texts_come_back_and_each_is_told_once(values: list[str | None]) -> None:
    packed = column(values)
    assert unpacked(packed) == values
    assert len(packed["of"]) == len(set(values))


@given(st.lists(st.one_of(st.none(), st.integers(), st.booleans())))
def test_whole_numbers_come_back(values: list[int | None]) -> None:
    assert unpacked(column(values)) == values


@given(st.lists(st.floats(-1, 1)))
def test_measures_are_what_the_other_reports_print(values: list[float]) -> None:
    told = unpacked(measure(values))
    assert [f"{v / 1e4:.4f}" for v in told] == [
        f"{v:.4f}".replace("-0.0000", "0.0000") for v in values
    ]


def test_what_is_infinite_or_no_number_is_missing() -> None:
    assert unpacked(column([1.5, float("inf"), float("nan")])) == [1.5, None, None]
    assert unpacked(measure([float("nan"), None])) == [None, None]


def test_equal_values_in_a_row_are_told_once() -> None:
    assert column([7] * 1000) == {"runs": [7, 1000]}
    assert measure([0.25] * 1000) == {"runs": [2500, 1000], "scale": 4}
