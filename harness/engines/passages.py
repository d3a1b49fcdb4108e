"""Requests that hold several passages, as token ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import EngineFault
from ..types import PASSAGES, Attend, Fuse, FuseScore, Prompt
from .tokens import Tokens


@dataclass(frozen=True, slots=True)
class Parts:
    """The token ids of an `Attend` request.

    before: what is read once, in parts. passages: which of those parts are the passages.
    ends: what is read after it for each prompt.
    """

    before: Sequence[Sequence[int]]
    passages: Sequence[int]
    ends: Sequence[Sequence[int]]


def parts_of(request: Attend, tokens: Tokens) -> Parts:
    """Tokenise what is before the passages, each passage, and what is after them, apart.

    Raises EngineFault for prompts that differ before the passages, or hold no place for them.
    """
    heads, ends = zip(*(_halves(prompt, tokens) for prompt in request.prompts), strict=True)
    if len(set(heads)) > 1:
        raise EngineFault("the prompts of a request for attention differ before the passages")
    texts = [heads[0], request.separator, *ends, *request.passages]
    head, separator, *rest = tokens.encode(texts)
    if not tokens.templated(request.prompts[0]):
        head = tokens.framed(head, closed=False)
    before = [head]
    for passage in rest[len(ends) :]:
        before += [separator, passage]
    places = range(2, len(before), 2)
    return Parts([*before, separator], places, rest[: len(ends)])


def _halves(prompt: Prompt, tokens: Tokens) -> tuple[str, str]:
    head, found, end = tokens.render(prompt).partition(PASSAGES)
    if not found or not end:
        raise EngineFault("a prompt for attention needs passages, and an end behind them")
    return head, end


def rows_of(request: Fuse | FuseScore, tokens: Tokens) -> list[list[int]]:
    """Tokenise each prompt as a finished sequence.

    Raises EngineFault where there is no prompt, or one has a prefill, which nothing reads.
    """
    if not request.prompts or any(prompt.prefill for prompt in request.prompts):
        raise EngineFault("a request for fusion needs prompts, and none of them with a prefill")
    return [prompt.ids for prompt in tokens.prompts(request.prompts, closed=True)]


def require_markers(rows: Sequence[Sequence[int]], views: int, tokens: Tokens) -> None:
    """Raise EngineFault where the first `views` tokens of a row are not special tokens."""
    known = tokens.tokenizer.added_tokens_decoder.keys()
    for row in rows:
        if not known >= set(row[:views]) or len(row) <= views:
            raise EngineFault(
                f"a prompt with {views} views must begin with as many special tokens of "
                f"{tokens.name}, such as <extra_id_0>, and a text behind them"
            )
