"""Rows for programs: JSON and CSV, every number in full."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from typing import Any

from ..evaluation import JSON_FIELDS, Row


def to_json(rows: Iterable[Row]) -> str:
    """Return a JSON list with one object per row; a profile's recall has null for its reranker."""
    return json.dumps([_object(row) for row in rows], indent=2, ensure_ascii=False, allow_nan=False)


def _object(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in JSON_FIELDS}


def to_csv(rows: Iterable[Row]) -> str:
    """Return CSV with a header; what a row does not have is left empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(JSON_FIELDS)
    writer.writerows([getattr(row, name) for name in JSON_FIELDS] for row in rows)
    return text.getvalue()
