"""Build pools: the candidates that a first stage returns for a task.

In: a `Task`, and a profile by name (`bm25`, `dense(MODEL)`, `rrf(a,b)`, `run(FILE)`, or the config
of a shipped list). Out: a `Pool` with one row of candidates per query, and at most one safeguard
after them.
"""

from __future__ import annotations

from .bm25 import rank_by_bm25
from .build import build_pool
from .dense import release_encoder
from .identical import own_documents, without_own_documents
from .pool import NO_ORDER, EncoderPrompt, Pool, PoolOptions, PoolRow, write_pool
from .profiles import check_profile

__all__ = [
    "NO_ORDER", "EncoderPrompt", "Pool", "PoolOptions", "PoolRow", "build_pool", "check_profile",
    "own_documents", "rank_by_bm25", "release_encoder", "without_own_documents", "write_pool",
]  # fmt: skip
