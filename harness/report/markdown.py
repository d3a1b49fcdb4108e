"""Tables as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..evaluation import COLUMNS, Column, Evaluation
from .tables import ReportTable, glossary, tables
from .text import plain

_COLUMNS_HEAD = """# Columns

`make docs` writes this page from `harness/evaluation/columns.py`; change that list, not this page.
The names are those of `report --json`, `report --csv`, `export` and `load_runs(…)`, in their order.
How the numbers are made: [numbers.md](numbers.md). A mean over tasks is missing where any task has
no value; where its column is empty here, the value is computed from the means of others.
"""
_SPECIAL = re.compile(r"([\\`*_\[\]|~])")


def to_markdown(found: Evaluation, beside: Iterable[ReportTable] = ()) -> str:
    """Return all tables of a report as Markdown, those of `beside`, and what the columns mean."""
    words = [f"* **{escape(label)}**: {escape(text)}" for label, text in glossary()]
    shown = [_table(table) for table in (*tables(found), *beside)]
    return "\n\n".join([*shown, "\n".join(words)]) + "\n"


def columns_page() -> str:
    """Return the page `docs/columns.md`: every column that JSON, CSV and the frames have."""
    head = "| name | heading | unit | meaning | mean over tasks |\n|---|---|---|---|---|"
    lines = [
        f"| `{c.name}` | {escape(c.label)} | {c.unit} | {escape(c.help)} | {_rule(c)} |"
        for c in COLUMNS
        if c.is_written
    ]
    return "\n".join([_COLUMNS_HEAD, head, *lines, ""])


def _rule(column: Column) -> str:
    """Return in words how a column's mean is taken."""
    text = (column.mean and column.mean.__doc__) or ""
    line = text.strip().partition("\n")[0].partition(";")[0].removeprefix("Return ").rstrip(".")
    return escape(line)


def escape(text: str) -> str:
    """Return `text` as Markdown that shows just it: one line, no markup, no HTML."""
    shown = _SPECIAL.sub(r"\\\1", plain(text))
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _table(table: ReportTable) -> str:
    names = table.names  # they come from data; numbers are ours and stay readable in the source
    rule = [":--" if i < names else "--:" for i in range(len(table.columns))]
    lines = [
        _line(escape(name) for name in table.columns),
        _line(rule),
        *(_line([*map(escape, row[:names]), *row[names:]]) for row in table.rows),
    ]
    lead = [escape(table.lead)] if table.lead else []
    parts = [f"### {escape(table.title)}", *lead, "\n".join(lines), *map(escape, table.notes)]
    return "\n\n".join(parts)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
