"""From run folders to numbers: measures, ceilings, gains, how sure they are, and at what price.

In: the folders of finished runs, nothing else. Out: `evaluate` returns an `Evaluation` with two
frames, `runs` and `values`, the same two for the means over data sets, and arrays query by query.
Their columns are declared in `columns.py`.
"""

from __future__ import annotations

from .calibration import CalibrationRow
from .claims import Claim, ClaimRow, load_claims, match
from .columns import COLUMNS, Column
from .compare import Comparison, Duel, compare
from .facts import Facts, PerQuery
from .frames import Runs, load_runs
from .gains import query_values
from .inference import Group, data_set, infer
from .measures import MACRO, MEASURES, MICRO, RECALL, measure, pool_values, relevant
from .orders import falling, first_stage, natural
from .prices import Price, parse_prices
from .queries import QueryRow, StratumRow, query_rows, strata
from .reading import evaluate
from .results import MAIN, Evaluation, Results, records, results_of, written
from .sensitivity import LatencyRow, OrderRow
from .significance import interval

__all__ = [
    "COLUMNS",
    "MACRO",
    "MAIN",
    "MEASURES",
    "MICRO",
    "RECALL",
    "CalibrationRow",
    "Claim",
    "ClaimRow",
    "Column",
    "Comparison",
    "Duel",
    "Evaluation",
    "Facts",
    "Group",
    "LatencyRow",
    "OrderRow",
    "PerQuery",
    "Price",
    "QueryRow",
    "Results",
    "Runs",
    "StratumRow",
    "compare",
    "data_set",
    "evaluate",
    "falling",
    "first_stage",
    "infer",
    "interval",
    "load_claims",
    "load_runs",
    "match",
    "measure",
    "natural",
    "parse_prices",
    "pool_values",
    "query_rows",
    "query_values",
    "records",
    "relevant",
    "results_of",
    "strata",
    "written",
]
