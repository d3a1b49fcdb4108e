"""Which columns of a table are read, and what is done about the others: none is passed over.

A column that looks like part of a text, like a grade or like a rank and is not read would change
every number without a word, so it is refused; all others are named in a note.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ..errors import BadData
from .lines import is_number
from .tables import Table


def _leaves(value: object) -> Iterator[object]:
    """Yield the values in a cell and its lists and dicts, but for None, NaN and blank strings.

    Data sets fill unused columns with these, or with an empty list or dict.
    """
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            left.extend(item.values())
        elif isinstance(item, list | tuple):
            left.extend(item)
        elif item is not None and item == item and str(item).strip():
            yield item


def _holds(value: object) -> bool:
    return any(True for _ in _leaves(value))


def _holds_words(value: object) -> bool:
    return any(isinstance(leaf, str) for leaf in _leaves(value))


@dataclass(frozen=True, slots=True)
class Kind:
    """What is read of one kind of table.

    `needed`, `optional`: the columns' names. `refused`: what is found in the words of other names
    that may not stay unread, None for all, where `cell` says that a cell holds what they promise.
    `cure`: what to do about them.
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
# `text_id` and `title_url` are about a text
_NO_TEXT = r"(?!.* (ids?|type|url|uri|link|lang|language|source|category|date|hash|path|key)$)"
_DOCUMENT = re.compile(
    rf"\b({_TEXT}|subtitle|section|paragraphs?|abstract|summary|answers?|document|article|chunk|"
    rf"sentences?|snippet|caption|code|docstring|keywords)\b{_NO_TEXT}"
)
_QUERY = re.compile(rf"\b({_TEXT}|instructions?|prompt|narrative|history|conversation)\b{_NO_TEXT}")
_GRADE = re.compile(
    r"\b(relevances?|relevancy|relevant|rels?|labels?|grades?|ratings?|scores?|gains?|"
    r"judge?ments?|qrels?|levels?|positives?|negatives?)\b"
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
        if _is_refused(name, table, rules) or (kind == "qrels" and _may_grade(name, table)):
            cure = f"{rules.cure}, or pass --ignore-column {name}"
            raise BadData(f"{table.where}: column {name!r} is not read; {cure}")
    return found


def _is_refused(name: str, table: Table, rules: Kind) -> bool:
    named = rules.refused is None or rules.refused.search(_words(name))
    return bool(named) and any(map(rules.cell, table.columns[name]))


def _may_grade(name: str, table: Table) -> bool:
    """Say whether a column holds several numbers where no column of grades is read."""
    leaves = (leaf for value in table.columns[name] for leaf in _leaves(value))
    numbers = {float(str(leaf)) for leaf in leaves if is_number(str(leaf))}
    return "score" not in table.columns and len(numbers) > 1


def _words(name: str) -> str:
    """Return `doc title` for `doc_title`, `docTitle` and `Doc-Title2`."""
    return " ".join(re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)).lower()
