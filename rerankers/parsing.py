"""Reading a permutation out of what a language model wrote, strictly.

Only bracketed identifiers count. Digits of prose are not a ranking, neither is anything a model
says while it thinks: peers that take every number for an identifier turn "the top 10 passages are"
into a vote for passage 10.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

_IDENTIFIER = re.compile(r"\[\s*(\w+)\s*\]")
_CHAIN = re.compile(r"\[\s*\w+\s*\](?:[^\w\[\]]*\[\s*\w+\s*\])*")


@dataclass(frozen=True)
class Permutation:
    """Places of a window, best first: all of them, each once.

    `repaired`: something was missing, repeated or unknown. `unparsable`: nothing could be used, so
    the places stand in the order they had.
    """

    places: tuple[int, ...]
    repaired: bool = False
    unparsable: bool = False


def read_permutation(text: str, identifiers: Mapping[str, int]) -> Permutation:
    """Read a ranking such as `[3] > [1] > [2]`; `identifiers` maps each name to its place.

    Text before `</think>` is dropped, and where a think block has no end nothing is an answer.
    Unknown and repeated identifiers are left out, missing ones follow in the window's own order.
    """
    answer = _answer(text)
    named = [_plain(name) for name in _IDENTIFIER.findall(_longest_chain(answer))]
    known = [identifiers[name] for name in named if name in identifiers]
    if not known:
        return Permutation(tuple(identifiers.values()), unparsable=True)
    places = list(dict.fromkeys(known))
    missing = [place for place in identifiers.values() if place not in set(places)]
    repaired = bool(missing) or len(places) != len(_IDENTIFIER.findall(answer))
    return Permutation((*places, *missing), repaired=repaired)


def _answer(text: str) -> str:
    said = text.rpartition("</think>")[2]
    return "" if "<think>" in said else said


def _longest_chain(text: str) -> str:
    """The longest run of identifiers with no word between them, the last if two are as long.

    An answer may speak of `[3]` before it ranks. Where no two stand together, as in a list of
    passages that are quoted, every identifier counts.
    """
    chains = [chain.group() for chain in _CHAIN.finditer(text)]
    longest = max(reversed(chains), key=lambda chain: chain.count("["), default="")
    return longest if longest.count("[") > 1 else text


def _plain(name: str) -> str:
    """Write an identifier as the prompt did: plain digits without leading zeros, or upper case."""
    digits = [unicodedata.digit(character, -1) for character in name]
    if min(digits) >= 0:
        # Not through int(), which refuses digits by the thousand, as a model in a loop writes them.
        return "".join(map(str, digits)).lstrip("0")
    return name.upper()
