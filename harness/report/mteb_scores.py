"""The measures in MTEB's results, which are pytrec_eval's, rounded as MTEB rounds them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CUTOFFS = (1, 3, 5, 10, 20, 100, 1000)


def mteb_scores(
    rankings: Sequence[Sequence[str]],
    grades: Sequence[Mapping[str, int]],
    cutoffs: Collection[int] = CUTOFFS,
) -> dict[str, float]:
    """Return the mean of each measure by MTEB's name, such as `ndcg_at_10`, rounded as MTEB does.

    rankings: document ids, best first; an empty one counts as 0.
    grades: those of all positives of each query, in the same order; one at least.
    cutoffs: at most the greatest of CUTOFFS.

    nAUC is left out: it measures scores, not rankings.
    """
    import numpy as np

    found = _gains(
        [[own.get(d, 0) for d in ids] for ids, own in zip(rankings, grades, strict=True)]
    )
    best = _gains([sorted(own.values(), reverse=True) for own in grades])
    ranks = np.arange(1, CUTOFFS[-1] + 1)
    discount, hits = 1 / np.log2(ranks + 1), found > 0
    count = hits.cumsum(axis=1)
    positives = np.array([[len(own)] for own in grades])
    first = hits.argmax(axis=1, keepdims=True) + 1
    arrays = {
        "ndcg": (found * discount).cumsum(axis=1) / (best * discount).cumsum(axis=1),
        "map": (hits * count / ranks).cumsum(axis=1) / positives,
        "recall": count / positives,
        "precision": count / ranks,
        "mrr": (count > 0) / first,
        "hit_rate": count > 0,
    }
    return {
        f"{name}_at_{k}": round(float(values[:, k - 1].mean()), 6 if name == "mrr" else 5)
        for name, values in arrays.items()
        for k in sorted(cutoffs)
    }


def _gains(rows: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Return grades by rank, shape (queries, greatest cutoff), with zeros behind."""
    import numpy as np

    table = np.zeros((len(rows), CUTOFFS[-1]), dtype=np.int64)
    for place, row in enumerate(rows):
        table[place, : len(row)] = row[: CUTOFFS[-1]]
    return table
