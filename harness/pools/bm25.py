"""BM25 by bm25s (Lù, 2024, arXiv:2407.03618), with k1 = 1.5, b = 0.75 and Lucene's idf.

Lucene's idf stays positive for a term in most documents, so that a match never looks like none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..progress import bar
from .words import tokenizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

K1, B = 1.5, 0.75
_SAMPLE = 200


def rank_by_bm25(
    queries: Mapping[str, str], corpus: Mapping[str, str], *, language: str | None, depth: int
) -> dict[str, list[tuple[str, float]]]:
    """Rank the corpus for each query: (document id, score > 0), best first, at most `depth`.

    Ties are broken by document id. A query that shares no term with any document has no candidate.
    """
    ids, texts = list(corpus), list(corpus.values())
    terms = tokenizer(language, texts[:: max(len(texts) // _SAMPLE, 1)])
    index = _index([terms(text) for text in texts])
    ranked: dict[str, list[tuple[str, float]]] = {}
    with bar("bm25", total=len(queries)) as advance:
        for query_id, query in queries.items():
            scores = _scores(index, terms(query))
            ranked[query_id] = [] if scores is None else best(scores, ids, depth)
            advance(1)
    return ranked


def _index(documents: Sequence[Sequence[str]]) -> Any:
    """Index tokenised documents; None where none of them has a term."""
    if not any(documents):
        return None
    import bm25s

    index = bm25s.BM25(k1=K1, b=B, method="lucene", backend="numpy")
    index.index([list(terms) for terms in documents], show_progress=False)
    return index


def _scores(index: Any, terms: Sequence[str]) -> NDArray[np.float32] | None:
    known = [] if index is None else [term for term in terms if term in index.vocab_dict]
    if not known:
        return None
    scores: NDArray[np.float32] = index.get_scores(known)
    return scores


def best(scores: NDArray[np.float32], ids: Sequence[str], depth: int) -> list[tuple[str, float]]:
    """Return the `depth` best documents with a score over 0, sorted by (-score, document id)."""
    import numpy as np

    found = np.flatnonzero(scores > 0)
    if len(found) > depth:
        # Everything tied with the last one stays in until ties are broken.
        last = np.partition(scores[found], len(found) - depth)[len(found) - depth]
        found = found[scores[found] >= last]
    pairs = [(ids[i], float(scores[i])) for i in found.tolist()]
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:depth]
