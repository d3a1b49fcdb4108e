"""Next tokens, likelihoods and generation against one-prompt forward passes."""

from __future__ import annotations

import dataclasses
import functools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from rerank_bench.engines import ModelOptions, open_checkpoint, open_engine
from rerank_bench.engines.local import TransformersEngine
from rerank_bench.engines.local.generation import decode
from rerank_bench.engines.prepare import Prepared
from rerank_bench.errors import EngineFault
from rerank_bench.types import Failure, Generate, Likelihood, Message, NextToken, Prompt

Engines = Callable[..., TransformersEngine]
LABELS = tuple("ABCDEFGHIJKLMNOPQRST")


def chat(text: str, prefill: str = "") -> Prompt:
    return Prompt((Message("user", text),), prefill=prefill)


@pytest.fixture(scope="session")
def prompts(texts: list[str]) -> list[Prompt]:
    return [chat(t) for t in texts] + [Prompt(text=t) for t in texts if t]


def ask(engine: TransformersEngine, requests: list[Any]) -> list[Any]:
    found = dict(engine.stream(iter(requests)))
    return [found[i] for i in range(len(requests))]


@functools.cache
def plain_model(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder).eval()


@functools.cache
def plain_tokenizer(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)


def plain_logits(folder: Path, ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return plain_model(folder)(torch.tensor([ids])).logits[0].float()


def plain_ids(folder: Path, prompt: Prompt) -> list[int]:
    tokenizer = plain_tokenizer(folder)
    if prompt.text is not None:
        return list(tokenizer(prompt.text)["input_ids"])
    turns = [{"role": m.role, "content": m.text} for m in prompt.messages]
    return list(tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False))


@pytest.mark.parametrize("model", ["llama", "qwen", "base_llama"])
def test_next_token_equals_a_plain_forward_pass(
    engine: Engines, texts: list[str], request: pytest.FixtureRequest, model: str
) -> None:
    folder = request.getfixturevalue(model)
    asked = [NextToken(Prompt(text=t), (*LABELS, 7)) for t in texts if t]
    replies = ask(engine(folder, max_num_batched_tokens=400), asked)
    tokenizer = plain_tokenizer(folder)
    ids = {x: tokenizer.convert_tokens_to_ids(x) for x in LABELS} | {7: 7}
    for one, reply in list(zip(asked, replies, strict=True))[::7]:
        logits = plain_logits(folder, plain_ids(folder, one.prompt))[-1]
        logged = logits.log_softmax(-1)
        expected = {x: float(logged[i]) for x, i in ids.items()}
        assert reply.logprob == pytest.approx(expected, abs=1e-4)
        assert reply.logit == pytest.approx({x: float(logits[i]) for x, i in ids.items()}, abs=1e-4)


def test_likelihood_equals_a_plain_forward_pass(
    engine: Engines, llama: Path, prompts: list[Prompt]
) -> None:
    endings = [" how do I import a module?", " x", " what is the meaning of all this"]
    asked = [Likelihood(p, endings[i % 3]) for i, p in enumerate(prompts)]
    replies = ask(engine(llama, max_num_batched_tokens=400), asked)
    tokenizer = plain_tokenizer(llama)
    for one, reply in list(zip(asked, replies, strict=True))[::9]:
        before = plain_ids(llama, one.prompt)
        after = tokenizer(one.continuation)["input_ids"]
        logged = plain_logits(llama, before + after).log_softmax(-1)
        expected = sum(float(logged[len(before) + i - 1, t]) for i, t in enumerate(after))
        assert reply.logprob == pytest.approx(expected, abs=1e-4)
        assert reply.tokens == len(after)
        assert reply.prompt_tokens == len(before) + len(after)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10_000), budget=st.sampled_from([1, 130, 700, 5000]))
