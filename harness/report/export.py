"""Rows for programs: JSON and CSV, every number in full."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable

from ..evaluation import JSON_FIELDS, Row

CSV_FIELDS = (*JSON_FIELDS, "resolved", "engine", "depth", "published")
"""The columns of the CSV: those of the JSON, and what tells how the numbers came about."""


def to_json(rows: Iterable[Row]) -> str:
    """Return a JSON list with one object per row; a profile's recall has null for its reranker."""
    objects = [{name: getattr(row, name) for name in JSON_FIELDS} for row in rows]
    return json.dumps(objects, indent=2, ensure_ascii=False, allow_nan=False)


def to_csv(rows: Iterable[Row]) -> str:
    """Return CSV with a header; what a row does not have is left empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_FIELDS)
    writer.writerows([getattr(row, name) for name in CSV_FIELDS] for row in rows)
    return text.getvalue()
