"""Which runs a report is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..evaluation import Evaluation, Price, evaluate
from ..runs import find_all_runs


def report_of(
    root: Path | Sequence[Path],
    *,
    detail: Sequence[Path] = (),
    prices: Mapping[str, Price] | None = None,
) -> Evaluation:
    """Evaluate all runs in and below one folder or several, with the queries of those in `detail`.

    Raises BadData where there is no run.
    """
    roots = [root] if isinstance(root, Path) else list(root)
    return evaluate(find_all_runs(roots), detail=detail, prices=prices)
