"""The think blocks of reasoning models: which markers open and close one.

A label that is read, or an answer that is parsed, inside a think block is not a judgement. The
markers come from the chat templates of the models named in comments.
"""

from __future__ import annotations

import re

_FINAL = "<|end|><|start|>assistant<|channel|>final<|message|>"

BLOCKS: tuple[tuple[str, str], ...] = (
    ("<think>", "</think>"),  # Qwen3, DeepSeek-R1, SmolLM3, GLM-4.5, Nemotron
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<analysis>", "</analysis>"),
    ("<scratchpad>", "</scratchpad>"),
    ("<seed:think>", "</seed:think>"),  # Seed-OSS
    ("<longcat_think>", "</longcat_think>"),  # LongCat-Flash
    ("◁think▷", "◁/think▷"),  # Kimi-VL
    ("[THINK]", "[/THINK]"),  # Magistral
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A Reasoning
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|channel>thought", "<channel|>"),  # Gemma 4
    ("<unused94>thought", "<unused95>"),  # MedGemma
    *((f"<|channel|>{name}<|message|>", _FINAL) for name in ("analysis", "commentary")),
    *((f"<|channel|>{name}", f"<|message|>{_FINAL}") for name in ("analysis", "commentary")),
)
"""Opening and closing marker of each kind of think block; the last four are of gpt-oss's harmony
format. A longer marker comes before its beginning. Upper and lower case are the same."""

HARMONY_ANSWER = "<|channel|>final<|message|>"
"""What begins an answer in gpt-oss's harmony format, where the prompt leaves the channel open."""

_TAGS = re.compile("|".join(re.escape(m) for pair in BLOCKS for m in pair), re.IGNORECASE)
_CLOSERS = {opener.lower(): closer for opener, closer in BLOCKS}
_BLANK = "\n\n"  # what Qwen3's template puts into a block that it leaves empty


def open_marker(text: str) -> str | None:
    """Return the marker of a think block that `text` opens and does not close, else None."""
    last = None
    for match in _TAGS.finditer(text):
        last = match.group() if match.group().lower() in _CLOSERS else None
    return last


def closing(text: str, marker: str) -> str:
    """Return what closes the block that `marker` opens at the end of `text`, as empty as can be."""
    closer = _CLOSERS[marker.lower()]
    if "channel" in marker:
        return closer
    written = text.rpartition(marker)[2]
    return f"{_BLANK.removeprefix(written) if written in ('', _BLANK[0]) else ''}{closer}{_BLANK}"


def answer_after_thoughts(text: str) -> str:
    """Return what follows the last think block of a generated text; nothing where one is open.

    Some chat templates open the block themselves, so that `text` shows only its end.
    """
    tags = list(_TAGS.finditer(text))
    if not tags:
        return text
    return "" if tags[-1].group().lower() in _CLOSERS else text[tags[-1].end() :]


def thoughts(text: str) -> list[str]:
    """Return what is in the think blocks of a generated text, the last perhaps left open."""
    found, start = [], None
    for match in _TAGS.finditer(text):
        if match.group().lower() in _CLOSERS:
            start = match.end() if start is None else start
        elif start is not None:
            found.append(text[start : match.start()])
            start = None
    return found if start is None else [*found, text[start:]]
