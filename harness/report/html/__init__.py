"""The report as one HTML file that opens from disk, with tables, plots and per-query views."""

from __future__ import annotations

from .page import to_html

__all__ = ["to_html"]
