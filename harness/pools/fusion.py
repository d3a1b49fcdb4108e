"""Fuse ranked lists by reciprocal rank (Cormack, Clarke & Büttcher 2009)."""

from __future__ import annotations

from collections.abc import Container, Sequence

SOURCE_DEPTH, RANK_CONSTANT = 500, 100  # of HAKARI-Bench


def fuse(sources: Sequence[Sequence[str]], corpus: Container[str]) -> list[tuple[str, float]]:
    """Return (document id, score), best first.

    Each source adds 1/(100 + rank) for its first 500 documents, in the order of `sources`. A
    document that the corpus lacks counts in the ranks and is left out. Equal scores are ordered by
    the best rank in any source, then by document id.
    """
    score: dict[str, float] = {}
    best: dict[str, int] = {}
    for source in sources:
        for rank, doc_id in enumerate(source[:SOURCE_DEPTH], start=1):
            if doc_id in corpus:
                score[doc_id] = score.get(doc_id, 0.0) + 1 / (RANK_CONSTANT + rank)
                best[doc_id] = min(rank, best.get(doc_id, rank))
    return sorted(score.items(), key=lambda item: (-item[1], best[item[0]], item[0]))
