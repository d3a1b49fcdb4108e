"""The record that a report is made of: one number, and all that is to stand beside it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..reranking import FIRST_STAGE
from .measures import BINARY

if TYPE_CHECKING:
    from numpy.typing import NDArray

Column = tuple[str, str, str]
"""Profile, reranker and measure: what a task's rows are compared by."""


def _none() -> NDArray[np.float64]:
    return np.empty(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One number of a report with all that stands beside it.

    Measures, `calls_per_query` and `rounds` are means over `queries`; tokens, `seconds` (of the
    engine) and `from_cache` are totals of the run. `gain` = natural - first_stage, with its 95 %
    confidence interval, None where the gains are all equal; `gain_safeguarded` = safeguarded -
    first_stage. `safeguards`: queries that have one; `decided`: queries whose value it changes.
    `cached_tokens`: prompt tokens that the engine's prefix cache held. `invalid`: why the method
    did not work as it is meant to, so that the numbers mean nothing; None where it did. A row of a
    profile's recall has no reranker, and None wherever a reranker's numbers would stand.
    """

    task: str
    profile: str
    origin: str
    reranker: str | None
    measure: str
    queries: int
    first_stage: float
    natural: float | None = None
    safeguarded: float | None = None
    ceiling: float | None = None
    ceiling_safeguarded: float | None = None
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    gain_safeguarded: float | None = None
    safeguards: int = 0
    decided: int | None = None
    failed: int | None = None
    calls_per_query: float | None = None
    rounds: float | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    seconds: float | None = None
    from_cache: int | None = None
    # How sure the gain is. p: two-sided, of a true mean gain of 0, by Student's t; p_holm: adjusted
    # within `family`, starred where it is at most 5 %. detectable: the smallest true gain that
    # is significant 4 times out of 5. noise: how far repeats of the run lie apart, of which there
    # are `repeats`. clusters: questions, where versions of one are among the queries.
    p: float | None = None
    p_holm: float | None = None
    starred: bool = False
    family: str = ""
    detectable: float | None = None
    noise: float | None = None
    repeats: int = 1
    clusters: int | None = None
    # Queries with more, the same and less than before; the part of what there was to gain; queries
    # in which there was something to gain or lose; the part of the top ten that was judged.
    wins: int | None = None
    ties: int | None = None
    losses: int | None = None
    headroom_captured: float | None = None
    rerankable: int | None = None
    judged: float | None = None
    judged_first_stage: float | None = None
    # What the price was paid in. seconds_per_query: None where any reply came from the cache;
    # gpu_seconds: that times the GPUs that were at work, None without one.
    # ideal_flops: operations per query that the method needs of its model, None where not known.
    # price: of the tokens of a query, where a price per million is given.
    cached_tokens: int | None = None
    seconds_per_query: float | None = None
    gpu_seconds: float | None = None
    startup_seconds: float | None = None
    ideal_flops: float | None = None
    price: float | None = None
    model: str = ""
    engine: str = ""
    hardware: str = ""
    # Answers that had to be repaired, answers that could not be used, texts that were cut.
    repaired: int | None = None
    unparsable: int | None = None
    truncated: int | None = None
    # How the profile resolved, how much was reranked, what the first stage is known for, and what
    # was counted on the way, over all queries.
    invalid: str | None = None
    resolved: str = ""
    judgements: str = ""  # which, where they are not the usual ones
    apart: bool = False  # other queries, pools or judgements than most of its table: not comparable
    tasks: int = 1  # of which this is the mean
    pool: str = ""  # sha256
    settings: str = ""  # sha256 of all that variants of a run have in common
    depth: int | None = None
    max_doc_chars: int | None = None
    published: float | None = None
    as_published: float | None = None  # first_stage, under the convention of `published`
    binary: Mapping[str, float] = field(default_factory=dict)  # stages, if BINARY differs
    counts: Mapping[str, int] = field(default_factory=dict)
    # What kind of run it is: a floor or other reranker that is there for comparison; a variant.
    floor: bool = False
    order: str = FIRST_STAGE
    repeat: int = 1
    alone: bool = False
    # How much of the texts the reranker read. budget: its tokens of a text in words, as the report
    # shows it; max_doc_tokens: the limit set for all rerankers. documents: given, over all queries;
    # cut: the share of them that were truncated. instruction: `model default`, `task`, `own` or
    # `none`; None where a run did not record it.
    budget: str | None = None
    max_doc_tokens: int | None = None
    documents: int | None = None
    cut: float | None = None
    instruction: str | None = None
    repeated: tuple[float, ...] = ()  # natural means of the run and its repeats, if any
    # tied_at_10: share of queries whose top ten is decided by equal scores, which keep first-stage
    # order. label_probability: mean probability of all labels together; None where none was read.
    tied_at_10: float | None = None
    label_probability: float | None = None
    ground: Hashable = field(default=(), repr=False)  # what must be equal for values to compare
    # Per query, in the order of the task: shape (queries,).
    query_ids: tuple[str, ...] = field(default=(), repr=False)
    query_bases: tuple[str, ...] | None = field(default=None, repr=False)
    query_failed: frozenset[str] = field(default=frozenset(), repr=False)
    query_gains: NDArray[np.float64] = field(default_factory=_none, repr=False, compare=False)
    query_naturals: NDArray[np.float64] = field(default_factory=_none, repr=False, compare=False)

    @property
    def key(self) -> tuple[str, str, str]:
        """Task, profile and reranker; a profile's recall has no reranker and comes first."""
        return self.task, self.profile, self.reranker or ""

    def under(self, convention: str, stage: str) -> float | None:
        """Return `first_stage`, `natural` or `safeguarded` under BINARY, or under ours if empty."""
        own: float | None = getattr(self, stage)
        return self.binary.get(stage, own) if convention == BINARY else own

    @property
    def column(self) -> Column:
        """Profile, reranker and measure."""
        return self.profile, self.reranker or "", self.measure

    @property
    def is_variant(self) -> bool:
        """Say whether this is a run for comparison with itself, not a reranker's result."""
        return self.order != FIRST_STAGE or self.repeat > 1 or self.alone


_NOT_WRITTEN = {
    "counts", "query_ids", "query_bases", "query_failed", "query_gains", "query_naturals", "order",
    "repeat", "alone", "repeated", "pool", "settings", "ground", "binary",
}  # fmt: skip
JSON_FIELDS = tuple(name for name in Row.__dataclass_fields__ if name not in _NOT_WRITTEN)
"""The fields of a row that are written to JSON and CSV, in their order."""


def captured(gain: float, headroom: float) -> float | None:
    """Return the part of the headroom that a gain is; None where the headroom is under 0.01.

    It is negative where the reranker did harm.
    """
    return gain / headroom if headroom >= LEAST_HEADROOM else None


LEAST_HEADROOM = 0.01
