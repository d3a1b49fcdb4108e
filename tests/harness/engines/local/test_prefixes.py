"""A prefix that is computed once gives the answers of whole sequences."""

from __future__ import annotations

import functools
import json
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rerank_bench.engines.local import TransformersEngine
from rerank_bench.engines.local.batches import Batcher
from rerank_bench.engines.local.language import likelihoods, next_tokens
from rerank_bench.engines.local.loading import LoadedModel
from rerank_bench.engines.local.prefixes import run_shared, why_no_shared_prefix
from rerank_bench.engines.prepare import Answer, Prepared
from rerank_bench.types import Failure, Likelihood, NextToken, PairScore, Prompt

Engines = Callable[..., TransformersEngine]

WINDOW = 12
SHAPE = {
    "vocab_size": 300, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "initializer_range": 0.3,
    "max_position_embeddings": 512, "pad_token_id": 0,
}  # fmt: skip
SMALL = {"vocab_size": 300, "n_layer": 3, "n_head": 4, "n_embd": 64, "initializer_range": 0.3}
WITHOUT_GROUPS = {k: v for k, v in SHAPE.items() if k not in ("num_key_value_heads", "head_dim")}
KINDS = {
    "llama": ("LlamaConfig", SHAPE),
    "qwen3": ("Qwen3Config", SHAPE),
    "mistral": ("MistralConfig", {**SHAPE, "sliding_window": WINDOW}),
    "gemma3": ("Gemma3TextConfig", {**SHAPE, "sliding_window": WINDOW, "num_hidden_layers": 7}),
    "gpt_neox": ("GPTNeoXConfig", WITHOUT_GROUPS),
    "gpt2": ("GPT2Config", SMALL),
    "bloom": ("BloomConfig", {**SMALL, "hidden_size": 64}),
    "mpt": ("MptConfig", {"vocab_size": 300, "d_model": 64, "n_layers": 3, "n_heads": 4}),
    "falcon": ("FalconConfig", {**WITHOUT_GROUPS, "alibi": True}),
}  # fmt: skip
"""Rotary, learned and ALiBi positions; Mistral and Gemma 3 with a window shorter than a prefix."""


@functools.cache
def network(kind: str) -> Any:
    name, shape = KINDS[kind]
    torch.manual_seed(0)
    config = getattr(transformers, name)(**shape)
    return transformers.AutoModelForCausalLM.from_config(config).float().eval()


def loaded(network: Any) -> LoadedModel:
    tokens = SimpleNamespace(pad_id=0)
    return LoadedModel(network, SimpleNamespace(decoder=True, device="cpu", tokens=tokens))


def rows(prefix: int, ends: Sequence[int], *, ending: int = 0) -> list[Prepared]:
    chosen = random.Random(0)
    begun = [chosen.randrange(5, 300) for _ in range(prefix)]
    found = [[*begun, *(chosen.randrange(5, 300) for _ in range(end))] for end in ends]
    labels: Any = {"a": 7, "b": 8}
    return [
        Prepared(i, None, ids, len(ids), labels=labels, ending=ending)
        for i, ids in enumerate(found)
    ]


def alone(model: LoadedModel, forward: Any, one: Prepared) -> Any:
    with torch.inference_mode():
        return forward(model, [one])[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("forward", "ending"), [(next_tokens, 0), (likelihoods, 3)])
def test_replies_behind_a_shared_prefix_are_those_of_whole_sequences(
    kind: str, forward: Any, ending: int
) -> None:
    model, batcher = loaded(network(kind)), Batcher(160)
    assert why_no_shared_prefix(model.network) is None
    asked = rows(40, [30, 4, 17, 17, 29, 28, 90, 5], ending=ending)
    found = dict(run_shared(model, asked, forward, batcher))
    assert batcher.positions < sum(map(len, (one.ids for one in asked)))
    for one in asked:
        expected = alone(model, forward, one)
        assert found[one.index].logprob == pytest.approx(expected.logprob, abs=1e-4)


