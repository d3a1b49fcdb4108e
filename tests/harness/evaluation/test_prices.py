from __future__ import annotations

import pytest

from rerank_bench.errors import BadOption
from rerank_bench.evaluation import Row, parse_prices
from rerank_bench.evaluation.prices import priced


def row(reranker: str, model: str = "") -> Row:
    return Row(
        task="t", profile="p", origin="", reranker=reranker, measure="nDCG@10", queries=4,
        first_stage=0.5, prompt_tokens=2_000_000, output_tokens=100_000, model=model,
    )  # fmt: skip


def test_a_querys_price_is_that_of_its_tokens() -> None:
    (found,) = priced([row("r")], parse_prices(["r=0.10/0.40"]))
    assert found.price == pytest.approx((2 * 0.10 + 0.1 * 0.40) / 4)


def test_a_label_goes_before_a_model_and_a_model_before_all() -> None:
    prices = parse_prices(["*=1/1", "org/m=b=2/2", "r=3/3"])
    rows = priced([row("r", "org/m=b"), row("x", "org/m=b"), row("x")], prices)
    assert [found.price for found in rows] == pytest.approx([3 * 2.1 / 4, 2 * 2.1 / 4, 2.1 / 4])
    assert priced([row("x")], parse_prices(["r=1/1"]))[0].price is None
    assert priced([row("x")], {})[0].price is None


@pytest.mark.parametrize(
    "text", ["r", "r=1", "r=a/b", "=1/2", "r=1/2/3", "r=-1/2", "r=nan/1", "r=1/inf"]
)
def test_anything_else_is_one_line(text: str) -> None:
    with pytest.raises(BadOption, match=r"--price takes NAME=READ/WRITTEN per million, not"):
        parse_prices([text])
