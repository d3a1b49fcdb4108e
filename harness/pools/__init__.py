"""First stages: a profile's name, a task, and the pool of candidates they come to."""

from __future__ import annotations

from .build import build_pool
from .dense import release_encoder
from .identical import own_documents, without_own_documents
from .pool import Pool, PoolOptions, PoolRow, Sent
from .poolfile import write_pool
from .profiles import check_profile

__all__ = [
    "Pool",
    "PoolOptions",
    "PoolRow",
    "Sent",
    "build_pool",
    "check_profile",
    "own_documents",
    "release_encoder",
    "without_own_documents",
    "write_pool",
]
