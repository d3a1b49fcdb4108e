"""Orders of one pool: as it came, the best there is, and shuffles as a floor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..runfiles import QueryResult

FLOOR_SEEDS = range(20)
"""Seeds of the shuffles whose mean is the floor `random`."""


def first_stage(result: QueryResult) -> list[str]:
    """Return the pool in first-stage order, without the safeguard."""
    ranked = sorted(zip(result.first_stage_ranks, result.doc_ids, strict=True))
    return [doc_id for _, doc_id in ranked if doc_id != result.safeguard]


def natural(ranking: Sequence[str], safeguard: str | None) -> list[str]:
    """Return a finished ranking with the safeguard taken out."""
    return [doc_id for doc_id in ranking if doc_id != safeguard]


def best(
    pool: Sequence[str],
    grades: Mapping[str, int],
    *,
    depth: int | None = None,
    safeguard: str | None = None,
) -> list[str]:
    """Return the best order that reranking the first `depth` documents can reach.

    `pool` is in first-stage order without the safeguard, which moves too where it is given; the
    documents below `depth` stay behind. Highest grade first is best for every measure.
    """
    moving, rest = _split(pool, depth, safeguard)
    return sorted(moving, key=lambda doc_id: -grades.get(doc_id, 0)) + rest


def shuffled(
    pool: Sequence[str],
    query_id: str,
    *,
    seed: int,
    depth: int | None = None,
    safeguard: str | None = None,
) -> list[str]:
    """Return the order that the reranker `random` gives the same pool under `seed`.

    A document's key is a hash of seed, query id and document id, so that the order does not depend
    on the order it came in.
    """

    def key(doc_id: str) -> bytes:
        return sha256(f"{seed}\0{query_id}\0{doc_id}".encode(errors="surrogatepass")).digest()

    moving, rest = _split(pool, depth, safeguard)
    return sorted(moving, key=key) + rest


def _split(
    pool: Sequence[str], depth: int | None, safeguard: str | None
) -> tuple[list[str], list[str]]:
    moving = list(pool[:depth])
    rest = [] if depth is None else list(pool[depth:])
    return moving + ([] if safeguard is None else [safeguard]), rest
