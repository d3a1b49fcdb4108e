"""From run folders to numbers: measures, ceilings, gains, how sure they are, and at what price."""

from __future__ import annotations

from .claims import Claim, ClaimRow, load_claims, match
from .compare import Comparison, Duel, compare
from .frames import Runs, load_runs
from .gains import QueryValues, query_values
from .groups import Group, mean_rows
from .inference import infer
from .measures import MACRO, MEASURES, MICRO, RECALL, measure, pool_values, relevant
from .orders import first_stage, natural
from .prices import Price, parse_prices
from .queries import QueryRow, query_rows
from .report import Evaluation, evaluate
from .row import JSON_FIELDS, Row
from .rows import run_rows
from .sensitivity import LatencyRow, OrderRow
from .significance import interval
from .strata import StratumRow, strata

__all__ = [
    "JSON_FIELDS",
    "MACRO",
    "MEASURES",
    "MICRO",
    "RECALL",
    "Claim",
    "ClaimRow",
    "Comparison",
    "Duel",
    "Evaluation",
    "Group",
    "LatencyRow",
    "OrderRow",
    "Price",
    "QueryRow",
    "QueryValues",
    "Row",
    "Runs",
    "StratumRow",
    "compare",
    "evaluate",
    "first_stage",
    "infer",
    "interval",
    "load_claims",
    "load_runs",
    "match",
    "mean_rows",
    "measure",
    "natural",
    "parse_prices",
    "pool_values",
    "query_rows",
    "query_values",
    "relevant",
    "run_rows",
    "strata",
]  # fmt: skip
