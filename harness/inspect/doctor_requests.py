"""The fixed requests of `doctor`: lengths around block edges, duplicates, shared beginnings.

Texts are seeded random words, cut by an engine's own `fit` so that each has a known number of
tokens; they are the same wherever the tokenizer is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import EngineFault
from ..types import Fitted, Generate, Likelihood, NextToken, PairScore, Prompt

Fit = Callable[[Sequence[str], int | None], list[Fitted]]

LETTERS = tuple("ABCDEFGHIJKLMNOPQRST")
"""The labels: letters, most of them improbable behind a text that asks for none."""

LABEL_IDS = tuple(range(300, 500, 10))
"""What takes the letters' place where a tokenizer does not make each a token of its own."""

SPARES: Mapping[str, set[str]] = {
    "pairs": {"labels", "labels by id", "likelihoods", "texts"},
    "labels": {"labels by id"},
}
"""Section -> those that need not be asked of a model that answers it."""

HEAD = 70  # tokens of a shared beginning: two blocks of 32 and a part of the third
QUERY = 8
_EDGES = (32, 48, 96, 128, 144, 256, 384, 512)  # multiples of 16, of 32 and of 128
_BETWEEN = (17, 24, 75, 200, 300, 450, 600)
_LONGEST_PAIR = 512  # what most cross-encoders end at


@dataclass(frozen=True)
class _Sizes:
    """Tokens of the texts: each once, some `twice`, some `with_head`; those of other kinds."""

    plain: tuple[int, ...]
    twice: tuple[int, ...]
    with_head: tuple[int, ...]
    likelihoods: tuple[int, ...]
    texts: tuple[int, ...]


_ALL = _Sizes(
    plain=tuple(sorted([*_BETWEEN, *(edge + step for edge in _EDGES for step in (-1, 0, 1))])),
    twice=(33, 128, 257),
    with_head=(80, 96, 129, 160, 200, 257),
    likelihoods=(17, 33, 64, 100, 129, 200),
    texts=(20, 33, 64, 128),
)
# One of each kind, and as short as can be: their tokens are the time that a CPU takes.
_QUICK = _Sizes((17, 31, 32, 33, 75, 129), (33,), (80, 96), (17, 64), (20,))
_WRITTEN = 16
_ATTEMPTS = 50
_LONGEST_END = 8  # tokens that the end of a text may take
_WORDS = """
river stone bread window garden letter winter market yellow number animal silver paper corner engine
planet music bridge forest doctor summer table kitchen mountain island village station water small
green seven north early under people always before during carry write open close bring follow answer
become travel measure the a of and in to is that with for as was on by
""".split()  # noqa: SIM905 - a text to read


@dataclass(frozen=True)
class Asked:
    """One section's requests. `sizes` orders them by length, in tokens; `once`: ask them once."""

    requests: tuple[Any, ...]
    sizes: tuple[int, ...]
    once: bool = False


def sections(fit: Fit, *, quick: bool = False) -> dict[str, Asked]:
    """Make the requests of every kind, by section; the sizes of `labels` are a text's tokens.

    `quick` makes few and short ones: nine label requests of 526 tokens in place of 40 of 7,806.
    """
    wanted = _QUICK if quick else _ALL
    texts = _texts(fit, wanted)
    sizes = tuple(size for size, _ in texts)
    prompts = [Prompt(text=text) for _, text in texts]
    return {
        "pairs": _pairs(fit, wanted),
        "labels": Asked(tuple(NextToken(p, LETTERS) for p in prompts), sizes),
        "labels by id": Asked(tuple(NextToken(p, LABEL_IDS) for p in prompts), sizes),
        "likelihoods": _likelihoods(fit, wanted.likelihoods),
        "texts": _generations(fit, wanted.texts),
    }


def _texts(fit: Fit, wanted: _Sizes) -> list[tuple[int, str]]:
    plain = {size: _exactly(fit, size, seed="plain") for size in (*wanted.plain, *wanted.twice)}
    head = _exactly(fit, HEAD, seed="head", end="")
    shared = [(n, _exactly(fit, n, seed="tail", start=f"{head} ")) for n in wanted.with_head]
    twins = [(size, plain[size]) for size in wanted.twice]
    return [*plain.items(), *twins, *shared]


def _pairs(fit: Fit, wanted: _Sizes) -> Asked:
    """Queries with documents of which every other one begins with the query."""
    sizes = [n for n in (*wanted.plain, *wanted.twice) if n <= _LONGEST_PAIR]
    queries = [_exactly(fit, QUERY, seed=f"query {i}", end="") for i in range(4)]
    pairs = {}
    for place, size in enumerate(sorted(set(sizes))):
        query = queries[place // 2 % 4]
        start = f"{query} " if place % 2 else ""
        pairs[size] = PairScore(query, _exactly(fit, size, seed="document", start=start, end=""))
    order = [*pairs, *wanted.twice]
    return Asked(tuple(pairs[size] for size in order), tuple(order))


def _likelihoods(fit: Fit, sizes: Sequence[int]) -> Asked:
    requests = [
        Likelihood(
            Prompt(text=_exactly(fit, size, seed="prompt", end="")), f" {_words(f'end {size}', 12)}"
        )
        for size in sizes
    ]
    return Asked(tuple(requests), tuple(sizes))


def _generations(fit: Fit, sizes: Sequence[int]) -> Asked:
    texts = [_exactly(fit, size, seed="write") for size in sizes]
    requests = [Generate(Prompt(text=text), max_tokens=_WRITTEN) for text in texts]
    return Asked(tuple(requests), tuple(sizes), once=True)


def _exactly(fit: Fit, size: int, *, seed: str, start: str = "", end: str = "\n") -> str:
    """A text of `size` tokens that begins with `start` and ends with `end`.

    A label behind a line's end is no part of the word before it.
    """
    for attempt in range(_ATTEMPTS):
        body = start + _words(f"{seed} {size} {attempt}", size)
        for keep in range(size, max(size - _LONGEST_END, 0), -1):
            text = fit([body], keep)[0].text + end
            if not fit([text], size)[0].truncated and fit([text], size - 1)[0].truncated:
                return text
    raise EngineFault(f"no text of {size} tokens could be made: the tokenizer counts otherwise")


def _words(seed: str, count: int) -> str:
    return " ".join(random.Random(seed).choices(_WORDS, k=count))
