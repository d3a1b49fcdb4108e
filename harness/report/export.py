"""Rows for programs: JSON and CSV, every number in full."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

from ..evaluation import written

if TYPE_CHECKING:
    from ..evaluation import Evaluation


def to_json(found: Evaluation) -> str:
    """Return a JSON list of the rows of tasks, then of means: one object a run and measure.

    A first stage's recall has null for its reranker.
    """
    objects = [
        dict(zip(columns, row, strict=True))
        for columns in map(written, (found.rows(), found.means.rows()))
        for row in zip(*columns.values(), strict=True)
    ]
    return json.dumps(objects, indent=2, ensure_ascii=False, allow_nan=False)


def to_csv(found: Evaluation) -> str:
    """Return the same rows as CSV with a header; what a row does not have is left empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    tables = [written(found.rows()), written(found.means.rows())]
    writer.writerow(tables[0])
    for columns in tables:
        writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()
