"""Texts of queries and documents: title and text joined, missing ones empty, all encodable."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field

from ..errors import BadData
from .tables import UNREADABLE, Table


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts by id, in file order, and the ids of those in which a character was replaced."""

    by_id: dict[str, str] = field(default_factory=dict)
    replaced: list[str] = field(default_factory=list)


def readable(text: str) -> str:
    """Return `text` with U+FFFD in place of each lone surrogate and NUL.

    Tokenizers and UTF-8 files refuse the former, C libraries end a string at the latter.
    """
    return UNREADABLE.sub("\ufffd", text)


def joined(title: str, text: str) -> str:
    """Return a document's `title text`; a title or a text of white space adds nothing.

    As in the BM25 baseline of BEIR (https://github.com/beir-cellar/beir).
    """
    if not title.strip():
        return text
    return f"{title} {text}" if text.strip() else title


def corpus_texts(table: Table) -> Texts:
    """Return the documents' texts: column `text`, after column `title` where there is one."""
    return _texts(table, ("title", "text") if "title" in table.columns else ("text",))


def query_texts(table: Table, only: Container[str] | None = None) -> Texts:
    """Return the queries' texts, or those whose id is in `only`.

    A query without words is an error, for nothing can answer it.
    """
    found = _texts(table, ("text",), only)
    for query_id, text in found.by_id.items():
        if not text.strip():
            raise BadData(f"{table.where}: query {query_id!r} has no text; give it one or drop it")
    return found


def _texts(table: Table, names: Sequence[str], only: Container[str] | None = None) -> Texts:
    found = Texts()
    columns = [_strings(table, name) for name in names]
    for index, (text_id, *parts) in enumerate(zip(table.ids("_id"), *columns, strict=True)):
        if only is not None and text_id not in only:
            continue
        if text_id in found.by_id:
            where = table.place(index)
            raise BadData(f"{where}: id {text_id!r} is there twice; ids must be unique")
        raw = parts[0] if len(parts) == 1 else joined(*parts)
        text = readable(raw)
        if text != raw:
            found.replaced.append(text_id)
        found.by_id[text_id] = text
    if not found.by_id:
        raise BadData(f"{table.where} holds no rows")
    return found


def _strings(table: Table, name: str) -> list[str]:
    """Return a column of texts; None and NaN, which is how some tables write None, are empty."""
    found: list[str] = []
    for index, value in enumerate(table.column(name)):
        if value is None or value != value:
            found.append("")
        elif isinstance(value, str):
            found.append(value)
        else:
            what = f"column {name!r} holds {type(value).__name__}, not a string"
            raise BadData(f"{table.place(index)}: {what}: {str(value)[:40]}")
    return found
