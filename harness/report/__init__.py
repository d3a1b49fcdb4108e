"""From rows to what people read: tables for a terminal and for Markdown, CSV and JSON."""

from __future__ import annotations

from .comparison import comparison_json
from .experiments import mteb_revision
from .exports import export, to_csv, to_json
from .latex import to_latex
from .markdown import columns_page, to_markdown
from .printing import print_compact, print_glossary, print_table, print_tables
from .tables import ReportTable
from .text import NOTHING, count, number, plain, signed

__all__ = [
    "NOTHING", "ReportTable", "columns_page", "comparison_json", "count", "export", "mteb_revision",
    "number", "plain", "print_compact", "print_glossary", "print_table", "print_tables", "signed",
    "to_csv", "to_json", "to_latex", "to_markdown",
]  # fmt: skip
