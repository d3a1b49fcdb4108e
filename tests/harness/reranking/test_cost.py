from __future__ import annotations

import pytest

from rerank_bench.engines import EngineOptions, open_engine
from rerank_bench.reranking import Shape, Usage, decode_flops, ideal_flops, sequence_flops


@pytest.fixture
def engine(qwen):
    opened = open_engine(EngineOptions(engine="transformers", model=str(qwen)))
    yield opened
    opened.close()


def test_calls_of_one_token_are_read_and_not_written(engine):
    shape = Shape.of(engine.checkpoint.config.to_dict())
    found = ideal_flops(engine, Usage(calls=10, prompt_tokens=1000, output_tokens=10))
    assert found == pytest.approx(10 * sequence_flops(shape, 100))


def test_every_further_token_is_written_behind_half_of_the_others_on_average(engine):
    """Six tokens per call behind a prompt of 100: the second to sixth see 101 to 105."""
    shape = Shape.of(engine.checkpoint.config.to_dict())
    one, many = (
        ideal_flops(engine, Usage(calls=10, prompt_tokens=1000, output_tokens=n)) for n in (10, 60)
    )
    assert many - one == pytest.approx(decode_flops(shape, 50, context=103))


def test_what_is_not_known_is_none(engine, encoder):
    assert ideal_flops(engine, Usage()) is None
    assert ideal_flops(open_engine(EngineOptions(engine="fake")), Usage(calls=3)) is None
    late = open_engine(EngineOptions(engine="transformers", model=str(encoder)))
    assert ideal_flops(late, Usage(calls=3, prompt_tokens=30)) is None
