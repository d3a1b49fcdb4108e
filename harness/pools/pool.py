"""Define a pool, which is what a first stage returns for a task, its options, and its file."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..errors import BadOption, RerankBenchError
from ..tasks import Note

DEPTH = 100
NO_ORDER = "no order"
"""The origin of lists in no order: the first stage found documents and did not rank them."""

FILE_KEYS = ("task", "query-id", "corpus-ids", "safeguard")
"""The keys of each line of a pool file."""


@dataclass(frozen=True, slots=True)
class PoolRow:
    """The candidates of one query, best first.

    doc_ids: the candidates, with the safeguard last if there is one.
    safeguard: the positive that was appended because no candidate is one.
    scores: the first stage's score of each candidate but the safeguard, if known.
    """

    query_id: str
    doc_ids: tuple[str, ...]
    safeguard: str | None = None
    scores: tuple[float, ...] | None = None

    @property
    def natural(self) -> tuple[str, ...]:
        """The candidates without the safeguard."""
        return self.doc_ids if self.safeguard is None else self.doc_ids[:-1]

    def first(self, depth: int | None) -> PoolRow:
        """Return the part that is reranked: the first `depth` candidates and the safeguard."""
        if depth is None or depth >= len(self.natural):
            return self
        kept = self.natural[:depth] + (() if self.safeguard is None else (self.safeguard,))
        scores = None if self.scores is None else self.scores[:depth]
        return replace(self, doc_ids=kept, scores=scores)


@dataclass(frozen=True, slots=True)
class EncoderPrompt:
    """A text that is put before what an encoder encodes, and its source (empty if unknown)."""

    text: str
    source: str

    def __str__(self) -> str:
        return f"{self.text!r} ({self.source})" if self.source else "none"


@dataclass(frozen=True, slots=True)
class Pool:
    """The candidates of all queries of a task under one profile.

    profile: the name as the user wrote it.
    resolved: the name of the list that was used.
    origin: `shipped`, `computed`, `file` or `no order`.
    depth: largest number of candidates before the safeguard.
    rows: one per query, in the order of the task; a row may be empty.
    sha256: hex digest of queries, candidates, their order, and safeguards.
    notes: what was counted -> how often.
    prompts: dense model -> the prompts before its queries and its documents.
    """

    task: str
    profile: str
    resolved: str
    origin: str
    depth: int
    rows: tuple[PoolRow, ...]
    sha256: str
    notes: Mapping[str, Note] = field(default_factory=dict)
    prompts: Mapping[str, tuple[EncoderPrompt, EncoderPrompt]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """Options for building pools; all but `depth` and `keep_going` concern dense models alone.

    depth: largest number of candidates before the safeguard.
    query_prompt, doc_prompt: texts put before every query and document, which may be empty.
    query_prompt_name: name of one of the model's own prompts for queries.
    device: torch device of the model.
    keep_going: accept lists whose ids do not match those of the task.
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
    """Return the sha256 (hex) of ids and their order; scores are left out."""
    digest = hashlib.sha256()
    for row in rows:
        line = json.dumps([row.query_id, row.doc_ids, row.safeguard], ensure_ascii=False)
        digest.update(line.encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


def write_pool(pools: Iterable[Pool], path: Path) -> None:
    """Write one JSON line per task and query, packed if the name ends in .gz.

    A safeguard is the last document of its list, and named. A file of several pools of one task
    cannot be read back as one first stage. Raises RerankBenchError if `path` cannot be written.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(aside, "wt", encoding="utf-8") as file:
            for pool in pools:
                for row in pool.rows:
                    values = (pool.task, row.query_id, row.doc_ids, row.safeguard)
                    file.write(f"{json.dumps(dict(zip(FILE_KEYS, values, strict=True)))}\n")
        aside.replace(path)
    except OSError as error:
        with suppress(OSError):
            aside.unlink()
        raise RerankBenchError(f"pool file {path} cannot be written: {error.strerror}") from error
