"""Attention to passages that were read once equals that of one pass over the whole prompt."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    MistralConfig,
    MistralForCausalLM,
)

from rerank_bench import Candidates, Document, EngineFault, Message, Prompt, order, rerank_one
from rerank_bench.engines import open_engine
from rerank_bench.engines.local.attention import attention_weights
from rerank_bench.rerankers.in_context import InContext, calibrated_score
from rerank_bench.types import PASSAGES, Attend, Failure

SHAPE = {
    "vocab_size": 300, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "initializer_range": 0.3,
}  # fmt: skip


def direct(network, prefix, end, heads=()):
    """The same weights from one pass with all attention matrices."""
    network.set_attn_implementation("eager")
    with torch.inference_mode():
        ids = torch.tensor([[*prefix, *end]])
        layers = network(ids, output_attentions=True).attentions
    network.set_attn_implementation("sdpa")
    means = [layer[0, :, len(prefix) :, : len(prefix)].mean(1) for layer in layers]
    if heads:
        return sum(means[layer][head] for layer, head in heads)
    return sum(mean.sum(0) for mean in means)


@pytest.fixture(scope="module")
def networks(llama, qwen):
    torch.manual_seed(0)
    found = {name: AutoModelForCausalLM.from_pretrained(f) for name, f in
             (("llama", llama), ("qwen", qwen))}  # fmt: skip
    found["mistral"] = MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=None))
    found["gemma"] = Gemma3ForCausalLM(Gemma3TextConfig(**SHAPE, sliding_window=32))
    return {name: network.float().eval() for name, network in found.items()}


@pytest.mark.parametrize("heads", [(), ((0, 1), (1, 0))])
@pytest.mark.parametrize("name", ["llama", "qwen", "mistral", "gemma"])
def test_attention_behind_kept_keys_equals_that_of_the_whole_prompt(networks, name, heads):
    network = networks[name]
    prefix = torch.randint(5, 300, (120,)).tolist()
    ends = [torch.randint(5, 300, (size,)).tolist() for size in (9, 14)]
    for end, found in zip(ends, attention_weights(network, prefix, ends, heads), strict=True):
        assert torch.allclose(torch.tensor(found), direct(network, prefix, end, heads), atol=1e-5)
    assert network.config._attn_implementation == "sdpa"


def test_a_head_that_the_model_does_not_have_is_refused(networks):
    with pytest.raises(EngineFault, match=r"no attention head 7-0: the model has 2 layers"):
        attention_weights(networks["llama"], [5, 6], [[7]], [(7, 0)])


def prompts(query: str) -> tuple[Prompt, ...]:
    return tuple(
        Prompt((Message("user", f"Read this:{PASSAGES}Which? Query: {text}"),))
        for text in (query, "N/A")
    )


def test_weights_are_those_of_the_passages_own_tokens(qwen):
    engine = open_engine("transformers", model=str(qwen))
    passages = ("[1] a list of names", "[2] the end of a line, and more words")
    request = Attend(prompts("names"), passages)
    ((_, reply),) = engine.stream(iter([request]))
    tokens = engine.checkpoint.tokens
    rendered = [tokens.render(prompt).split(PASSAGES) for prompt in request.prompts]
    pieces = [rendered[0][0], "\n\n", passages[0], "\n\n", passages[1], "\n\n"]
    parts = tokens.encode(pieces)
    prefix = [i for part in parts for i in part]
    network = AutoModelForCausalLM.from_pretrained(qwen).float().eval()
    for weights, (_, end) in zip(reply.weights, rendered, strict=True):
        row = direct(network, prefix, tokens.encode([end])[0])
        start = len(parts[0]) + len(parts[1])
        middle = start + len(parts[2]) + len(parts[3])
        expected = [row[start : start + len(parts[2])], row[middle : middle + len(parts[4])]]
        for found, want in zip(weights, expected, strict=True):
            assert torch.allclose(torch.tensor(found), want, atol=1e-5)


def test_a_prompt_that_does_not_fit_fails_and_names_what_to_lower(qwen):
    engine = open_engine("transformers", model=str(qwen))
    ((_, reply),) = engine.stream(iter([Attend(prompts("names"), ("a line of text " * 400,))]))
    assert isinstance(reply, Failure)
    assert "max_doc_tokens" in reply.reason


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ((f"one {PASSAGES}end", f"two {PASSAGES}end"), "differ before the passages"),
        (("no passages at all",), "needs passages"),
        ((f"nothing behind {PASSAGES}",), "an end behind them"),
    ],
)
def test_prompts_that_do_not_share_their_beginning_are_refused(qwen, texts, message):
    engine = open_engine("transformers", model=str(qwen))
    request = Attend(tuple(Prompt((), text) for text in texts), ("a",))
    with pytest.raises(EngineFault, match=message):
        list(engine.stream(iter([request])))


def test_documents_are_scored_by_calibrated_attention_in_either_order(qwen):
    engine = open_engine("transformers", model=str(qwen))
    texts = ["a list of names", "the end of a line", "a class and its methods", "an error"]
    documents = tuple(Document(str(i), text) for i, text in enumerate(texts))
    given = Candidates("task", "q", "names [3]", documents)
    found = [rerank_one(InContext(reverse=side), given, engine) for side in (True, False)]
    assert all(len(set(result.scores)) == 4 for result in found)
    assert found[0].scores != found[1].scores
    assert found[0].usage.calls == 1
    assert found[0].counts["escaped_ids"] == 1
    raw = rerank_one(InContext(calibrate=False), given, engine)
    assert all(score > 0 for score in raw.scores)


def test_tokens_far_below_their_documents_mean_are_left_out():
    weights = [1.0] * 20 + [-50.0]
    assert calibrated_score(weights, [0.0] * 21) == 20.0
    assert calibrated_score([3.0], [1.0]) == 2.0
    assert order([calibrated_score(w, [0.1, 0.1]) for w in ([0.2, 0.2], [0.3, 0.4])]) == [1, 0]


def test_memory_does_not_grow_with_the_square_of_the_prompt(networks):
    """The largest tensor holds one layer's weights of the end only."""
    largest = 0
    network, prefix, end = networks["mistral"], [7] * 4000, [8] * 20

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            out = function(*args, **(kwargs or {}))
            for one in out if isinstance(out, tuple | list) else (out,):
                if isinstance(one, torch.Tensor):
                    largest = max(largest, one.numel())
            return out

    with Watch():
        attention_weights(network, prefix, [end])
    full = 3 * 4 * (len(prefix) + len(end)) ** 2
    assert largest < full / 10
