"""Rows for programs: JSON and CSV, every number in full."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from typing import Any

from ..evaluation import JSON_FIELDS, Row

CSV_FIELDS = (
    *JSON_FIELDS, "cached_tokens", "invalid", "resolved", "engine", "depth", "published",
)  # fmt: skip
"""The columns of the CSV: those of the JSON, and what tells how the numbers came about."""


def to_json(rows: Iterable[Row]) -> str:
    """Return a JSON list with one object per row; a profile's recall has null for its reranker.

    The object of an invalid run has one more key, `invalid`: the reason.
    """
    return json.dumps([_object(row) for row in rows], indent=2, ensure_ascii=False, allow_nan=False)


def _object(row: Row) -> dict[str, Any]:
    found = {name: getattr(row, name) for name in JSON_FIELDS}
    return {**found, "invalid": row.invalid} if row.invalid else found


def to_csv(rows: Iterable[Row]) -> str:
    """Return CSV with a header; what a row does not have is left empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_FIELDS)
    writer.writerows([getattr(row, name) for name in CSV_FIELDS] for row in rows)
    return text.getvalue()
