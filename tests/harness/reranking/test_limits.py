"""The physical limit: sizes of transformers, operations, bytes and seconds."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench.errors import EngineFault, UnknownName
from rerank_bench.reranking import (
    Shape,
    decode_flops,
    decode_seconds,
    find_gpu,
    find_shape,
    prefill_seconds,
    sequence_flops,
    sequences_held,
)
from rerank_bench.reranking.limits import GPUS, SHAPES, prefill_flops, utilisation, weight_bytes

H200 = GPUS["h200"]
DOCUMENTS, HEAD, TAIL = 100, 80, 12
WINDOWS, WRITTEN = 9, 80

# Milliseconds per query on one H200, worked out by hand for N=100 documents of L tokens: pointwise
# without and with the shared head cached, FIRST, generated one by one and 64 side by side.
BY_HAND = {
    ("Qwen3-0.6B", 100): (21.9, 13.0, 29.6, 248, 72),
    ("Qwen3-0.6B", 300): (45.9, 37.0, 115, 402, 226),
    ("Qwen3-4B", 100): (178, 105, 206, 1463, 276),
    ("Qwen3-4B", 300): (366, 293, 652, 1998, 811),
    ("Mistral-7B", 150): (430, 289, 554, 2794, 653),
}


@pytest.mark.parametrize(("model", "length"), BY_HAND)
def test_the_limit_of_each_method_is_what_it_is_by_hand(model, length):
    shape = SHAPES[model]
    window = 120 + 20 * (length + 5) + 60
    sequences = [HEAD + length + TAIL] * DOCUMENTS

    def seconds(flops: float) -> float:
        return prefill_seconds(flops, shape, H200)

    def generated(batch: int) -> float:
        written = WINDOWS * WRITTEN
        return first + decode_seconds(shape, H200, written, batch=batch, context=window)

    first = seconds(prefill_flops(shape, [window] * WINDOWS))
    found = (
        seconds(prefill_flops(shape, sequences)),
        seconds(prefill_flops(shape, sequences, shared=HEAD)),
        first,
        generated(1),
        generated(64),
    )
    assert [1000 * x for x in found] == pytest.approx(BY_HAND[model, length], rel=0.03)


@pytest.mark.parametrize(
    ("name", "billions", "body", "kv"),
    [
        ("Qwen3-0.6B", 0.596, 0.440, 112),
        ("Qwen3-4B", 4.02, 3.63, 144),
        ("Qwen3-8B", 8.19, 6.95, 144),
        ("Mistral-7B", 7.25, 6.98, 128),
    ],
)
def test_named_shapes_have_their_published_parameters(name, billions, body, kv):
    shape = SHAPES[name]
    assert shape.parameters / 1e9 == pytest.approx(billions, rel=0.002)
    assert shape.body / 1e9 == pytest.approx(body, rel=0.002)
    assert shape.kv_bytes() == kv * 1024
    assert shape.source


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_survives_its_own_config(name):
    shape = SHAPES[name]
    read = Shape.of(json.loads(json.dumps(shape.config())), name=name)
    assert (read.parameters, read.body, read.kv_bytes(), read.pairs(5000)) == (
        shape.parameters,
        shape.body,
        shape.kv_bytes(),
        shape.pairs(5000),
    )


def test_transformers_builds_as_many_weights_as_a_shape_counts(tmp_path):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    shape = Shape("tiny", 2, 64, 96, 4, 2, 32, 500, tied=False)
    (tmp_path / "config.json").write_text(json.dumps(shape.config()))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tmp_path))
    matrices = sum(p.numel() for p in model.parameters() if p.dim() == 2)
    assert matrices == shape.parameters


@pytest.mark.parametrize("kind", ["llama", "qwen3", "mistral", "gemma2", "modernbert", "bert"])
def test_each_type_of_model_has_the_weights_that_transformers_gives_it(kind):
    import torch
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model(kind)
    shape = Shape.of(config.to_dict(), name=kind)
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    matrices = sum(p.numel() for p in model.parameters() if p.dim() == 2)
    # BERT also has embeddings of positions and a pooler, which are not counted: 1 %.
    assert shape.body + shape.embedding == pytest.approx(matrices, rel=0.01)


BERT = {
    "model_type": "bert",
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "hidden_size": 384,
    "intermediate_size": 1536,
    "vocab_size": 30_522,
}


def test_an_encoder_has_two_matrices_in_its_feed_forward_and_sees_both_ways():
    shape = Shape.of(BERT)
    assert not shape.causal
    assert shape.body == 6 * (4 * 384**2 + 2 * 384 * 1536)
    assert shape.pairs(10) == 6 * 100
    assert weight_bytes(shape) == 2 * shape.body


SLIDING = BERT | {"num_hidden_layers": 22, "sliding_window": 128}


@pytest.mark.parametrize(
    ("config", "sliding"),
    [
        (SLIDING | {"model_type": "modernbert", "local_attention": 128}, 14),
        (SLIDING | {"model_type": "mistral"}, 22),
        (SLIDING | {"model_type": "gemma2"}, 11),
        (SLIDING | {"model_type": "gemma3_text"}, 19),
        (SLIDING | {"model_type": "qwen2", "use_sliding_window": False}, 0),
        (SLIDING | {"model_type": "qwen3"}, 0),
        (SLIDING | {"model_type": "gemma2", "layer_types": ["sliding_attention"] * 3}, 3),
    ],
)
def test_a_sliding_window_spares_the_layers_that_have_one(config, sliding):
    shape = Shape.of(config)
    assert shape.sliding_layers == sliding
    whole = 1000**2 / 2 if shape.causal else 1000**2
    near = 128 * 1000 - (128**2 / 2 if shape.causal else 0)
    assert shape.pairs(1000) == (22 - sliding) * whole + sliding * near


def test_a_model_of_several_parts_is_read_by_its_text():
    assert Shape.of({"model_type": "gemma3", "text_config": BERT}) == Shape.of(BERT)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (BERT | {"model_type": "qwen3_moe"}, "type qwen3_moe"),
        (BERT | {"model_type": "t5"}, "type t5"),
        ({}, "type \\(none\\)"),
        ({"model_type": "llama"}, "num_hidden_layers"),
    ],
)
def test_a_config_that_cannot_be_read_is_one_clear_error(config, told):
    with pytest.raises(EngineFault, match=f"^some-model: .*{told}"):
        Shape.of(config, name="some-model")


lengths = st.integers(min_value=1, max_value=8000)


@given(lengths, lengths)
def test_reading_a_cached_head_and_the_rest_costs_as_much_as_the_whole(head, rest):
    shape = SHAPES["Qwen3-4B"]
    parts = sequence_flops(shape, head, logits=0) + sequence_flops(shape, head + rest, cached=head)
    assert math.isclose(parts, sequence_flops(shape, head + rest))


@given(lengths)
def test_a_limit_never_falls_below_two_operations_per_weight_and_token(length):
    shape = SHAPES["Qwen3-0.6B"]
    assert sequence_flops(shape, length) >= 2 * shape.body * length


def test_a_short_prompt_waits_for_the_weights_and_a_long_one_for_the_arithmetic():
    shape = SHAPES["Qwen3-8B"]
    weights = weight_bytes(shape) / H200.bandwidth
    assert prefill_seconds(sequence_flops(shape, 10), shape, H200, passes=3) == 3 * weights
    flops = sequence_flops(shape, 3000)
    assert prefill_seconds(flops, shape, H200) == flops / H200.matmul > weights


def test_writing_is_bound_by_bandwidth_alone_and_by_arithmetic_in_a_large_batch():
    shape = SHAPES["Qwen3-8B"]
    alone = decode_seconds(shape, H200, 100, context=0)
    assert alone == pytest.approx(100 * weight_bytes(shape) / H200.bandwidth)
    crowd = decode_seconds(shape, H200, 100, batch=10_000, context=0)
    assert crowd == pytest.approx(decode_flops(shape, 100, context=0) / H200.matmul)
    assert decode_seconds(shape, H200, 0) == 0


@given(lengths)
def test_the_cache_holds_what_is_left_of_the_memory(context):
    shape = SHAPES["Qwen3-8B"]
    held = sequences_held(shape, H200, context=context)
    used = 2 * shape.parameters + held * context * shape.kv_bytes()
    assert 0.9 * H200.memory < used <= 0.92 * H200.memory


def test_a_model_larger_than_the_gpu_is_refused():
    large = replace(SHAPES["Qwen3-8B"], layers=72)
    with pytest.raises(EngineFault, match=r"28\.2 GiB of weights .* t4 holds 16"):
        sequences_held(large, GPUS["t4"], context=1)


def test_utilisation_is_a_share_of_what_was_possible():
    assert utilisation(395e12, 1.0, H200) == pytest.approx(0.5)


def test_unknown_names_are_told_with_near_ones():
    with pytest.raises(UnknownName, match="h200"):
        find_gpu("h20")
    with pytest.raises(UnknownName, match="Qwen3-4B"):
        find_shape("Qwen-4B")


def test_only_the_gpu_that_was_measured_says_so():
    assert [gpu.name for gpu in GPUS.values() if gpu.measured] == ["h200"]
    assert all(gpu.source for gpu in GPUS.values())
