from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench import BadOption
from rerank_bench.evaluation.calibration import nauc, parse_calibration

VALUES = st.lists(st.floats(0, 1), min_size=2, max_size=40)


def test_a_perfect_confidence_has_1_and_a_constant_one_0() -> None:
    values = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 0.1, 0.3, 0.5, 0.7])
    assert nauc(values * 3 - 7, values) == pytest.approx(1.0)
    assert nauc(np.full(10, 2.5), values) == pytest.approx(0.0)
    assert nauc(-values, values) < 0


def test_where_all_queries_are_alike_there_is_none() -> None:
    assert nauc(np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.5, 0.5])) is None


@given(VALUES, st.randoms())
def test_no_confidence_beats_the_values_themselves(values: list[float], random) -> None:
    confidence = [random.random() for _ in values]
    found = nauc(np.array(confidence), np.array(values))
    assert found is None or found <= 1 + 1e-6


def test_the_value_is_that_worked_out_by_hand() -> None:
    # of two queries, the last seven rates keep the surer one alone
    curve = [0.5, 0.5, 0.5, 1, 1, 1, 1, 1, 1, 1]
    area = sum((a + b) / 2 * 0.1 for a, b in pairwise(curve))
    assert nauc(np.array([1.0, 2.0]), np.array([0.0, 1.0])) == pytest.approx(1.0)
    assert nauc(np.array([2.0, 1.0]), np.array([0.0, 1.0])) == pytest.approx(
        (0.9 - area - 0.45) / (area - 0.45)
    )


def test_its_name_holds_a_measure() -> None:
    assert parse_calibration("nAUC(AP@1000)") == "MAP@1000"
    assert parse_calibration("nauc_map_at_10_max") == "MAP@10"
    assert parse_calibration("nDCG@10") is None
    with pytest.raises(BadOption, match="needs a cut-off"):
        parse_calibration("nAUC(nDCG)")


@pytest.mark.parametrize("text", ["nAUC", "nauc@10", "nAUC()", "nAUC(nAUC(MAP@5))"])
def test_nauc_in_another_form_is_told_its_own(text: str) -> None:
    with pytest.raises(BadOption, match=r"nAUC needs a measure: write nAUC\(MAP@10\)"):
        parse_calibration(text)
