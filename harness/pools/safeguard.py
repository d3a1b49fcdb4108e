"""Draw and recognise the safeguard: a positive that is appended to a pool that holds none.

It is drawn as HAKARI-Bench draws it. A pool row names its safeguard, so that every number can be
computed without it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from .pool import DEPTH

SEED = 20260524


def draw(positives: Iterable[str], *, split: str, query_id: str) -> str:
    """Return one of `positives`, the same for equal split and query."""
    generator = random.Random(f"{SEED}\0{split}\0{query_id}\0positive_safeguard")
    return generator.choice(sorted(positives))


def shipped_safeguard(
    doc_ids: Sequence[str], positives: frozenset[str], *, corpus_size: int
) -> str | None:
    """Return the safeguard at the end of a shipped list, None if it has none.

    It has one if it is one longer than min(100, corpus) and its only positive is the last document.
    The 100 is the depth of the published lists, whatever depth the user asks for.
    """
    if len(doc_ids) != min(DEPTH, corpus_size) + 1:
        return None
    found = [doc_id for doc_id in doc_ids if doc_id in positives]
    return doc_ids[-1] if found == [doc_ids[-1]] else None
