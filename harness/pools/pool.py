"""The pool: what a first stage yields for a task, and the options it is made with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ..errors import BadOption
from ..tasks import Note

DEPTH = 100


@dataclass(frozen=True, slots=True)
class PoolRow:
    """One query's candidates, best first; the safeguard, if it has one, is the last.

    `scores` are the first stage's own, one for each candidate but the safeguard, where known.
    """

    query_id: str
    doc_ids: tuple[str, ...]
    safeguard: str | None = None
    scores: tuple[float, ...] | None = None

    @property
    def natural(self) -> tuple[str, ...]:
        """The candidates that the first stage found itself."""
        return self.doc_ids if self.safeguard is None else self.doc_ids[:-1]

    def first(self, depth: int | None) -> PoolRow:
        """Return the part that is reranked: the first `depth` candidates and the safeguard."""
        if depth is None or depth >= len(self.natural):
            return self
        kept = self.natural[:depth] + (() if self.safeguard is None else (self.safeguard,))
        scores = None if self.scores is None else self.scores[:depth]
        return replace(self, doc_ids=kept, scores=scores)


@dataclass(frozen=True, slots=True)
class Sent:
    """A text that was written before what a model encodes, and its source, empty if none knows."""

    text: str
    source: str

    def __str__(self) -> str:
        return f"{self.text!r} ({self.source})" if self.source else "none"


@dataclass(frozen=True, slots=True)
class Pool:
    """All rows of a task under one profile; one row per query, in task order, some may be empty.

    `profile` is the name as asked, `resolved` what it came to mean, `origin` is `shipped`,
    `computed` or `file`. `sha256` (hex) covers queries, candidates, order and safeguards. `prompts`
    holds for each dense model that was used what was written before queries and documents.
    """

    task: str
    profile: str
    resolved: str
    origin: str
    depth: int
    rows: tuple[PoolRow, ...]
    sha256: str
    notes: Mapping[str, Note] = field(default_factory=dict)
    prompts: Mapping[str, tuple[Sent, Sent]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """How pools are made.

    depth: candidates before the safeguard. query_prompt, doc_prompt: texts written before every
    query and document that a dense model encodes, also empty ones; query_prompt_name: one of the
    model's own prompts instead. device: where it encodes. keep_going: take lists whose ids do not
    match the task's. All but the depth and keep_going apply to `dense` profiles alone.
    """

    depth: int = DEPTH
    query_prompt: str | None = None
    query_prompt_name: str | None = None
    doc_prompt: str | None = None
    device: str | None = None
    keep_going: bool = False

    def __post_init__(self) -> None:
        if self.depth < 1:
            raise BadOption(f"a pool's depth must be at least 1, not {self.depth}")


def fingerprint(rows: Iterable[PoolRow]) -> str:
    """Sha256 (hex) over the rows' ids in order; scores are left out, the order is what counts."""
    digest = hashlib.sha256()
    for row in rows:
        line = json.dumps([row.query_id, row.doc_ids, row.safeguard], ensure_ascii=False)
        digest.update(line.encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()
