"""The limits of a GPU: sizes of transformers, operations, bytes and seconds."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench.engines import open_engine
from rerank_bench.errors import EngineFault, UnknownName
from rerank_bench.reranking import (
    Shape,
    Usage,
    decode_flops,
    decode_seconds,
    encoded_flops,
    find_gpu,
    find_shape,
    ideal_flops,
    prefill_seconds,
    sequence_flops,
    sequences_held,
)
from rerank_bench.reranking.limits import GPUS
from rerank_bench.reranking.shapes import SHAPES

H200, SMALL, LARGE = GPUS["h200"], SHAPES["Qwen3-4B"], SHAPES["Qwen3-8B"]
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
    shape, window = SHAPES[model], 120 + 20 * (length + 5) + 60

    def reading(lengths, shared=0):
        flops = [sequence_flops(shape, n, cached=shared if i else 0) for i, n in enumerate(lengths)]
        return prefill_seconds(sum(flops), shape, H200)

    def generated(batch):
        written = WINDOWS * WRITTEN
        return first + decode_seconds(shape, H200, written, batch=batch, context=window)

    pointwise, first = [HEAD + length + TAIL] * DOCUMENTS, reading([window] * WINDOWS)
    found = reading(pointwise), reading(pointwise, HEAD), first, generated(1), generated(64)
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
    assert shape.kv_bytes(10) == 10 * kv * 1024
    assert shape.source


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


def test_an_encoder_has_two_matrices_in_its_feed_forward_and_attends_both_ways():
    shape = Shape.of(BERT)
    assert not shape.causal
    assert shape.body == 6 * (4 * 384**2 + 2 * 384 * 1536)
    assert shape.pairs(10) == 6 * 100
    assert shape.weight_bytes == 2 * shape.body


@pytest.mark.parametrize(
    ("kind", "window", "sliding"),
    [
        ("modernbert", 128, 14),
        ("mistral", 4096, 32),
        ("gemma2", 4096, 13),
        ("gemma3_text", 4096, 22),
        ("qwen2", 0, 0),
        ("llama", 0, 0),
    ],
)
def test_a_sliding_window_shortens_attention_in_the_layers_that_have_one(kind, window, sliding):
    from transformers import AutoConfig

    shape = Shape.of(AutoConfig.for_model(kind).to_dict())
    assert (shape.window, shape.sliding_layers) == (window, sliding)
    full = 9000**2 / 2 if shape.causal else 9000**2
    near = window * 9000 - (window**2 / 2 if shape.causal else 0)
    assert shape.pairs(9000) == (shape.layers - sliding) * full + sliding * near


T5_BASE = {  # config.json of huggingface.co/google-t5/t5-base
    "model_type": "t5", "d_ff": 3072, "d_kv": 64, "d_model": 768, "num_heads": 12, "num_layers": 12,
    "num_decoder_layers": 12, "vocab_size": 32_128, "feed_forward_proj": "relu",
    "tie_word_embeddings": True, "architectures": ["T5ForConditionalGeneration"],
}  # fmt: skip
ENCODER = 12 * (4 * 768 * 768 + 2 * 768 * 3072)  # attention and feed-forward of a layer
DECODER = 12 * (6 * 768 * 768 + 2 * 768 * 3072)  # and queries and outputs to the encoder
CROSS = 12 * 2 * 768 * 768


def test_t5_base_has_its_published_parameters():
    shape = Shape.of(T5_BASE)
    assert (shape.body, shape.decoder_body, shape.cross_body) == (ENCODER, DECODER, CROSS)
    assert shape.parameters / 1e6 == pytest.approx(222.9, rel=0.001)
    assert shape.weight_bytes == 2 * (ENCODER + DECODER + CROSS + 768 * 32_128)
    assert shape.step_bytes == 2 * (DECODER + 768 * 32_128)
    alone = Shape.of(T5_BASE | {"architectures": ["T5EncoderModel"]})
    assert (alone.writes, alone.parameters) == (False, ENCODER + 768 * 32_128)


@pytest.mark.parametrize("kind", ["t5", "mt5", "umt5"])
def test_an_encoder_decoder_has_the_weights_that_transformers_gives_it(kind):
    import torch
    from transformers import AutoConfig, AutoModelForSeq2SeqLM

    config = AutoConfig.for_model(kind, num_decoder_layers=3)
    with torch.device("meta"):
        model = AutoModelForSeq2SeqLM.from_config(config)
    # Biases of relative positions are not counted: a few hundred numbers.
    matrices = sum(p.numel() for p in model.parameters() if p.dim() == 2)
    assert Shape.of(config.to_dict()).parameters == pytest.approx(matrices, rel=0.001)


def test_the_operations_of_t5_base_are_what_they_are_by_hand():
    shape, head = Shape.of(T5_BASE), 2 * 768 * 32_128
    encoder = 2 * ENCODER * 200 + 4 * 768 * 12 * 200**2
    decoder = 2 * CROSS * 200 + 2 * DECODER + 4 * 768 * 12 * (0.5 + 200)
    assert sequence_flops(shape, 201) == pytest.approx(encoder + decoder + head)
    alone = 2 * ENCODER * 200 + 4 * 768 * 12 * (2 * 100**2)
    assert encoded_flops(shape, [100, 100]) == pytest.approx(alone + decoder + head)
    step = 2 * DECODER + head + 4 * 768 * 12 * 210
    assert decode_flops(shape, 3, context=210) == pytest.approx(3 * step)
    moved = (2 * (DECODER + 768 * 32_128) + 2 * 2 * 12 * 768 * 210) / H200.bandwidth
    assert decode_seconds(shape, H200, 1, context=210) == pytest.approx(moved)


def test_texts_that_are_encoded_alone_need_less_attention(t5):
    engine = open_engine("transformers", model=str(t5), device="cpu")
    spent = Usage(calls=2, prompt_tokens=2 * 201, output_tokens=2)
    shape = Shape.of(engine.checkpoint.config.to_dict())
    assert ideal_flops(engine, spent) == pytest.approx(2 * sequence_flops(shape, 201))
    found = ideal_flops(engine, spent, encoded_alone=8)
    assert found == pytest.approx(2 * encoded_flops(shape, [50] * 4))


def test_a_model_of_several_parts_is_read_by_its_text():
    assert Shape.of({"model_type": "gemma3", "text_config": BERT}) == Shape.of(BERT)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (BERT | {"model_type": "qwen3_moe"}, "type qwen3_moe"),
        (BERT | {"model_type": "bart"}, "type bart"),
        ({"model_type": "t5"}, "num_layers"),
        ({}, "type \\(none\\)"),
        ({"model_type": "llama"}, "num_hidden_layers"),
    ],
)
def test_a_config_that_cannot_be_read_is_one_clear_error(config, message):
    with pytest.raises(EngineFault, match=f"^some-model: .*{message}"):
        Shape.of(config, name="some-model")


lengths = st.integers(min_value=1, max_value=8000)


@given(lengths, lengths)
def test_reading_a_cached_head_and_the_rest_costs_as_much_as_the_whole(head, rest):
    whole = sequence_flops(SMALL, head + rest)
    parts = sequence_flops(SMALL, head, logits=0) + sequence_flops(SMALL, head + rest, cached=head)
    assert math.isclose(parts, whole)
    assert whole >= 2 * SMALL.body * (head + rest)


def test_a_short_prompt_waits_for_the_weights_and_a_long_one_for_the_arithmetic():
    weights = LARGE.weight_bytes / H200.bandwidth
    assert prefill_seconds(sequence_flops(LARGE, 10), LARGE, H200, passes=3) == 3 * weights
    flops = sequence_flops(LARGE, 3000)
    assert prefill_seconds(flops, LARGE, H200) == flops / H200.matmul > weights


def test_writing_is_bound_by_bandwidth_alone_and_by_arithmetic_in_a_large_batch():
    alone = decode_seconds(LARGE, H200, 100, context=0)
    assert alone == pytest.approx(100 * LARGE.weight_bytes / H200.bandwidth)
    crowd = decode_seconds(LARGE, H200, 100, batch=10_000, context=0)
    assert crowd == pytest.approx(decode_flops(LARGE, 100, context=0) / H200.matmul)
    assert decode_seconds(LARGE, H200, 0) == 0


@given(lengths)
def test_the_cache_holds_what_is_left_of_the_memory(context):
    held = sequences_held(LARGE, H200, context=context)
    used = 2 * LARGE.parameters + held * LARGE.kv_bytes(context)
    assert 0.9 * H200.memory < used <= 0.92 * H200.memory


def test_a_model_larger_than_the_gpu_is_refused():
    with pytest.raises(EngineFault, match=r"28\.2 GiB of weights .* t4 holds 16"):
        sequences_held(replace(LARGE, layers=72), GPUS["t4"], context=1)


def test_names_are_found_and_unknown_ones_are_answered_with_near_ones():
    assert [gpu.name for gpu in GPUS.values() if gpu.measured] == ["h200"]
    assert all(gpu.source for gpu in GPUS.values())
    with pytest.raises(UnknownName, match="h200"):
        find_gpu("h20")
    with pytest.raises(UnknownName, match="Qwen3-4B"):
        find_shape("Qwen-4B")


# The operations of a finished run


@pytest.fixture
def engine(qwen):
    opened = open_engine("transformers", model=str(qwen))
    yield opened
    opened.close()


def test_a_call_reads_the_mean_prompt_and_writes_each_further_token_behind_it(engine):
    """Six tokens per call after a prompt of 100: the second to sixth attend to 101 to 105."""
    shape = Shape.of(engine.checkpoint.config.to_dict())
    one, six = (
        ideal_flops(engine, Usage(calls=10, prompt_tokens=1000, output_tokens=n)) for n in (10, 60)
    )
    assert one == pytest.approx(10 * sequence_flops(shape, 100))
    assert six - one == pytest.approx(decode_flops(shape, 50, context=103))


def test_operations_that_are_not_known_are_none(engine, encoder):
    assert ideal_flops(engine, Usage()) is None
    assert ideal_flops(open_engine("fake"), Usage(calls=3)) is None
    late = open_engine("transformers", model=str(encoder))
    assert ideal_flops(late, Usage(calls=3, prompt_tokens=30)) is None
