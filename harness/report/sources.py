"""Which runs a report is of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import BadData
from ..evaluation import Row, evaluate_runs
from ..runs import find_runs


def report_rows(root: Path | Sequence[Path]) -> list[Row]:
    """Evaluate all runs in and below one folder or several; raises BadData where there is none."""
    roots = [root] if isinstance(root, Path) else list(root)
    folders = [folder for place in roots for folder in find_runs(place)]
    if not folders:
        places = ", ".join(map(str, roots))
        raise BadData(f"no finished run in {places}; `rerank-bench run --out` makes one")
    return evaluate_runs(folders)
