"""A rendered prompt loses no message, ends outside any think block, and keeps its joints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast

from rerank_bench import EngineFault, Likelihood, Message, NextToken, Prompt, load_template
from rerank_bench.engines import Prepared, Preparer, Tokens
from rerank_bench.engines.chat import ChatTemplate

TURNS = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
ASKED = Prompt((Message("system", "Judge."), Message("user", "Is it? Yes or No.")))
CHATML = TURNS + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"


def written(text: str) -> str:
    """A template that writes `text`, whose last line break Jinja would drop."""
    return "{{ " + json.dumps(text) + " }}"


@pytest.fixture(scope="module")
def base(checkpoints: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return checkpoints.byte_pairs(tmp_path_factory.mktemp("base"), chat=CHATML)


def tokens_with(base: Any, template: str) -> Tokens:
    base.chat_template = template
    return Tokens(base, name="tiny")


def prepared(tokens: Tokens, request: Any) -> Prepared:
    (one,), _ = Preparer(tokens, 4096).prepare([(0, request)])
    return one


def labels_of(tokens: Tokens, prompt: Prompt) -> list[str]:
    """The texts of the label tokens that would be read."""
    one = prepared(tokens, NextToken(prompt, ("A", "B")))
    return [tokens.tokenizer.decode([token]) for token in one.labels.values()]


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


OPEN = "<|im_start|>assistant\n<think>\n"


@pytest.mark.parametrize(
    ("template", "request_"),
    [
        (TURNS + OPEN, NextToken(ASKED, ("A", "B"))),
        (
            TURNS + "{% if false %}</think>{% endif %}" + written(OPEN),
            NextToken(Prompt(ASKED.messages, thinking=True), ("A", "B")),
        ),
        (CHATML, NextToken(Prompt(text=OPEN), ("A", "B"))),
        (CHATML, Likelihood(Prompt(text=OPEN), " a query")),
    ],
    ids=["end not known", "thinking asked for", "plain text", "likelihood"],
)
def test_nothing_is_read_off_a_prompt_that_ends_in_a_think_block(
    base: Any, template: str, request_: Any
) -> None:
    tokens = tokens_with(base, template)
    with pytest.raises(EngineFault, match=r"tiny ends inside a think block \(<think>\)"):
        prepared(tokens, request_)


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


TURN_BY_TURN = [("user", "First."), ("assistant", "Yes."), ("user", "Last.")]


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        ("{{ messages[-1].content }}", Prompt(tuple(Message(*turn) for turn in TURN_BY_TURN))),
        (TURNS.replace("m.content", "m.content | upper"), ASKED),
    ],
    ids=["drops a turn", "changes a text"],
)
def test_a_template_that_drops_more_than_the_system_message_or_changes_a_text_is_refused(
    base: Any, template: str, prompt: Prompt
) -> None:
    tokens = tokens_with(base, template + "<|im_start|>assistant\n")
    with pytest.raises(EngineFault, match="drops or changes the text of the user message"):
        tokens.render(prompt)


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


@pytest.mark.parametrize(("prefill", "labels"), [("", ["▁A", "▁B"]), ("[", ["A", "B"])])
def test_an_answer_begins_as_the_template_begins_it_so_the_label_is_the_token_emitted(
    prefill: str, labels: list[str]
) -> None:
    tokens = Tokens(mistral(), name="mistral")
    asked = Prompt((Message("user", "is it"),), prefill=prefill)
    one = prepared(tokens, NextToken(asked, ("A", "B")))
    assert tokens.tokenizer.convert_ids_to_tokens(list(one.labels.values())) == labels
    assert tokens.tokenizer.convert_ids_to_tokens(one.ids[-1]) == ("▁[" if prefill else "[/INST]")


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
