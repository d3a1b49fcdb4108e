"""Rank with BM25 by bm25s (Lù, 2024, arXiv:2407.03618): k1 = 1.5, b = 0.75, Lucene's idf.

Lucene's idf is positive also for a term in most documents, so every match has a score over 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..progress import bar
from .words import tokenizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

K1, B = 1.5, 0.75
_SAMPLE = 200  # documents in which English is looked for, where no language is known


def rank_by_bm25(
    queries: Mapping[str, str], corpus: Mapping[str, str], *, language: str | None, depth: int
) -> dict[str, list[tuple[str, float]]]:
    """Return for each query (document id, score > 0), best first, at most `depth`.

    Equal scores are ordered by document id. A query that shares no term with any document has no
    candidates.
    """
    ids, texts = list(corpus), list(corpus.values())
    terms_of = tokenizer(language, texts[:: max(len(texts) // _SAMPLE, 1)])
    documents = [terms_of(text) for text in texts]
    if not any(documents):
        return {query_id: [] for query_id in queries}
    import bm25s

    index = bm25s.BM25(k1=K1, b=B, method="lucene", backend="numpy")
    index.index(documents, show_progress=False)
    ranked: dict[str, list[tuple[str, float]]] = {}
    with bar("bm25", total=len(queries)) as advance:
        for query_id, query in queries.items():
            known = [term for term in terms_of(query) if term in index.vocab_dict]
            ranked[query_id] = best(index.get_scores(known), ids, depth) if known else []
            advance(1)
    return ranked


def best(scores: NDArray[np.float32], ids: Sequence[str], depth: int) -> list[tuple[str, float]]:
    """Return the `depth` best documents with a score over 0, sorted by (-score, document id)."""
    import numpy as np

    found = np.flatnonzero(scores > 0)
    if len(found) > depth:
        # all documents that tie with the last one are kept until ties are broken
        last = np.partition(scores[found], len(found) - depth)[len(found) - depth]
        found = found[scores[found] >= last]
    pairs = [(ids[i], float(scores[i])) for i in found.tolist()]
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:depth]
