"""Fusion in the decoder equals a plain PyTorch computation over padded passages."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.modeling_outputs import BaseModelOutput

from rerank_bench import EngineFault, Prompt
from rerank_bench.engines import open_engine
from rerank_bench.types import Failure, Fuse, FuseScore

MARKERS = "<extra_id_0><extra_id_1><extra_id_2><extra_id_3>"


@pytest.fixture(scope="module")
def peer(t5):
    """The tokenizer and the network, as transformers loads them."""
    return AutoTokenizer.from_pretrained(t5), AutoModelForSeq2SeqLM.from_pretrained(t5).eval()


def replies(engine, requests):
    found = dict(engine.stream(iter(requests)))
    return [found[index] for index in range(len(requests))]


def numbered(texts):
    return tuple(
        Prompt(text=f"Search Query: names Passage: [{n}] {text} Relevance Ranking:")
        for n, text in enumerate(texts, start=1)
    )


def viewed(texts):
    return tuple(Prompt(text=f"{MARKERS} | Query: names | Context: {text}") for text in texts)


def states(peer, prompts):
    """The encoder's states of all passages, padded to one length, and their mask."""
    tokenizer, network = peer
    read = tokenizer([p.text for p in prompts], padding="max_length", max_length=150,
                     return_tensors="pt")  # fmt: skip
    encoder = network.get_encoder()
    found = encoder(input_ids=read.input_ids, attention_mask=read.attention_mask)
    return found.last_hidden_state, read.attention_mask


@torch.inference_mode()
def generated(peer, prompts, max_tokens):
    _, network = peer
    passages, mask = states(peer, prompts)
    fused = passages.reshape(1, -1, passages.shape[-1])
    ids, logprobs = [0], []
    while len(ids) <= max_tokens and ids[-1] != 1:
        output = network(
            encoder_outputs=BaseModelOutput(last_hidden_state=fused),
            attention_mask=mask.reshape(1, -1),
            decoder_input_ids=torch.tensor([ids]),
            use_cache=False,
        )
        ids.append(int(output.logits[0, -1].argmax()))
        logprobs.append(float(output.logits[0, -1].log_softmax(-1)[ids[-1]]))
    return ids[1:], logprobs


@torch.inference_mode()
def anchored(peer, prompts, views):
    _, network = peer
    passages, _ = states(peer, prompts)
    total = torch.zeros(len(prompts))
    for view in range(views):
        vectors = passages[:, view]
        anchor = network.get_decoder()(
            inputs_embeds=network.get_input_embeddings().weight[:1][None],
            encoder_hidden_states=vectors[None],
        ).last_hidden_state[0, 0]
        total += vectors @ anchor
    return total / views


def test_the_decoder_reads_all_passages_that_the_encoder_read_alone(engine, t5, texts, peer):
    requests = [Fuse(numbered(texts[at : at + 4]), 12) for at in (0, 3, 9)]
    requests.append(Fuse(numbered(texts[:1]), 5))
    bare = [tuple(Prompt(text=text) for text in texts[at : at + 3]) for at in range(3)]
    requests += [Fuse(prompts, 8) for prompts in bare]
    written = set()
    for request, reply in zip(requests, replies(engine(t5), requests), strict=True):
        expected, logprobs = generated(peer, request.prompts, request.max_tokens)
        assert list(reply.tokens) == expected
        assert reply.logprobs == pytest.approx(logprobs, abs=1e-4)
        written.add(reply.tokens)
        tokenizer, _ = peer
        read = [tokenizer(prompt.text).input_ids for prompt in request.prompts]
        assert reply.prompt_tokens == sum(map(len, read)) + 1
        assert reply.output_tokens == len(expected)
    assert len(written) > 2


def test_the_order_of_passages_is_seen_by_their_numbers_alone(engine, t5, texts):
    prompts = numbered(texts[:5])
    turned = Fuse(prompts[::-1], 10)
    first, second = replies(engine(t5), [Fuse(prompts, 10), turned])
    assert first.tokens == second.tokens
    assert first.logprobs == pytest.approx(second.logprobs, abs=1e-4)


@pytest.mark.parametrize("views", [1, 4])
def test_scores_are_the_mean_product_with_the_anchors(engine, t5, texts, peer, views):
    prompts = viewed(texts[:9])
    (reply,) = replies(engine(t5), [FuseScore(prompts, views)])
    expected = anchored(peer, prompts, views)
    assert torch.allclose(torch.tensor(reply.logits), expected, atol=1e-4, rtol=1e-4)
    assert len(set(reply.logits)) == 9


def test_a_shuffle_of_the_passages_shuffles_the_scores(engine, t5, texts):
    prompts = viewed(texts[:30])
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0)).tolist()
    moved = tuple(prompts[place] for place in order)
    before, after = replies(engine(t5), [FuseScore(prompts, 4), FuseScore(moved, 4)])
    expected = torch.tensor([before.logits[place] for place in order])
    assert torch.allclose(torch.tensor(after.logits), expected, atol=1e-4, rtol=1e-5)


def test_weights_saved_with_a_wrapper_around_the_encoder_are_the_same(
    engine, t5, texts, tmp_path, checkpoints
):
    """As the code of ListT5 and MVP saves them."""
    checkpoints.t5(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    wrapped = {}
    for name, tensor in weights.items():
        parts = name.split(".")
        if parts[0] == "encoder":
            block = parts[1] == "block"
            parts[1:3] = ["encoder", *parts[1:3], *(["module"] if block else [])]
        wrapped[".".join(parts)] = tensor
    assert "encoder.encoder.block.1.module.layer.0.SelfAttention.q.weight" in wrapped
    save_file(wrapped, tmp_path / "model.safetensors", metadata={"format": "pt"})
    request = FuseScore(viewed(texts[:3]), 4)
    wrapped_engine = open_engine("transformers", model=str(tmp_path))
    assert replies(wrapped_engine, [request]) == replies(engine(t5), [request])


def test_a_passage_that_does_not_fit_fails(t5, texts):
    engine = open_engine("transformers", model=str(t5), max_model_len=30)
    (reply,) = replies(engine, [Fuse(numbered(["short", "long " * 60]), 5)])
    assert isinstance(reply, Failure)
    assert "max_doc_tokens" in reply.reason


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (FuseScore((Prompt(text="no markers at all"),), 2), "must begin with as many special"),
        (FuseScore((Prompt(text="<extra_id_0>"),), 2), "must begin with as many special"),
        (Fuse((), 5), "needs prompts"),
        (Fuse((Prompt(text="a", prefill="b"),), 5), "none of them with a prefill"),
    ],
)
def test_prompts_that_cannot_be_fused_are_refused(engine, t5, request_, message):
    with pytest.raises(EngineFault, match=message):
        replies(engine(t5), [request_])


def test_a_decoder_without_an_encoder_is_refused(engine, qwen):
    with pytest.raises(EngineFault, match="is no encoder-decoder: fusion"):
        replies(engine(qwen), [Fuse((Prompt(text="a"),), 5)])
