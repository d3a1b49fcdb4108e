"""Reading a permutation, or the labels of a choice, out of what a language model wrote, strictly.

Only identifiers in brackets count: one (`[2]`, `[Passage 2]`) or a list of them (`[2, 1, 3]`), in
brackets of any width, escaped or in bold. Digits of prose are not a ranking, neither is anything a
model says while it thinks: peers that take every number for an identifier turn "the top 10 passages
are" into a vote for passage 10.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace

from rerank_bench import answer_after_thoughts

_NOUN = r"(?:(?:passage|document|doc|id)[\s:#.]+)?"
_LISTED = rf"{_NOUN}(?:\d+|[a-z])"  # of several in one bracket none is a word: `[first, 10]`
_BRACKET = rf"\[\s*(?:{_LISTED}(?:\s*[,>;]\s*{_LISTED})+|{_NOUN}\w+)\s*\]"
_BRACKETS = re.compile(_BRACKET, re.IGNORECASE)
_CHAIN = re.compile(rf"{_BRACKET}(?:[^\w\[\]]*{_BRACKET})*", re.IGNORECASE)
_NAME = re.compile(r"\w+(?=\s*[,>;\]])")
_CALLED = re.compile(r"(?i:passage|document)[\s:#]*(\d+|[A-Z])(?!\w)")
_NUMBER = re.compile(r"\d+")
_NO_WORDS = re.compile(r"[\W\d]*")
_ALONE = re.compile(r"\W*(\w+)\W*")
_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.IGNORECASE | re.DOTALL)
_MARKS = str.maketrans("【】［］〔〕", "[][][]", "\\*`\"'“”")
"""Brackets of other widths are brackets; escapes, bold type and quotation marks say nothing."""


@dataclass(frozen=True)
class Permutation:
    """Places of a window, best first: all of them, each once.

    `repaired`: something was missing, repeated or unknown. `unparsable`: nothing could be used, so
    the places stand in the order they had.
    """

    places: tuple[int, ...]
    repaired: bool = False
    unparsable: bool = False


class PermutationReader:
    """The permutations that were read from the replies of one query's requests, in order.

    bare: read an answer without words, such as `3 1 2`, for the numbers in it, as a repair; for
        models that write nothing else.
    """

    def __init__(self, *, bare: bool = False) -> None:
        self._bare = bare
        self._read: list[Permutation] = []

    def read(self, text: str, count: int) -> tuple[int, ...]:
        """Read an answer about `count` passages, numbered from 1; return their places."""
        identifiers = {str(n + 1): n for n in range(count)}
        found = read_permutation(text, identifiers)
        if self._bare and (found.repaired or found.unparsable) and _NO_WORDS.fullmatch(text):
            bracketed = " ".join(f"[{number}]" for number in _NUMBER.findall(text))
            numbers = read_permutation(bracketed, identifiers)
            found = found if numbers.unparsable else replace(numbers, repaired=True)
        self._read.append(found)
        return found.places

    @property
    def counts(self) -> dict[str, int]:
        """How many answers were repaired, and how many were unparsable."""
        return {
            "repaired": sum(answer.repaired for answer in self._read),
            "unparsable": sum(answer.unparsable for answer in self._read),
        }

    @property
    def repairs(self) -> list[int]:
        """The numbers of the requests whose answers were repaired or unparsable."""
        return [i for i, answer in enumerate(self._read) if answer.repaired or answer.unparsable]


def read_permutation(text: str, identifiers: Mapping[str, int]) -> Permutation:
    """Read a ranking such as `[3] > [1] > [2]` or `[3, 1, 2]`; `identifiers` maps name to place.

    Think blocks are dropped, and where one has no end nothing is an answer.
    Unknown and repeated identifiers are left out, missing ones follow in the window's own order.
    """
    answer = _plain_marks(answer_after_thoughts(text))
    everything = _names(answer)
    named = map(_plain, _longest_chain(answer) or everything)
    known = [identifiers[name] for name in named if name in identifiers]
    if not known:
        return Permutation(tuple(identifiers.values()), unparsable=True)
    places = list(dict.fromkeys(known))
    missing = [place for place in identifiers.values() if place not in set(places)]
    repaired = bool(missing) or len(places) != len(everything)
    return Permutation((*places, *missing), repaired=repaired)


def read_labels(text: str, identifiers: Mapping[str, int]) -> tuple[int, ...]:
    """Return the places of the passages that an answer names, in its order, each once.

    A label counts in brackets (`[2]`), after its noun (`Passage B`), or where it is the only word;
    `identifiers` maps label to place. An answer without labels, or with one that is unknown, names
    none: text that speaks of passages which are not there is not a choice.
    """
    answer = _plain_marks(answer_after_thoughts(text))
    named = _names(answer) or _CALLED.findall(answer) or _only_word(answer)
    labels = list(dict.fromkeys(_plain(label) for label in named))
    known = all(label in identifiers for label in labels)
    return tuple(identifiers[label] for label in labels) if known else ()


def tagged_answer(text: str) -> str:
    """Return what stands between `<answer>` and `</answer>` after the thoughts of a text.

    Nothing where there are no such tags, or several that say different things.
    """
    answers = {found.strip() for found in _TAGGED.findall(answer_after_thoughts(text))}
    return answers.pop() if len(answers) == 1 else ""


def _names(text: str) -> list[str]:
    """Return the identifiers of a text, in order."""
    return [name for bracket in _BRACKETS.findall(text) for name in _NAME.findall(bracket)]


def _only_word(text: str) -> list[str]:
    """Return the only word of a text, or nothing where there are more."""
    word = _ALONE.fullmatch(text)
    return [word.group(1)] if word else []


def _longest_chain(text: str) -> list[str]:
    """The longest run of identifiers with no word between them, the last if two are as long.

    An answer may speak of `[3]` before it ranks. Nothing where no two stand together, as in a list
    of passages that are quoted: then every identifier counts.
    """
    chains = [_names(chain.group()) for chain in _CHAIN.finditer(text)]
    longest = max(reversed(chains), key=len, default=[])
    return longest if len(longest) > 1 else []


def _plain_marks(text: str) -> str:
    """Write brackets and digits of any kind, such as `²` and `③`, as ASCII has them."""
    plain = text.translate(_MARKS)
    if plain.isascii():
        return plain
    return "".join(c if c.isascii() else str(unicodedata.digit(c, c)) for c in plain)


def _plain(name: str) -> str:
    """Write an identifier as the prompt did: without leading zeros, or in upper case."""
    # Not through int(), which refuses digits by the thousand, as a model in a loop writes them.
    return name.lstrip("0") if name.isdecimal() else name.upper()
