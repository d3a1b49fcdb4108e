"""From rows to what people read: tables for a terminal and for Markdown, CSV and JSON."""

from __future__ import annotations

from .comparison import comparison_json, comparison_tables
from .export import to_csv, to_json
from .latex import to_latex
from .markdown import to_markdown
from .sources import report_of
from .terminal import print_table, print_tables

__all__ = [
    "comparison_json",
    "comparison_tables",
    "print_table",
    "print_tables",
    "report_of",
    "to_csv",
    "to_json",
    "to_latex",
    "to_markdown",
]
