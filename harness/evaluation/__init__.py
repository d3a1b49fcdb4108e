"""From run folders to numbers: measures, ceilings, gains, how sure they are, and at what price.

In: the folders of finished runs, nothing else. Out: `evaluate` returns an `Evaluation` with two
frames, `runs` and `values`, the same two for the means over data sets, and arrays query by query.
Their columns are declared in `columns.py`.
"""

from __future__ import annotations

from .calibration import CalibrationRow
from .claims import Claim, ClaimRow, load_claims, match
from .columns import COLUMNS, Column
from .compare import Comparison, QueryDifference, compare
from .facts import Facts, PerQuery
from .frames import Runs, load_runs
from .gains import query_values
from .inference import Group, data_set, infer
from .measures import MACRO, MEASURES, MICRO, RECALL, measure, pool_values, positives_of
from .orders import first_stage, natural, strictly_descending
from .prices import Price, parse_prices
from .queries import QueryRow, StratumRow, query_rows, strata
from .reading import evaluate
from .results import MAIN, Evaluation, Results, records, results_of, written
from .sensitivity import LatencyRow, OrderRow
from .significance import interval

__all__ = [
    "COLUMNS", "MACRO", "MAIN", "MEASURES", "MICRO", "RECALL", "CalibrationRow", "Claim",
    "ClaimRow", "Column", "Comparison", "Evaluation", "Facts", "Group", "LatencyRow", "OrderRow",
    "PerQuery", "Price", "QueryDifference", "QueryRow", "Results", "Runs", "StratumRow", "compare",
    "data_set", "evaluate", "first_stage", "infer", "interval", "load_claims", "load_runs", "match",
    "measure", "natural", "parse_prices", "pool_values", "positives_of", "query_rows",
    "query_values", "records", "results_of", "strata", "strictly_descending", "written",
]  # fmt: skip
