"""Which requests the transformers engine answers: known before torch is imported."""

from __future__ import annotations

from rerank_bench import types
from rerank_bench.engines import Encode
from rerank_bench.engines.local import TransformersEngine, TransformersOptions
from rerank_bench.engines.local.forwards import ENCODER_DECODER, FORWARDS


def test_the_requests_that_the_engine_supports_are_those_that_a_function_answers():
    engine = TransformersEngine(TransformersOptions(model="any"))
    requests = [kind for kind in vars(types).values() if hasattr(kind, "reply")]
    supported = {kind for kind in requests if engine.supports(frozenset({kind}))}
    assert supported == FORWARDS.keys() - {Encode} == ENCODER_DECODER.keys() - {Encode}
