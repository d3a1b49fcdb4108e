from __future__ import annotations

import pytest

from rerank_bench.errors import BadOption
from rerank_bench.evaluation import parse_prices, results_of
from rerank_bench.evaluation.prices import price_per_query


def price(label: str, model: str, *texts: str) -> float | None:
    """The price of one of four queries, which read 2 million tokens and wrote 100,000."""
    tokens = {"queries": 4, "prompt_tokens": 2_000_000, "output_tokens": 100_000}
    runs = results_of([{"reranker": label, "model": model, **tokens}]).runs
    (found,) = price_per_query(runs, parse_prices(texts))
    return found


@pytest.mark.parametrize(
    ("label", "model", "expected"),
    [("r", "org/m=b", 3 * 2.1 / 4), ("x", "org/m=b", 2 * 2.1 / 4), ("x", "", 2.1 / 4)],
)
def test_a_label_goes_before_a_model_and_a_model_before_all(
    label: str, model: str, expected: float
) -> None:
    assert price(label, model, "*=1/1", "org/m=b=2/2", "r=3/3") == pytest.approx(expected)


def test_tokens_read_and_written_have_prices_of_their_own_and_others_have_none() -> None:
    assert price("r", "", "r=0.10/0.40") == pytest.approx((2 * 0.10 + 0.1 * 0.40) / 4)
    assert price("x", "", "r=1/1") is price("x", "") is None


@pytest.mark.parametrize(
    "text", ["r", "r=1", "r=a/b", "=1/2", "r=1/2/3", "r=-1/2", "r=nan/1", "r=1/inf"]
)
def test_anything_else_is_one_line(text: str) -> None:
    with pytest.raises(BadOption, match=r"--price takes NAME=READ/WRITTEN per million, not"):
        parse_prices([text])