def test_a_prefix_is_computed_once_for_all_batches_of_its_group() -> None:
    model, batcher = loaded(network("llama")), Batcher(128)
    asked = rows(40, [12] * 20)
    computed: list[int] = []
    handle = model.network.base_model.register_forward_pre_hook(
        lambda _, args, named: computed.append((args[0] if args else named["input_ids"]).numel()),
        with_kwargs=True,
    )
    try:
        found = dict(run_shared(model, asked, next_tokens, batcher))
    finally:
        handle.remove()
    assert sum(computed) == batcher.positions == 40 + 20 * 12
    assert len(computed) == 1 + 3  # 7 rows of 12 tokens and an eighth of 40
    assert sorted(reply.cached_tokens for reply in found.values()) == [0] + [40] * 19
    assert {reply.prompt_tokens for reply in found.values()} == {52}


def test_out_of_memory_halves_what_is_computed_behind_a_prefix() -> None:
    model, tried = loaded(network("llama")), []

    def forward(own: LoadedModel, batch: Sequence[Prepared]) -> list[Answer]:
        tried.append(len(batch))
        if len(batch) > 3 or len(batch[0].ids) > 100:
            raise torch.OutOfMemoryError("full")
        return next_tokens(own, batch)

    batcher = Batcher(240)
    found = dict(run_shared(model, rows(40, [*[10] * 24, 70]), forward, batcher))
    failed = found.pop(24)
    assert isinstance(failed, Failure)
    assert "110 tokens" in failed.reason
    assert not any(isinstance(answer, Failure) for answer in found.values())
    assert tried == [3, 1, 5, *[2] * 12]  # a row takes 10 and an eighth of 40
    assert batcher.budget == 2 * (10 + 5)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (transformers.MambaConfig(hidden_size=32, num_hidden_layers=1, vocab_size=99), "no keys"),
        (
            transformers.Lfm2Config(
                **SHAPE, layer_types=["conv", "full_attention", "conv"], block_dim=64
            ),
            "something else than keys and values",
        ),
        (
            transformers.LlamaConfig(
                **SHAPE, rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
            ),
            "length of the whole text",
        ),
        (transformers.BertGenerationConfig(**WITHOUT_GROUPS), "see later ones"),
    ],
)
def test_a_model_that_needs_more_than_keys_and_values_is_not_shared(config: Any, why: str) -> None:
    found = why_no_shared_prefix(transformers.AutoModelForCausalLM.from_config(config))
    assert why in str(found)


def test_the_code_of_another_model_is_not_shared() -> None:
    class Own(transformers.LlamaForCausalLM):
        """A model whose code came with it."""

    assert "not that of transformers" in str(
        why_no_shared_prefix(Own(transformers.LlamaConfig(**SHAPE)))
    )


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("no memory"),
        TypeError("another argument"),
        ValueError("another input"),
        IndexError("too few"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_model_that_cannot_be_probed_is_not_shared_and_its_error_is_the_reason(
    error: Exception,
) -> None:
    def fail(*_: Any) -> None:
        raise error

    model = loaded(transformers.LlamaForCausalLM(transformers.LlamaConfig(**SHAPE)))
    model.network.base_model.register_forward_pre_hook(fail)
    told = f"the model cannot be asked so: {type(error).__name__}: {error}"
    assert model.no_sharing_reason == told


def test_a_model_whose_embedding_tells_no_size_is_not_shared() -> None:
    network = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SHAPE))
    network.set_input_embeddings(torch.nn.Identity())
    assert "cannot be asked so: AttributeError" in str(why_no_shared_prefix(network))


def ask(engine: TransformersEngine, requests: Sequence[Any]) -> list[Any]:
    found = dict(engine.stream(iter(requests)))
    return [found[i] for i in range(len(requests))]


