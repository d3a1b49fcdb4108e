"""Decide which columns of a table are read, and refuse or name all others.

A column that looks like text, grades or ranks and is not read would change every result without a
message, so it is refused. Others are counted in a note.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..errors import BadData
from .table import Table


def _holds(value: object, *, text_only: bool = False) -> bool:
    """Return whether a cell holds anything: data sets fill unused columns with None, "" or {}."""
    if isinstance(value, list | tuple):
        return any(_holds(item, text_only=text_only) for item in value)
    if isinstance(value, str):
        return bool(value.strip())
    if text_only:
        return False
    if isinstance(value, dict):
        return any(map(_holds, value.values()))
    return value is not None and value == value


def _holds_text(value: object) -> bool:
    return _holds(value, text_only=True)


@dataclass(frozen=True, slots=True)
class Rule:
    """The columns of one kind of table.

    needed, optional: the columns that are read.
    refused: last word of the names of other columns that are refused; None means any name.
    cure: what to do about a refused column.
    is_content: function that says whether a cell makes such a column matter.
    """

    needed: tuple[str, ...]
    optional: tuple[str, ...]
    refused: re.Pattern[str] | None
    cure: str
    is_content: Callable[[object], bool] = _holds


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
_JOIN = "it looks like text: join it to 'text'"

RULES: Mapping[str, Rule] = {
    "corpus": Rule(
        ("_id", "text"), ("title",), _DOCUMENT, f"{_JOIN}, or rename it to 'title'", _holds_text
    ),
    "queries": Rule(("_id", "text"), ("language", "base"), _QUERY, _JOIN, _holds_text),
    "qrels": Rule(
        ("query-id", "corpus-id"), ("score",), _GRADE, "it looks like grades: rename it to 'score'"
    ),
    "candidates": Rule(
        ("query-id", "corpus-ids"), (), None, "a list is read in its own order, best first"
    ),
}


def unread_columns(table: Table, kind: str) -> list[str]:
    """Return the columns that hold something and are not read.

    Raises BadData for a needed column that is missing, and for one that must not be ignored.
    """
    rule = RULES[kind]
    for name in rule.needed:
        table.column(name)
    read = {*rule.needed, *rule.optional}
    others = {name: values for name, values in table.columns.items() if name not in read}
    for name, values in others.items():
        named = rule.refused is None or rule.refused.fullmatch(_last_word(name))
        if named and any(map(rule.is_content, values)):
            cure = f"{rule.cure}, or pass --ignore-column {name}"
            raise BadData(f"{table.where}: column {name!r} is not read; {cure}")
    return [name for name, values in others.items() if any(map(_holds, values))]


def _last_word(name: str) -> str:
    """Return `title` for `doc_title`, `docTitle` and `Title`."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)
    return words[-1].lower() if words else ""
