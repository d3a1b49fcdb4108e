"""Decide which columns of a table are read, and refuse or name all others.

A column that looks like text, grades or ranks and is not read would change every result without a
message, so it is refused. Others are counted in a note.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import BadData
from .ids import is_number
from .table import Table


def _leaves(value: object) -> Iterator[object]:
    """Yield the values in a cell and its lists and dicts, without None, NaN and blank strings.

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


def _has_content(value: object) -> bool:
    return any(True for _ in _leaves(value))


def _has_text(value: object) -> bool:
    return any(isinstance(leaf, str) for leaf in _leaves(value))


@dataclass(frozen=True, slots=True)
class Rule:
    """The columns of one kind of table.

    needed, optional: the columns that are read.
    refused: what is searched in the words of other columns' names; None means any name.
    cure: what to do about a refused column.
    is_content: function that says whether a cell makes such a column matter.
    """

    needed: tuple[str, ...]
    optional: tuple[str, ...]
    refused: re.Pattern[str] | None
    cure: str
    is_content: Callable[[object], bool] = _has_content


_TEXT = (
    "titles?|headings?|headline|body|contents?|texts?|context|passages?|questions?|query|"
    "description"
)
# `text_id` and `title_url` are about a text
_NOT_TEXT = r"(?!.* (ids?|type|url|uri|link|lang|language|source|category|date|hash|path|key)$)"
_DOCUMENT = re.compile(
    rf"\b({_TEXT}|subtitle|section|paragraphs?|abstract|summary|answers?|document|article|chunk|"
    rf"sentences?|snippet|caption|code|docstring|keywords)\b{_NOT_TEXT}"
)
_QUERY = re.compile(
    rf"\b({_TEXT}|instructions?|prompt|narrative|history|conversation)\b{_NOT_TEXT}"
)
_GRADE = re.compile(
    r"\b(relevances?|relevancy|relevant|rels?|labels?|grades?|ratings?|scores?|gains?|"
    r"judge?ments?|qrels?|levels?|positives?|negatives?)\b"
)
_JOIN = "it looks like text: join it to 'text'"

RULES: Mapping[str, Rule] = {
    "corpus": Rule(
        ("_id", "text"), ("title",), _DOCUMENT, f"{_JOIN}, or rename it to 'title'", _has_text
    ),
    "queries": Rule(("_id", "text"), ("instruction", "language", "base"), _QUERY, _JOIN, _has_text),
    "qrels": Rule(
        ("query-id", "corpus-id"), ("score",), _GRADE, "it looks like grades: rename it to 'score'"
    ),
    "candidates": Rule(
        ("query-id", "corpus-ids"), (), None, "a list is read in its own order, best first"
    ),
}


def unread_columns(table: Table, kind: str) -> list[str]:
    """Return the columns that are not empty and are not read.

    Raises BadData for a needed column that is missing, and for one that must not be ignored.
    """
    rule = RULES[kind]
    for name in rule.needed:
        table.column(name)
    read = {*rule.needed, *rule.optional}
    lacks_grades = kind == "qrels" and "score" not in table.columns
    others = {name: values for name, values in table.columns.items() if name not in read}
    for name, values in others.items():
        # `doc title` for `doc_title`, `docTitle` and `Doc-Title2`
        words = " ".join(re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)).lower()
        named = rule.refused is None or rule.refused.search(words)
        is_refused = named and any(map(rule.is_content, values))
        if is_refused or (lacks_grades and _may_grade(values)):
            cure = f"{rule.cure}, or pass --ignore-column {name}"
            raise BadData(f"{table.where}: column {name!r} is not read; {cure}")
    return [name for name, values in others.items() if any(map(_has_content, values))]


def _may_grade(values: Sequence[Any]) -> bool:
    """Return whether a column holds several numbers, as grades do."""
    leaves = (str(leaf) for value in values for leaf in _leaves(value))
    return len({float(leaf) for leaf in leaves if is_number(leaf)}) > 1
