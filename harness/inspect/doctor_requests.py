"""The fixed requests of `doctor`: lengths around block sizes, duplicates, shared beginnings.

Texts are seeded random words, cut by an engine's own `fit` to a known number of tokens.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..errors import EngineFault
from ..types import Fitted, Generate, Likelihood, NextToken, PairScore, Prompt

Fit = Callable[[Sequence[str], int | None], list[Fitted]]

LETTERS = tuple("ABCDEFGHIJKLMNOPQRST")
"""The labels: letters, most of them improbable after a text that asks for none."""

LABEL_IDS = tuple(range(300, 500, 10))
"""The labels for a tokenizer to which some letter is not one token."""

REPLACES: Mapping[str, set[str]] = {
    "pairs": {"labels", "labels by id", "likelihoods", "texts"},
    "labels": {"labels by id"},
}
"""Section -> the sections that are left out for an engine that answers it."""

_SHARED = 70  # tokens of a shared beginning: two blocks of 32 and a part of the third
_QUERY = 8  # tokens of a query
_LONGEST_PAIR = 512  # the context of most cross-encoders
_WRITTEN = 16  # tokens of a generation
_EDGES = (32, 48, 96, 128, 144, 256, 384, 512)  # multiples of 16, of 32 and of 128
_BETWEEN = (17, 24, 75, 200, 300, 450, 600)
_WORDS = """
river stone bread window garden letter winter market yellow number animal silver paper corner engine
planet music bridge forest doctor summer table kitchen mountain island village station water small
green seven north early under people always before during carry write open close bring follow answer
become travel measure the a of and in to is that with for as was on by
""".split()  # noqa: SIM905 - a text to read


@dataclass(frozen=True)
class _Sizes:
    """Tokens of the texts of each kind; `plain` ones are sent once, and `twice` once more."""

    plain: Sequence[int]
    twice: Sequence[int]
    shared: Sequence[int]
    likelihoods: Sequence[int]
    generations: Sequence[int]


_ALL = _Sizes(
    plain=sorted([*_BETWEEN, *(edge + step for edge in _EDGES for step in (-1, 0, 1))]),
    twice=(33, 128, 257),
    shared=(80, 96, 129, 160, 200, 257),
    likelihoods=(17, 33, 64, 100, 129, 200),
    generations=(20, 33, 64, 128),
)
_QUICK = _Sizes((17, 31, 32, 33, 75, 129), (33,), (80, 96), (17, 64), (20,))


@dataclass(frozen=True)
class RequestGroup:
    """Requests of one type. sizes: order them by length, in tokens. once: send them only once."""

    requests: Sequence[Any]
    sizes: Sequence[int]
    once: bool = False


def sections(fit: Fit, *, quick: bool = False) -> dict[str, RequestGroup]:
    """Return the requests of every type by section; the sizes of `labels` are a text's tokens.

    quick: nine label requests of 526 tokens in all, in place of 40 of 7,806.
    """
    sizes, text = _QUICK if quick else _ALL, partial(_text, fit)
    plain = {size: text(size, "plain") for size in (*sizes.plain, *sizes.twice)}
    start = text(_SHARED, "head", end="") + " "
    shared = [(size, text(size, "tail", start=start)) for size in sizes.shared]
    texts = [*plain.items(), *((size, plain[size]) for size in sizes.twice), *shared]
    prompts, lengths = [Prompt(text=body) for _, body in texts], [size for size, _ in texts]
    likelihoods = [
        Likelihood(Prompt(text=text(size, "prompt", end="")), f" {_words(f'end {size}', 12)}")
        for size in sizes.likelihoods
    ]
    generations = [
        Generate(Prompt(text=text(size, "write")), _WRITTEN) for size in sizes.generations
    ]
    return {
        "pairs": _pairs(text, sizes),
        "labels": RequestGroup([NextToken(p, LETTERS) for p in prompts], lengths),
        "labels by id": RequestGroup([NextToken(p, LABEL_IDS) for p in prompts], lengths),
        "likelihoods": RequestGroup(likelihoods, sizes.likelihoods),
        "texts": RequestGroup(generations, sizes.generations, once=True),
    }


def _pairs(text: Callable[..., str], sizes: _Sizes) -> RequestGroup:
    """Return queries with documents; every other document begins with its query."""
    queries = [text(_QUERY, f"query {i}", end="") for i in range(4)]
    pairs = {}
    for place, size in enumerate(sorted({n for n in sizes.plain if n <= _LONGEST_PAIR})):
        query = queries[place // 2 % 4]
        start = f"{query} " if place % 2 else ""
        pairs[size] = PairScore(query, text(size, "document", start=start, end=""))
    order = [*pairs, *(size for size in sizes.twice if size in pairs)]
    return RequestGroup([pairs[size] for size in order], order)


def _text(fit: Fit, size: int, seed: str, *, start: str = "", end: str = "\n") -> str:
    """Return a text of `size` tokens that begins with `start` and ends with `end`.

    A label after the end of a line is not a part of the word before it.
    """
    for attempt in range(50):
        body = start + _words(f"{seed} {size} {attempt}", size)
        for length in range(size, max(size - 8, 0), -1):  # the end may take some tokens
            (cut,) = fit([body], length)
            text = cut.text + end
            (whole,), (less,) = fit([text], size), fit([text], size - 1)
            if less.truncated and not whole.truncated:
                return text
    raise EngineFault(f"no text of {size} tokens could be made: the tokenizer counts otherwise")


def _words(seed: str, count: int) -> str:
    return " ".join(random.Random(seed).choices(_WORDS, k=count))