HEADS = st.lists(st.integers(0, 3), max_size=4)
"""Parts of the beginning of a prompt; few of them, so that prompts begin alike."""
prompts = st.lists(st.tuples(HEADS, st.integers(0, 43), st.booleans()), min_size=1, max_size=14)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(chosen=prompts, budget=st.sampled_from([1, 130, 700, 5000]))
def test_whatever_the_mixture_of_prompts_sharing_changes_no_answer(
    engine: Engines, qwen: Path, texts: list[str], chosen: list[Any], budget: int
) -> None:
    asked: list[Any] = []
    for heads, tail, continued in chosen:
        text = " ".join([*(texts[head] for head in heads), texts[tail], "so"])
        kind = Likelihood if continued else NextToken
        asked.append(kind(Prompt(text=text), " module" if continued else ("A", "B")))
    with_it = ask(engine(qwen, max_num_batched_tokens=budget), asked)
    without = ask(engine(qwen, max_num_batched_tokens=budget, share_prefixes=False), asked)
    for found, expected in zip(with_it, without, strict=True):
        assert found.logprob == pytest.approx(expected.logprob, abs=1e-4)
        assert found == replace(
            expected, logprob=found.logprob, cached_tokens=found.cached_tokens,
            **({"logit": found.logit} if isinstance(found.logprob, dict) else {}),
        )  # fmt: skip


def test_pairs_of_a_decoder_share_what_stands_before_the_document(
    engine: Engines, qwen_classifier: Path, texts: list[str]
) -> None:
    template = "Does the document answer the query? Query: {{ query }} Document: {{ document }}"
    asked = [PairScore(query, text) for query in texts[:2] for text in texts[2:20]]
    options = {"pair_template": template, "max_num_batched_tokens": 400}
    with_it = ask(engine(qwen_classifier, **options), asked)
    without = ask(engine(qwen_classifier, **options, share_prefixes=False), asked)
    assert sum(reply.cached_tokens for reply in with_it) > 34 * 30
    assert not any(reply.cached_tokens for reply in without)
    for found, expected in zip(with_it, without, strict=True):
        assert found.logits == pytest.approx(expected.logits, abs=1e-4)


def test_the_manifest_says_whether_prefixes_were_shared(engine: Engines, llama: Path) -> None:
    for shared, said in ((True, "yes"), (False, "no: it is turned off")):
        opened = engine(llama, share_prefixes=shared)
        ask(opened, [NextToken(Prompt(text="is:"), ("A",))])
        assert opened.statistics.in_effect == {"shared_prefixes": said}


def test_a_model_that_allows_no_sharing_reads_whole_prompts_and_the_manifest_says_why(
    engine: Engines, llama: Path, tmp_path: Path
) -> None:
    shutil.copytree(llama, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    config["rope_parameters"] = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    (tmp_path / "config.json").write_text(json.dumps(config))
    opened = engine(tmp_path, max_num_batched_tokens=100)
    found = ask(opened, [NextToken(Prompt(text="so " * 40 + end), ("A",)) for end in "abcdefgh"])
    assert [reply.cached_tokens for reply in found] == [0] * 8
    assert "length of the whole text" in opened.statistics.in_effect["shared_prefixes"]


def test_sharing_is_no_part_of_the_identity(engine: Engines, llama: Path) -> None:
    assert engine(llama).identity == engine(llama, share_prefixes=False).identity


def test_real_answers_are_the_same_to_rounding(engine: Engines, converted_models: None) -> None:
    begun = "Is the passage about the query? Query: how do I raise an exception in Python? Passage:"
    passages = ["raise ValueError(x)", "a list of names and more words", "try: pass", "return x"]
    asked = [NextToken(Prompt(text=f"{begun} {p}\nAnswer:"), (" Yes", " No")) for p in passages]
    with_it, without = (
        ask(engine(Path("smollm2"), share_prefixes=shared, max_num_batched_tokens=100), asked)
        for shared in (True, False)
    )
    assert [reply.cached_tokens >= 16 for reply in with_it].count(True) == 3
    for found, expected in zip(with_it, without, strict=True):
        assert found.logprob == pytest.approx(expected.logprob, abs=1e-4)
