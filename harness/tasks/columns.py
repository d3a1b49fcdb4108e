"""Which columns of a table are read, and what is done about the others: none is passed over.

A column that looks like part of a text, like a grade or like a rank and is not read would change
every number without a word, so it is refused; all others are named in a note.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..errors import BadData
from .tables import Table


def _holds(value: object) -> bool:
    """Say whether a cell holds anything: data sets fill unused columns with None, "" or {}."""
    if isinstance(value, dict):
        return any(map(_holds, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds, value))
    if isinstance(value, str):
        return bool(value.strip())
    return value is not None and value == value


def _holds_words(value: object) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_holds_words, value))
    return isinstance(value, str) and bool(value.strip())


@dataclass(frozen=True, slots=True)
class Kind:
    """What is read of one kind of table.

    `needed`, `optional`: the columns' names. `refused`: the last word of other names that may not
    stay unread, None for all, where `cell` says that a cell holds what they promise. `cure`: what
    to do about them.
    """

    needed: tuple[str, ...]
    optional: tuple[str, ...]
    refused: re.Pattern[str] | None
    cure: str
    cell: Callable[[object], bool] = _holds


_TEXT = (
    "titles?|headings?|headline|body|contents?|texts?|context|passages?|questions?|query|"
    "description"
)
_DOCUMENT = re.compile(
    rf"{_TEXT}|subtitle|section|paragraphs?|abstract|summary|answers?|document|article|chunk|"
    "sentences?|snippet|caption|code|docstring|keywords"
)
_QUERY = re.compile(rf"{_TEXT}|instructions?|prompt|narrative|history|conversation")
_GRADE = re.compile(
    "relevances?|relevancy|relevant|rels?|labels?|grades?|ratings?|scores?|gains?|judge?ments?|qrels?"
)

KINDS: Mapping[str, Kind] = {
    "corpus": Kind(
        ("_id", "text"),
        ("title",),
        _DOCUMENT,
        "it looks like text: join it to 'text', or rename it to 'title'",
        _holds_words,
    ),
    "queries": Kind(
        ("_id", "text"),
        ("language", "base"),
        _QUERY,
        "it looks like text: join it to 'text'",
        _holds_words,
    ),
    "qrels": Kind(
        ("query-id", "corpus-id"), ("score",), _GRADE, "it looks like grades: rename it to 'score'"
    ),
    "candidates": Kind(
        ("query-id", "corpus-ids"), (), None, "a list stands in its own order, best first"
    ),
}


def unread(table: Table, kind: str) -> list[str]:
    """Return the columns that hold something and are not read.

    Raises BadData where a needed one is missing, and at one that looks like content, a grade or a
    rank.
    """
    rules = KINDS[kind]
    for name in rules.needed:
        table.column(name)
    found = [
        name
        for name, values in table.columns.items()
        if name not in {*rules.needed, *rules.optional} and any(map(_holds, values))
    ]
    for name in found:
        if _is_refused(name, table, rules):
            cure = f"{rules.cure}, or pass --ignore-column {name}"
            raise BadData(f"{table.where}: column {name!r} is not read; {cure}")
    return found


def _is_refused(name: str, table: Table, rules: Kind) -> bool:
    named = rules.refused is None or rules.refused.fullmatch(_last_word(name))
    return bool(named) and any(map(rules.cell, table.columns[name]))


def _last_word(name: str) -> str:
    """Return `title` for `doc_title`, `docTitle` and `Title`."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)
    return words[-1].lower() if words else ""
