"""An encoder-decoder's replies equal a plain PyTorch computation with transformers' own model."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from rerank_bench import EngineFault, Message, Prompt
from rerank_bench.engines import open_engine
from rerank_bench.types import (
    Attend,
    ContinuationScore,
    Failure,
    Generate,
    Likelihood,
    NextToken,
    PairScore,
)

LABELS = ("true", "false")


@pytest.fixture(scope="module")
def peer(t5):
    """The tokenizer and the network, as transformers loads them."""
    return AutoTokenizer.from_pretrained(t5), AutoModelForSeq2SeqLM.from_pretrained(t5).eval()


def replies(engine, requests):
    found = dict(engine.stream(iter(requests)))
    return [found[index] for index in range(len(requests))]


def prompts(texts, prefill=""):
    return [Prompt(text=f"Query: names Document: {t} Relevant:", prefill=prefill) for t in texts]


def expected_logits(peer, prompt, decoder):
    tokenizer, network = peer
    with torch.inference_mode():
        ids = tokenizer(prompt.text, return_tensors="pt").input_ids
        return network(input_ids=ids, decoder_input_ids=torch.tensor([decoder])).logits[0]


def test_labels_are_read_at_the_decoders_first_position(engine, t5, texts, peer):
    asked = prompts(texts[:12])
    tokenizer, _ = peer
    ids = [tokenizer.convert_tokens_to_ids(f"▁{label}") for label in LABELS]
    for prompt, reply in zip(asked, replies(engine(t5), [NextToken(p, LABELS) for p in asked]),
                             strict=True):  # fmt: skip
        logits = expected_logits(peer, prompt, [0])[0]
        assert tokenizer(prompt.text).input_ids[-1] == 1  # closed by the end token
        for label, number in zip(LABELS, ids, strict=True):
            assert math.isclose(reply.logit[label], logits[number], abs_tol=1e-4)
            expected = logits.log_softmax(-1)[number]
            assert math.isclose(reply.logprob[label], expected, abs_tol=1e-4)
        assert reply.prompt_tokens == len(tokenizer(prompt.text).input_ids) + 1


def test_the_prefill_is_the_decoders(engine, t5, peer):
    (prompt,) = prompts(["a list of names"], prefill="the")
    tokenizer, _ = peer
    (reply,) = replies(engine(t5), [NextToken(prompt, (" true",))])
    start = [0, *tokenizer("the", add_special_tokens=False).input_ids]
    expected = expected_logits(peer, prompt, start)[-1]
    number = tokenizer.convert_tokens_to_ids("▁true")
    assert math.isclose(reply.logit[" true"], expected[number], abs_tol=1e-4)


def test_an_extra_id_is_a_label(engine, t5, peer):
    (prompt,) = prompts(["a list of names"])
    (reply,) = replies(engine(t5), [NextToken(prompt, ("<extra_id_10>",))])
    number = peer[0].convert_tokens_to_ids("<extra_id_10>")
    expected = expected_logits(peer, prompt, [0])[0, number]
    assert math.isclose(reply.logit["<extra_id_10>"], expected, abs_tol=1e-4)


def test_a_likelihood_is_that_of_the_decoders_tokens(engine, t5, texts, peer):
    tokenizer, _ = peer
    asked = prompts(texts[:8])
    continuations = [" the names", " a", " of the list</s>", " what is it"] * 2
    requests = [Likelihood(p, c) for p, c in zip(asked, continuations, strict=True)]
    for request, reply in zip(requests, replies(engine(t5), requests), strict=True):
        ids = tokenizer(request.continuation, add_special_tokens=False).input_ids
        logprobs = expected_logits(peer, request.prompt, [0, *ids]).log_softmax(-1)
        expected = sum(float(logprobs[place, number]) for place, number in enumerate(ids))
        assert reply.tokens == len(ids)
        assert math.isclose(reply.logprob, expected, abs_tol=1e-3)
    (empty,) = replies(engine(t5), [Likelihood(asked[0], "")])
    assert (empty.logprob, empty.tokens) == (0.0, 0)
    assert isinstance(empty, ContinuationScore)


def test_text_is_what_transformers_generates_greedily(engine, t5, texts, peer):
    tokenizer, network = peer
    asked = [*prompts(texts[:5]), *prompts(texts[5:8], prefill="the list")]
    requests = [Generate(prompt, 9 + place) for place, prompt in enumerate(asked)]
    written = set()
    for request, reply in zip(requests, replies(engine(t5), requests), strict=True):
        prefill = tokenizer(request.prompt.prefill, add_special_tokens=False).input_ids
        start = torch.tensor([[0, *prefill]])
        ids = tokenizer(request.prompt.text, return_tensors="pt").input_ids
        with torch.inference_mode():
            found = network.generate(
                ids, decoder_input_ids=start, max_new_tokens=request.max_tokens, do_sample=False
            )[0, start.shape[1] :]
        assert list(reply.tokens) == found.tolist()
        assert reply.text == tokenizer.decode(found, skip_special_tokens=True)
        assert reply.output_tokens == len(found)
        written.add(reply.tokens)
    assert len(written) > 4


@pytest.mark.parametrize("kind", ["labels", "likelihood"])
def test_a_score_does_not_depend_on_its_batch(engine, t5, texts, kind):
    asked = [NextToken(p, LABELS) if kind == "labels" else Likelihood(p, f" {t[:9]}")
             for p, t in zip(prompts(texts), texts, strict=True)]  # fmt: skip
    asked = [request for request in asked if kind == "labels" or request.continuation.strip()]
    one = open_engine("transformers", model=str(t5), max_num_batched_tokens=1)
    wide = engine(t5, max_num_batched_tokens=8192)
    found = replies(one, asked)
    values = [r.logit["true"] if kind == "labels" else r.logprob / r.tokens for r in found]
    assert max(values) - min(values) > 0.1
    for alone, batched in zip(found, replies(wide, asked), strict=True):
        if kind == "labels":
            difference = max(abs(alone.logit[x] - batched.logit[x]) for x in LABELS)
        else:
            difference = abs(alone.logprob - batched.logprob) / max(alone.tokens, 1)
        assert difference <= 1e-5


def test_a_prompt_that_does_not_fit_fails(t5):
    engine = open_engine("transformers", model=str(t5), max_model_len=20)
    (reply,) = replies(engine, [NextToken(Prompt(text="word " * 40), LABELS)])
    assert isinstance(reply, Failure)
    assert "exceed the model's context of 20" in reply.reason


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (NextToken(Prompt(text="a"), ("true false",)), "label 'true false' is 2 tokens"),
        (Attend((Prompt(text="a"),), ("b",)), "is an encoder-decoder, not a causal language model"),
        (PairScore("a", "b"), "has no head for pairs"),
        (Generate(Prompt(text="a", thinking=True), 5), "which does not think"),
    ],
)
def test_what_an_encoder_decoder_cannot_do_is_refused(engine, t5, request_, message):
    with pytest.raises(EngineFault, match=message):
        replies(engine(t5), [request_])


@pytest.mark.parametrize("name", ["transformers", "vllm"])
def test_late_interaction_with_an_encoder_decoder_is_refused(t5, name):
    engine = open_engine(name, model=str(t5), head="maxsim")
    with pytest.raises(EngineFault, match="is an encoder-decoder: no vectors"):
        replies(engine, [PairScore("a", "b")])


def test_messages_without_a_chat_template_are_read_as_their_texts(engine, t5, peer):
    prompt = Prompt((Message("user", "Query: names"),))
    (reply,) = replies(engine(t5), [NextToken(prompt, LABELS)])
    expected = expected_logits(peer, Prompt(text="Query: names\n\n"), [0])[0]
    number = peer[0].convert_tokens_to_ids("▁true")
    assert math.isclose(reply.logit["true"], expected[number], abs_tol=1e-4)


def test_a_start_token_is_that_of_the_config_or_t5s_padding(t5, tmp_path, checkpoints):
    from transformers import T5Config, T5ForConditionalGeneration

    network = T5ForConditionalGeneration.from_pretrained(t5)
    network.config.decoder_start_token_id = 2
    network.generation_config.decoder_start_token_id = 2
    network.save_pretrained(tmp_path)
    checkpoints.pieces(tmp_path)
    assert open_engine("transformers", model=str(tmp_path)).checkpoint.start_id == 2
    bare = T5Config.from_pretrained(t5).to_dict()
    del bare["decoder_start_token_id"]
    T5Config(**bare).save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").unlink()
    assert open_engine("transformers", model=str(tmp_path)).checkpoint.start_id == 0
