"""From run folders to numbers: measures, ceilings, gains and how sure they are."""

from __future__ import annotations

from .gains import QueryValues, query_values
from .groups import Group, groups
from .measures import MACRO, MEASURES, MICRO, RECALL, measure, pool_values, relevant
from .rows import JSON_FIELDS, Row, evaluate_runs
from .statistics import group_intervals, interval

__all__ = [
    "JSON_FIELDS", "MACRO", "MEASURES", "MICRO", "RECALL",
    "Group", "QueryValues", "Row",
    "evaluate_runs", "group_intervals", "groups", "interval", "measure", "pool_values",
    "query_values", "relevant",
]  # fmt: skip
