"""The seed of a request for generated text."""

from __future__ import annotations

import hashlib

from ..types import Generate


def seed_of(request: Generate) -> int | None:
    """Return a seed that is the request's own, so that neither batch nor neighbours matter."""
    if request.temperature == 0:
        return None
    return int.from_bytes(hashlib.sha256(repr(request).encode()).digest()[:8]) >> 1
