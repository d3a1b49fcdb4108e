"""The tables of the documentation that a script writes."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("script", ["capacity.py", "peers/side_by_side.py"])
def test_a_table_of_the_documentation_is_that_of_its_results(script):
    found = runpy.run_path(str(BENCHMARKS / script), run_name="benchmark")
    _, _, rest = found["PAGE"].read_text().partition(found["BEGIN"])
    written, _, _ = rest.partition(found["END"])
    assert written == found["table"](json.loads(found["RESULTS"].read_text()))


def test_the_cost_of_a_cascade_is_that_of_all_its_stages():
    found = runpy.run_path(str(BENCHMARKS / "capacity.py"), run_name="benchmark")
    stages = [
        {"queries": 10, "calls": 1000, "seconds": 36.0, "seconds_cached": 18.0},
        {"queries": 10, "calls": 10, "seconds": 324.0, "seconds_cached": 324.0},
    ]
    entries = [{"reranker": "a", "rows": stages}, {"reranker": "b", "rows": stages[:1]}]
    *_, one, two, both = found["table"](entries).splitlines()
    assert one == "| a | 101 | 36 | 34.2 | 97.4 h | 543 h | 10,000 h |"
    assert two == "| b | 100 | 3.6 | 1.8 | 9.74 h | 54.3 h | 1,000 h |"
    assert both == "| all 2 | 201 | 39.6 | 36 | 107 h | 597 h | 11,000 h |"
