"""Fitting, special tokens, chat templates and the edges of prompts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from rerank_bench.engines import Tokens
from rerank_bench.engines.local import TransformersEngine
from rerank_bench.types import Message, Prompt

Engines = Callable[..., TransformersEngine]
LAW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
SPECIAL = ["<|im_end|>", "<|im_start|>", "<file_sep>", "<|endoftext|>", "[SEP]", "[MASK]"]
pieces = st.one_of(st.text(max_size=12), st.sampled_from([*SPECIAL, "<|im_", "end|>", "|>", "<"]))
messy = st.lists(pieces, max_size=12).map("".join)


@pytest.fixture(scope="session")
def both(encoder: Path, llama: Path) -> list[Tokens]:
    return [Tokens(AutoTokenizer.from_pretrained(f), name=f.name) for f in (encoder, llama)]


@LAW
@given(text=messy, budget=st.integers(0, 12))
def test_a_fitted_text_keeps_to_its_budget_and_is_a_prefix(
    both: list[Tokens], text: str, budget: int
) -> None:
    for tokens in both:
        (fitted,) = tokens.fit([text], budget)
        clean, count = tokens.neutralise(text)
        assert clean.startswith(fitted.text)
        assert fitted.truncated == (fitted.text != clean)
        assert fitted.neutralised == count
        assert len(tokens.encode([fitted.text])[0]) == fitted.tokens <= budget
        assert tokens.fit([clean], 10_000)[0].text == clean


@LAW
@given(texts=st.lists(messy, max_size=4), budget=st.integers(0, 12))
def test_kept_token_ids_are_those_of_a_text_read_anew(
    both: list[Tokens], texts: list[str], budget: int
) -> None:
    for tokens in both:
        texts += [one.text for one in tokens.fit(texts, budget)]
        kept = {text: list(ids) for text, ids in tokens.encode_kept(texts).items()}
        assert kept == dict(zip(texts, tokens.encode(texts), strict=True))


def test_a_text_that_was_fitted_or_read_is_not_tokenised_again(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = Tokens(AutoTokenizer.from_pretrained(llama), name="llama")
    (cut,) = tokens.fit(["a text that is cut to a few tokens"], 4)
    tokens.encode_kept(["read before"])
    read: list[str] = []
    encode = tokens.encode
    monkeypatch.setattr(tokens, "encode", lambda texts: read.extend(texts) or encode(texts))
    tokens.encode_kept([cut.text, "new", "read before", "new"])
    assert read == ["new"]
    tokens.forget()
    tokens.encode_kept(["new"])
    assert read == ["new", "new"]


@LAW
@given(text=messy)
def test_no_special_token_survives_and_other_text_stays_as_it_is(
    both: list[Tokens], text: str
) -> None:
    for tokens in both:
        clean, count = tokens.neutralise(text)
        added = {str(t) for t in tokens.tokenizer.added_tokens_decoder.values()}
        assert not any(token in clean for token in added)
        assert (clean == text) == (count == 0) == (not any(token in text for token in added))
        special = set(tokens.tokenizer.added_tokens_decoder) - {tokens.tokenizer.unk_token_id}
        assert not special & set(tokens.encode([clean])[0])


def test_deleting_would_make_a_special_token_but_inserting_does_not(both: list[Tokens]) -> None:
    assert both[1].neutralise("<|im_<|im_end|>end|>") == ("<|im_< |im_end|>end|>", 1)


def test_added_white_space_is_no_special_token(llama: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(llama)
    tokenizer.add_tokens(["    ", "\x1f"])
    tokens = Tokens(tokenizer, name="tiny")
    assert tokens.neutralise("if x:\n    return") == ("if x:\n    return", 0)


@pytest.mark.parametrize("budget", [0, -91])
def test_a_budget_of_nothing_leaves_nothing(llama: Path, budget: int) -> None:
    tokens = Tokens(AutoTokenizer.from_pretrained(llama), name="tiny")
    (fitted,) = tokens.fit(["three words here"], budget)
    assert (fitted.text, fitted.tokens, fitted.truncated) == ("", 0, True)


def test_a_saved_truncation_of_the_tokenizer_is_not_obeyed(tmp_path: Path, llama: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(llama)
    tokenizer.backend_tokenizer.enable_truncation(3)
    tokenizer.save_pretrained(tmp_path)
    tokens = Tokens(AutoTokenizer.from_pretrained(tmp_path), name="tiny")
    assert len(tokens.encode(["a long text of many words"])[0]) > 3


def test_template_ids_and_prefill_join_to_the_ids_of_the_rendered_string(llama: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(llama)
    tokens = Tokens(tokenizer, name="tiny")
    turns = [{"role": "user", "content": "Rank these."}]
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    (found,) = tokens.prompts([Prompt((Message("user", "Rank these."),), prefill="[")])
    assert found.ids == [*ids, *tokenizer.encode("[", add_special_tokens=False)]
    assert found.text.endswith("<|im_start|>assistant\n[")


def test_the_thinking_switch_reaches_a_template_that_knows_it(qwen: Path) -> None:
    tokens = Tokens(AutoTokenizer.from_pretrained(qwen), name="tiny")
    messages = (Message("user", "Hi"),)
    assert tokens.render(Prompt(messages)).endswith("<think>\n\n</think>\n\n")
    assert tokens.render(Prompt(messages, thinking=True)).endswith("assistant\n")


def test_a_refused_system_message_goes_ahead_of_the_user(qwen: Path) -> None:
    tokens = Tokens(AutoTokenizer.from_pretrained(qwen), name="tiny")
    prompt = Prompt((Message("system", "Be brief."), Message("user", "Hi")))
    assert "<|im_start|>user\nBe brief.\n\nHi<|im_end|>" in tokens.render(prompt)


def test_without_a_template_the_texts_follow_each_other(base_llama: Path) -> None:
    tokens = Tokens(AutoTokenizer.from_pretrained(base_llama), name="tiny")
    prompt = Prompt((Message("system", "Be brief."), Message("user", "Hi")), prefill="[")
    (found,) = tokens.prompts([prompt])
    assert found.text == "Be brief.\n\nHi\n\n["


def test_plain_text_gets_one_bos_and_its_special_tokens_are_parsed(
    base_llama: Path, llama: Path
) -> None:
    tokens = Tokens(AutoTokenizer.from_pretrained(base_llama), name="tiny")
    bare, marked = tokens.prompts([Prompt(text="Hi"), Prompt(text="<|endoftext|>Hi")])
    assert bare.ids == marked.ids
    assert bare.ids.count(0) == 1
    (none,) = Tokens(AutoTokenizer.from_pretrained(llama), name="tiny").prompts([Prompt(text="Hi")])
    assert none.ids == bare.ids[1:]