def test_no_reply_depends_on_its_neighbours(
    engine: Engines, llama: Path, prompts: list[Prompt], seed: int, budget: int
) -> None:
    alone = engine(llama, max_num_batched_tokens=1)
    chosen = random.Random(seed).sample(prompts, 7)
    kinds: list[Any] = [NextToken(p, ("A", "B")) for p in chosen]
    kinds += [Likelihood(p, " module") for p in chosen]
    random.Random(seed).shuffle(kinds)
    together = ask(engine(llama, max_num_batched_tokens=budget), kinds)
    for one, reply in zip(kinds, together, strict=True):
        (expected,) = ask(alone, [one])
        found = (expected.logprob, reply.logprob)
        assert found[1] == pytest.approx(found[0], abs=1e-4)


def test_an_empty_continuation_is_certain_and_an_empty_prompt_is_a_failure(
    engine: Engines, llama: Path
) -> None:
    certain, empty = ask(
        engine(llama), [Likelihood(chat("a"), ""), Likelihood(Prompt(text=""), "b")]
    )
    assert (certain.logprob, certain.tokens) == (0.0, 0)
    assert isinstance(empty, Failure)
    assert "empty" in empty.reason


def test_a_label_of_two_tokens_is_an_error_that_names_them(engine: Engines, llama: Path) -> None:
    with pytest.raises(EngineFault, match=r"label 'Zyx' is 3 tokens \['Z', 'y', 'x'\].*assistant"):
        ask(engine(llama), [NextToken(chat("hello"), ("A", "Zyx"))])
    with pytest.raises(EngineFault, match="label 700000 is no token id"):
        ask(engine(llama), [NextToken(chat("hello"), (700_000,))])


def test_a_label_is_read_in_its_exact_context(engine: Engines, llama: Path) -> None:
    tokenizer = plain_tokenizer(llama)
    assert len(tokenizer(" the")["input_ids"]) == len(tokenizer("t")["input_ids"]) == 1
    (reply,) = ask(engine(llama), [NextToken(Prompt(text="is:"), (" the", "t"))])
    assert reply.logprob[" the"] != reply.logprob["t"]
    # " t" and "he" become one token: the label would not be a token of its own.
    with pytest.raises(EngineFault, match="merges with the text before it"):
        ask(engine(llama), [NextToken(Prompt(text="is: t"), ("he",))])


def test_a_prompt_that_exceeds_the_context_fails_alone(engine: Engines, llama: Path) -> None:
    long = Prompt(text="word " * 600 + "end")
    for one in (NextToken(long, ("A",)), Likelihood(long, " b"), Generate(chat("a"), 600)):
        failed, fine = ask(engine(llama), [one, NextToken(chat("a"), ("A",))])
        assert isinstance(failed, Failure)
        assert "max_doc_tokens" in failed.reason
        assert "512" in failed.reason
        assert fine.logprob


def greedy(folder: Path, prompt: Prompt, tokens: int) -> list[int]:
    ids = torch.tensor([plain_ids(folder, prompt)])
    made = plain_model(folder).generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False
    )
    return list(made[0, ids.shape[1] :].tolist())


@pytest.mark.parametrize("model", ["llama", "qwen"])
def test_greedy_text_is_that_of_the_library_whatever_the_batch(
    engine: Engines, texts: list[str], request: pytest.FixtureRequest, model: str
) -> None:
    folder = request.getfixturevalue(model)
    asked = [Generate(Prompt(text=t), 12) for t in texts[::2] if t]
    together = ask(engine(folder, max_num_batched_tokens=20_000), asked)
    alone = ask(engine(folder, max_num_batched_tokens=1), asked)
    assert [r.tokens for r in together] == [r.tokens for r in alone]
    for one, reply in list(zip(asked, together, strict=True))[::5]:
        assert list(reply.tokens) == greedy(folder, one.prompt, 12)
        assert reply.output_tokens == len(reply.tokens)


