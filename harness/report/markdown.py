"""Tables as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..evaluation import Evaluation
from .tables import Table, glossary, tables
from .text import plain

_SPECIAL = re.compile(r"([\\`*_\[\]|~])")


def to_markdown(found: Evaluation) -> str:
    """Return all tables of a report as Markdown, and under them what the columns mean."""
    words = [f"* **{escape(label)}**: {escape(text)}" for label, text in glossary()]
    return "\n\n".join([*(_table(table) for table in tables(found)), "\n".join(words)]) + "\n"


def escape(text: str) -> str:
    """Return `text` as Markdown that shows just it: one line, no markup, no HTML."""
    shown = _SPECIAL.sub(r"\\\1", plain(text))
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _table(table: Table) -> str:
    rule = [":--" if i < table.names else "--:" for i in range(len(table.columns))]
    lines = [
        _line(escape(name) for name in table.columns),
        _line(rule),
        *(_line(_cells(row, table.names)) for row in table.rows),
    ]
    lead = [escape(table.lead)] if table.lead else []
    parts = [f"### {escape(table.title)}", *lead, "\n".join(lines), *map(escape, table.notes)]
    return "\n\n".join(parts)


def _cells(row: tuple[str, ...], names: int) -> list[str]:
    """Names come from data and are escaped; numbers are ours and stay readable in the source."""
    return [escape(cell) if i < names else cell for i, cell in enumerate(row)]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
