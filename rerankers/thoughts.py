"""Thoughts that a model writes before something is read from it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

from rerank_bench import BadOption, Generate, Prompt, ask, load_template

OPEN, CLOSE = "<think>", "</think>"
_SENTENCE_ENDS = ".!?"


def check_opens(method: str, prompt: str) -> None:
    """Raise BadOption, naming `method`, for a prompt that does not end in `<think>`."""
    template = load_template(prompt)
    if not ((template.text or "") + template.prefill).rstrip().endswith(OPEN):
        raise BadOption(
            f"{method}: thought_tokens needs a prompt that opens the thoughts; prompt {prompt} "
            f"does not end in {OPEN}"
        )


def reasoned(
    prompts: Sequence[Prompt], max_tokens: int
) -> Generator[Sequence[Any], Sequence[Any], tuple[list[Prompt], list[int]]]:
    """Let a model write after each prompt until its thoughts end; return the prompts with them.

    Also returns which ones were cut off at `max_tokens`. These are closed after their last whole
    sentence, as in the code of Rank1 (Weller et al. 2025, arXiv:2502.18418).
    """
    asked = [Generate(prompt, max_tokens, stop=(CLOSE,)) for prompt in prompts]
    replies = yield from ask(asked)
    cut = [place for place, reply in enumerate(replies) if not reply.finished]
    found = [
        _closed(prompt, reply.text if reply.finished else f"\n{_whole_sentences(reply.text)}\n")
        for prompt, reply in zip(prompts, replies, strict=True)
    ]
    return found, cut


def _closed(prompt: Prompt, thoughts: str) -> Prompt:
    return replace(prompt, prefill=f"{prompt.prefill}{thoughts}{CLOSE}")


def _whole_sentences(text: str) -> str:
    """Cut a text after its last sentence; one without the end of a sentence is left whole."""
    end = max(map(text.rfind, _SENTENCE_ENDS))
    return text[: end + 1 if end >= 0 else None].strip()
