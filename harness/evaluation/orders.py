"""Orders of one pool: as it came, the best one, and random ones as a floor."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..runs import QueryResult

SHUFFLES = 20

_GREATEST = 1e30
"""Greater scores may leave no room in single precision for those below them."""


def first_stage(result: QueryResult) -> list[str]:
    """Return the pool in first-stage order, without the safeguard."""
    ranked = sorted(zip(result.first_stage_ranks, result.doc_ids, strict=True))
    return [doc_id for _, doc_id in ranked if doc_id != result.safeguard]


def natural(ranking: Sequence[str], safeguard: str | None) -> list[str]:
    """Return a finished ranking with the safeguard taken out."""
    return [doc_id for doc_id in ranking if doc_id != safeguard]


def strictly_descending(scores: Sequence[float | None]) -> list[float]:
    """Return scores of a ranking that fall from each document to the next, for other tools.

    They are its own, lowered by the least step of single precision, in which trec_eval reads them,
    where one is not below the one before it: documents with equal scores, and those that were not
    reranked (None). Tools that sort by score then keep the order, whatever they do with ties. Where
    the first is None, or one is too great for single precision, they are n - rank.
    """
    lowest, before, found = np.float32(-np.inf), np.float32(np.inf), []
    if scores and (scores[0] is None or any(abs(s or 0.0) > _GREATEST for s in scores)):
        return [float(len(scores) - rank) for rank in range(1, len(scores) + 1)]
    for score in scores:
        limit = np.nextafter(before, lowest)
        before = limit if score is None else min(np.float32(score), limit)
        found.append(float(before))
    return found


def best(
    pool: Sequence[str],
    grades: Mapping[str, int],
    *,
    depth: int | None = None,
    safeguard: str | None = None,
) -> list[str]:
    """Return the best order that reranking the first `depth` documents can reach.

    `pool` is in first-stage order without the safeguard, which moves too where it is given; the
    documents below `depth` follow. Highest grade first is best for every measure.
    """
    moving, rest = _split(pool, depth, safeguard)
    return sorted(moving, key=lambda doc_id: -grades.get(doc_id, 0)) + rest


def top_tied(result: QueryResult) -> bool:
    """Return whether equal scores decide a query's top ten: its order, or its last place.

    The safeguard is left out, and so are documents that were not reranked.
    """
    pairs = zip(result.doc_ids, result.scores, strict=True)
    scores = [s for doc_id, s in pairs if doc_id != result.safeguard and s is not None]
    return any(a == b for a, b in itertools.pairwise(scores[:11]))  # the eleventh too


def shuffles(
    pool: Sequence[str], query_id: str, *, depth: int | None = None, safeguard: str | None = None
) -> list[list[str]]:
    """Return the twenty random orders of a pool whose mean value is the floor `random`.

    They are drawn by numpy's default generator, seeded by the query id, and do not depend on the
    order the pool came in.
    """
    moving, rest = _split(pool, depth, safeguard)
    moving.sort()
    seed = int.from_bytes(sha256(query_id.encode(errors="surrogatepass")).digest()[:8], "big")
    places = np.tile(np.arange(len(moving)), (SHUFFLES, 1))
    drawn = np.random.default_rng(seed).permuted(places, axis=1).tolist()
    return [[moving[place] for place in order] + rest for order in drawn]


def _split(
    pool: Sequence[str], depth: int | None, safeguard: str | None
) -> tuple[list[str], list[str]]:
    moving = list(pool[:depth])
    rest = [] if depth is None else list(pool[depth:])
    return moving + ([] if safeguard is None else [safeguard]), rest
