"""The safeguard: a positive behind a pool that holds none, drawn as HAKARI-Bench draws it.

Without it a reranker could not be seen to find what a weak first stage missed; with it, no number
is the first stage's own any more. So it is kept apart: a pool row names its safeguard.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from .pool import DEPTH

SEED = 20260524


def draw(positives: Iterable[str], *, split: str, query_id: str) -> str:
    """Draw one of `positives`, the same for the same split and query whatever their order."""
    draw_ = random.Random(f"{SEED}\0{split}\0{query_id}\0positive_safeguard")
    return draw_.choice(sorted(positives))


def shipped_safeguard(
    doc_ids: Sequence[str], positives: frozenset[str], *, corpus_size: int
) -> str | None:
    """Return the safeguard at the end of a shipped list, None if it has none.

    It has one when it is one longer than min(100, corpus), its last document is a positive and no
    positive stands before it. The 100 is its maker's, whatever depth is asked for here.
    """
    if len(doc_ids) != min(DEPTH, corpus_size) + 1:
        return None
    found = [doc_id for doc_id in doc_ids if doc_id in positives]
    return doc_ids[-1] if found == [doc_ids[-1]] else None
