"""Which runs a report is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import BadData
from ..evaluation import Evaluation, Price, evaluate
from ..runs import find_runs


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
    folders = [folder for place in roots for folder in find_runs(place)]
    if not folders:
        places = ", ".join(map(str, roots))
        raise BadData(f"no finished run in {places}; `rerank-bench run --out` makes one")
    return evaluate(folders, detail=detail, prices=prices)