def test_generation_ends_at_the_end_token(tmp_path: Path, engine: Engines, llama: Path) -> None:
    asked = Generate(chat("hello"), 12)
    (free,) = ask(engine(llama), [asked])
    assert (free.finished, len(free.tokens)) == (False, 12)
    model = AutoModelForCausalLM.from_pretrained(llama)
    model.generation_config.eos_token_id = [2, free.tokens[4]]
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(llama).save_pretrained(tmp_path)
    (ended, other) = ask(engine(tmp_path), [asked, Generate(chat("goodbye to all"), 12)])
    first = free.tokens.index(free.tokens[4])
    assert ended.finished
    assert ended.tokens == free.tokens[: first + 1]
    assert len(other.tokens) >= 1


def test_a_stop_string_ends_the_text_before_itself(engine: Engines, llama: Path) -> None:
    (free,) = ask(engine(llama), [Generate(chat("hello"), 20)])
    stop = free.text[3:6]
    (cut,) = ask(engine(llama), [Generate(chat("hello"), 20, stop=(stop,))])
    assert cut.finished
    assert cut.text == free.text[: free.text.index(stop)]
    assert cut.output_tokens < free.output_tokens


def test_samples_are_seeded_by_the_request_alone(engine: Engines, llama: Path) -> None:
    one = Generate(chat("hello"), 10, temperature=1.0, top_p=0.9)
    other = dataclasses.replace(one, sample=1)
    first = ask(engine(llama), [one, other, Generate(chat("neighbour"), 5, temperature=1.0)])
    again = ask(engine(llama, max_num_batched_tokens=1), [other, one])
    assert first[0].tokens == again[1].tokens != first[1].tokens == again[0].tokens
    (best,) = ask(engine(llama), [dataclasses.replace(one, top_p=0.0)])
    (greedy_one,) = ask(engine(llama), [Generate(chat("hello"), 10)])
    assert best.tokens == greedy_one.tokens


def test_a_pattern_is_refused(engine: Engines, llama: Path) -> None:
    reply, other = ask(
        engine(llama), [Generate(chat("a"), 4, pattern="[0-9]"), Generate(chat("a"), 4)]
    )
    assert other.tokens
    assert isinstance(reply, Failure)
    assert "pattern" in reply.reason


def test_log_probabilities_of_a_text_are_its_likelihood(engine: Engines, llama: Path) -> None:
    (made,) = ask(engine(llama), [Generate(chat("hello"), 6)])
    before = plain_ids(llama, chat("hello"))
    logged = plain_logits(llama, before + list(made.tokens)).log_softmax(-1)
    expected = [float(logged[len(before) + i - 1, t]) for i, t in enumerate(made.tokens)]
    assert list(made.logprobs) == pytest.approx(expected, abs=1e-4)


def test_a_row_that_is_not_finite_fails_alone_and_the_others_are_written(llama):
    """Two rows from given logits; the second breaks at its second token."""
    checkpoint = open_checkpoint(ModelOptions(model=str(llama)))
    shown = []

    class Given:
        rows = 2

        def logits(self):
            shown.append(self.rows)
            found = torch.zeros(self.rows, len(checkpoint.tokenizer))
            found[:, 40 + len(shown)] = 5.0
            if len(shown) == 2:
                found[1, 7] = float("inf")
            return found

        def advance(self, tokens, keep):
            self.rows = len(keep)

    request = Generate(Prompt((), "a"), 3)
    batch = [Prepared(index, request, [5], 4) for index in range(2)]
    sound, broken = decode(Given(), batch, checkpoint)
    assert sound.tokens == (41, 42, 43)
    assert isinstance(broken, Failure)
    assert "NaN" in broken.reason
    assert shown == [2, 2, 1]


def test_the_pieces_of_a_generated_text_are_those_of_its_tokens(llama):
    engine = open_engine("transformers", model=str(llama))
    ((_, reply),) = engine.stream(iter([Generate(Prompt((), "A list of names"), 12)]))
    decode = engine.checkpoint.tokenizer.decode
    assert reply.pieces == tuple(decode([i], skip_special_tokens=True) for i in reply.tokens)
    assert len(reply.logprobs) == len(reply.pieces) == reply.output_tokens
