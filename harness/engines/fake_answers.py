"""What the engine `fake` makes of a prompt: its query, its passages and the answer it asks for.

A passage is one line that begins with its name: `[1] text`, `Passage A: text`, `Document 3: text`;
`Document0: text` may stand within a line. The query follows the word `query`, or `A:`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from ..types import Prompt

_WORD = re.compile(r"\w+")
_PASSAGE = re.compile(
    r"(?:^(?P<bracket>\[\w+\])[.:]?|(?P<noun>^(?:Passage|Document) \w+|\bDocument\d+):)[ ]?"
    r"(?P<text>.*?)(?=\bDocument\d+:|$)",
    re.MULTILINE,
)
_QUERY = re.compile(
    r"(?:(?i:\bquery)(?: is)?|^A)"
    r'(?::?\s*"(?P<quoted>[^"\n]+)"|(?::|>:?)\s*(?P<plain>.+?)(?=\W+[A-Z]\w*:|$))',
    re.MULTILINE,
)
_HIGHEST = re.compile(r"(?i:score|scale|rat(?:e|ing))[^.\n]*?\b0 to (\d+)")
_SCORES = re.compile(r'\{"\[\w+\]":')
_PICKS = re.compile(r"\btop (\d+) (?:documents|passages)\b")
_RANKING = re.compile(r"\[\w*\] > \[")
_CHOICE = re.compile(r"\bmost relevant (?:one|document|passage)\b|\bmore relevant\b")


class Passage(NamedTuple):
    """A passage of a prompt: how the prompt names it, and its overlap with the query, 0 to 1."""

    name: str
    share: float

    @property
    def label(self) -> str:
        """The last word of the name, by which an answer may call it."""
        return str(_WORD.findall(self.name)[-1])


def words(text: str) -> frozenset[str]:
    """Return the different words of a text, in lower case."""
    return frozenset(_WORD.findall(text.casefold()))


def overlap_share(query: str, document: str) -> float:
    """Return the share of the query's words that occur in the document, from 0 to 1."""
    wanted = words(query)
    return len(wanted & words(document)) / len(wanted) if wanted else 0.0


def full_text(prompt: Prompt) -> str:
    """Return the text of a prompt, or of all its messages."""
    return prompt.text if prompt.text is not None else "\n".join(m.text for m in prompt.messages)


def passages(prompt: Prompt) -> list[Passage]:
    """Return the named passages of a prompt in its order; none where it shows one document.

    Where no query is found, the overlap is that of the passage with the rest of the prompt.
    """
    text = full_text(prompt)
    queries = _queries(_PASSAGE.sub("", text))
    found: dict[str, str] = {}
    for match in _PASSAGE.finditer(text):
        found.setdefault(match["bracket"] or match["noun"], match["text"])
    if queries:
        return [Passage(name, overlap_share(queries[-1], own)) for name, own in found.items()]
    rest = _PASSAGE.sub("", text)
    return [Passage(name, overlap_share(own, rest)) for name, own in found.items()]


def query_overlap(prompt: Prompt) -> float:
    """Return the overlap of a prompt's query with the rest of it, from 0 to 1.

    Where no query is found, it is the overlap of the other lines with the longest one.
    """
    text = full_text(prompt)
    queries = _queries(text)
    if queries:
        return overlap_share(queries[0], text.replace(queries[0], " "))
    lines = [line for line in text.splitlines() if line.strip()]
    longest = max(lines, key=len, default="")
    return overlap_share("\n".join(line for line in lines if line is not longest), longest)


def _queries(text: str) -> list[str]:
    return [match["quoted"] or match["plain"] for match in _QUERY.finditer(text)]


def answer_text(prompt: Prompt) -> str:
    """Return the answer to a prompt in the form that its own words ask for.

    With passages these are scores as JSON, the best few, the best one, the best and the worst, or
    else a ranking; without, an integer. It stands in `<answer>` tags where the prompt names them.
    """
    asked = _PASSAGE.sub("", full_text(prompt))
    found = passages(prompt)
    text = _of_passages(found, asked) if found else _integer(query_overlap(prompt), asked)
    return f"<answer>{text}</answer>" if "<answer>" in asked else text


def _integer(share: float, asked: str) -> str:
    highest = _HIGHEST.search(asked)
    return str(round(share * int(highest[1] if highest else 10)))


def _of_passages(found: Sequence[Passage], asked: str) -> str:
    if _SCORES.search(asked):
        return json.dumps({passage.name: round(10 * passage.share) for passage in found})
    names = [passage.name for passage in sorted(found, key=lambda passage: -passage.share)]
    if picks := _PICKS.search(asked):
        return ", ".join(names[: int(picks[1])])
    if not _RANKING.search(asked) and _CHOICE.search(asked):
        return names[0]
    return " > ".join([names[0], names[-1]] if re.search(r"\bworst\b", asked) else names)
