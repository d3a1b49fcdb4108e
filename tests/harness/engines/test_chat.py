"""A rendered prompt loses no message, ends outside any think block, and keeps its joints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast

from rerank_bench import EngineFault, Likelihood, Message, NextToken, Prompt, load_template
from rerank_bench.engines import Tokens, Works
from rerank_bench.engines.chat import ChatTemplate

TURNS = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
ASKED = Prompt((Message("system", "Judge."), Message("user", "Is it? Yes or No.")))


CHATML = TURNS + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"


@pytest.fixture(scope="module")
def base(checkpoints: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return checkpoints.byte_pairs(tmp_path_factory.mktemp("base"), chat=CHATML)


def tokens_with(base: Any, template: str) -> Tokens:
    base.chat_template = template
    return Tokens(base, name="tiny")


def written(text: str) -> str:
    """A template that writes `text`, whose last line break Jinja would drop."""
    return "{{ " + json.dumps(text) + " }}"


def labels_of(tokens: Tokens, prompt: Prompt) -> list[str]:
    """The texts of the label tokens that would be read."""
    (work,) = Works(tokens, 4096).next_tokens([NextToken(prompt, ("A", "B"))]).works
    return [tokens.tokenizer.decode([token]) for token in work.request.values()]


@pytest.mark.parametrize(
    ("opened", "closed"),
    [
        ("<think>", "<think>\n\n</think>\n\n"),
        ("<think>\n", "<think>\n\n</think>\n\n"),
        ("<think>\n\n", "<think>\n\n</think>\n\n"),
        ("<thought>\n", "<thought>\n\n</thought>\n\n"),
        ("[THINK]", "[THINK]\n\n[/THINK]\n\n"),
        ("<|START_THINKING|>", "<|START_THINKING|>\n\n<|END_THINKING|>\n\n"),
    ],
)
def test_a_think_block_that_the_template_opens_is_closed_before_a_label_is_read(
    base: Any, opened: str, closed: str
) -> None:
    end = closed.removeprefix(opened.strip()).strip()
    known = "{% if false %}" + end + "{% endif %}"
    template = TURNS + known + written("<|im_start|>assistant\n" + opened)
    tokens = tokens_with(base, template)
    (rendered,) = tokens.prompts([ASKED])
    assert rendered.text.endswith("<|im_start|>assistant\n" + closed)
    assert rendered.open_block is None
    assert labels_of(tokens, ASKED) == ["A", "B"]


def test_a_harmony_prompt_goes_on_to_the_final_channel(base: Any) -> None:
    known = "{% if false %}<|channel|>analysis<|message|><|end|><|channel|>final{% endif %}"
    channels = (
        "",
        "<|channel|>analysis<|message|>",
        "<|channel|>analysis",
        "<|channel|>commentary",
    )
    for opened in channels:
        tokens = tokens_with(base, TURNS + known + "<|start|>assistant" + opened)
        text = tokens.render(ASKED)
        assert text.endswith("<|start|>assistant<|channel|>final<|message|>")
        assert tokens.prompts([ASKED])[0].open_block is None


def test_a_block_whose_end_the_model_does_not_know_refuses_labels_and_names_the_block(
    base: Any,
) -> None:
    tokens = tokens_with(base, TURNS + "<|im_start|>assistant\n<think>\n")
    with pytest.raises(EngineFault, match=r"tiny ends inside a think block \(<think>\)"):
        Works(tokens, 4096).next_tokens([NextToken(ASKED, ("A", "B"))])


def test_labels_are_refused_where_thinking_was_asked_for_and_the_block_is_open(base: Any) -> None:
    closes = "{% if false %}</think>{% endif %}" + written("<|im_start|>assistant\n<think>\n")
    tokens = tokens_with(base, TURNS + closes)
    thinks = Prompt(ASKED.messages, thinking=True)
    assert tokens.render(thinks).endswith("<think>\n")
    with pytest.raises(EngineFault, match="think block"):
        Works(tokens, 4096).next_tokens([NextToken(thinks, ("A", "B"))])


def test_a_plain_text_prompt_that_ends_in_a_think_block_refuses_labels(base: Any) -> None:
    tokens = tokens_with(base, CHATML)
    prompt = Prompt(text="<|im_start|>assistant\n<think>\n")
    with pytest.raises(EngineFault, match="think block"):
        Works(tokens, 4096).next_tokens([NextToken(prompt, ("A", "B"))])


def test_a_likelihood_inside_a_think_block_is_refused(base: Any) -> None:
    tokens = tokens_with(base, CHATML)
    prompt = Prompt(text="<|im_start|>assistant\n<think>\n")
    with pytest.raises(EngineFault, match="think block"):
        Works(tokens, 4096).likelihoods([Likelihood(prompt, " a query")])


def test_a_think_tag_in_a_document_is_no_think_block(base: Any) -> None:
    tokens = tokens_with(base, CHATML)
    prompt = Prompt((Message("user", "The tag <think> opens a block. Is it? Yes or No."),))
    assert tokens.prompts([prompt])[0].open_block is None
    assert tokens.render(prompt).endswith("<|im_start|>assistant\n")


def test_a_system_message_that_the_template_drops_goes_ahead_of_the_user(base: Any) -> None:
    dropping = (
        "{% for m in messages if m.role != 'system' %}<|im_start|>{{ m.role }}\n{{ m.content }}"
        "<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
    )
    for question in ("Is it? Yes or No.", "Judge. Is it?"):
        asked = Prompt((Message("system", "Judge."), Message("user", question)))
        text = tokens_with(base, dropping).render(asked)
        assert f"<|im_start|>user\nJudge.\n\n{question}<|im_end|>" in text


def test_a_template_that_drops_more_than_the_system_message_is_refused(base: Any) -> None:
    last_only = "<|im_start|>user\n{{ messages[-1].content }}<|im_end|>\n<|im_start|>assistant\n"
    tokens = tokens_with(base, last_only)
    several = (Message("user", "First."), Message("assistant", "Yes."), Message("user", "Last."))
    with pytest.raises(EngineFault, match="drops or changes the text of the user message"):
        tokens.render(Prompt(several))


def test_a_template_that_changes_a_text_is_refused(base: Any) -> None:
    loud = TURNS.replace("m.content", "m.content | upper") + "<|im_start|>assistant\n"
    with pytest.raises(EngineFault, match="drops or changes"):
        tokens_with(base, loud).render(ASKED)


def mistral() -> PreTrainedTokenizerFast:
    """A tokenizer like Llama's and Mistral's: a space is part of the word behind it."""
    words = ["<unk>", "[INST]", "[/INST]", "[", "▁[", "A", "B", "▁A", "▁B", "▁"]
    letters = sorted({*"abcdefghijklmnopqrstuvwxyzISYN?.>]", "question", "answer"})
    vocabulary = {word: number for number, word in enumerate([*words, *letters])}
    merges = [("▁", "["), ("▁", "A"), ("▁", "B")]
    backend = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>"))  # noqa: S106
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.decoder = decoders.Replace("▁", " ")
    backend.add_special_tokens(["[INST]", "[/INST]"])
    found = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")  # noqa: S106
    found.chat_template = (
        "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
        "{% else %} {{ m.content }}{% endif %}{% endfor %}"
    )
    return found


def test_an_answer_begins_as_the_template_begins_it_so_the_label_is_the_token_emitted() -> None:
    tokens = Tokens(mistral(), name="mistral")
    asked = Prompt((Message("user", "is it"),))
    (work,) = Works(tokens, 512).next_tokens([NextToken(asked, ("A", "B"))]).works
    found = tokens.tokenizer.convert_ids_to_tokens(list(work.request.values()))
    assert found == ["▁A", "▁B"]


def test_a_prefilled_bracket_is_the_one_that_the_model_would_write_itself() -> None:
    tokens = Tokens(mistral(), name="mistral")
    begun = Prompt((Message("user", "is it"),), prefill="[")
    (work,) = Works(tokens, 512).next_tokens([NextToken(begun, ("A", "B"))]).works
    assert tokens.tokenizer.convert_ids_to_tokens(work.ids[-1]) == "▁["
    assert tokens.tokenizer.convert_ids_to_tokens(list(work.request.values())) == ["A", "B"]


def test_a_template_that_puts_nothing_between_prompt_and_answer_has_no_lead(base: Any) -> None:
    base.chat_template = CHATML
    assert ChatTemplate(base, name="tiny").answer_lead == ""


def test_no_token_spans_a_joint_of_the_mxbai_prompt(base: Any) -> None:
    base.chat_template = CHATML
    joined = json.loads(base.backend_tokenizer.to_str())
    joined["model"]["vocab"]["?Ċ"] = len(base)
    joined["model"]["merges"].insert(0, ["?", "Ċ"])
    joined["pre_tokenizer"]["use_regex"] = False
    backend = Tokenizer.from_str(json.dumps(joined))
    tokens = Tokens(PreTrainedTokenizerFast(tokenizer_object=backend), name="merging")
    prompt = load_template("mxbai-rerank-v2").fill(query="Why?", document="So.")
    (rendered,) = tokens.prompts([prompt])
    (whole,) = tokens.prompts([Prompt(text=prompt.text)])
    assert tokens.tokenizer.convert_tokens_to_ids("?Ċ") in whole.ids
    assert tokens.tokenizer.convert_tokens_to_ids("?Ċ") not in rendered.ids
    assert tokens.tokenizer.decode(rendered.ids) == prompt.text


def test_a_text_that_holds_control_characters_makes_no_joint(tmp_path: Path) -> None:
    file = tmp_path / "joined.toml"
    file.write_text(
        "source = 'ours'\nlicence = 'CC0-1.0'\nchanges = 'none'\n"
        "text = '{{ query }}{{ joint }}{{ document }}'\n"
    )
    filled = load_template(str(file)).fill(query="\0a\0", document="\0b")
    assert (filled.text, filled.joints) == ("\0a\0\0b", (3,))
