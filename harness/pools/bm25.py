"""Rank with BM25 by bm25s (Lù, 2024, arXiv:2407.03618): k1 = 1.5, b = 0.75, Lucene's idf.

Lucene's idf is positive also for a term in most documents, so every match has a score over 0.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..progress import bar
from .words import tokenizer

K1, B = 1.5, 0.75
_SAMPLE = 200  # documents in which English is looked for, where no language is known


def rank_by_bm25(
    queries: Mapping[str, str], corpus: Mapping[str, str], *, language: str | None, depth: int
) -> dict[str, list[tuple[str, float]]]:
    """Return for each query (document id, score > 0), best first, at most `depth`.

    Equal scores are ordered by document id. A query that shares no term with any document has no
    candidates.
    """
    texts = list(corpus.values())
    terms_of = tokenizer(language, texts[:: max(len(texts) // _SAMPLE, 1)])
    ids = sorted(corpus)  # so that a stable sort by score orders equal scores by id
    documents = [terms_of(corpus[doc_id]) for doc_id in ids]
    if not any(documents):
        return {query_id: [] for query_id in queries}
    import bm25s
    import numpy as np

    index = bm25s.BM25(k1=K1, b=B, method="lucene", backend="numpy")
    index.index(documents, show_progress=False)
    ranked: dict[str, list[tuple[str, float]]] = {}
    with bar("bm25", total=len(queries)) as advance:
        for query_id, query in queries.items():
            known = [term for term in terms_of(query) if term in index.vocab_dict]
            scores = index.get_scores(known) if known else np.zeros(len(ids))
            best = np.argsort(-scores, kind="stable")[:depth]
            ranked[query_id] = [(ids[i], float(scores[i])) for i in best if scores[i] > 0]
            advance(1)
    return ranked
