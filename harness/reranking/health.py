"""Check whether a method worked as it is meant to, from its requests and replies.

A reranker that silently does something else (a FIRST that writes whole answers, labels that were
never found, permutations that are mostly made up by the repair) gives numbers that mean nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..engines import thoughts
from ..types import (
    Candidates,
    Fuse,
    FuseScore,
    Generate,
    Generation,
    LabelScores,
    NextToken,
    Vectors,
)

MOST_REPAIRED = 0.20
"""Share of answers that may be repaired or unusable before a run is invalid."""

LEAST_LABEL_PROBABILITY = 0.01
"""Mean probability of all labels together below which a run is invalid.

A model that answers in another form, or that is still thinking, gives the labels next to nothing:
SmolLM2-135M gives its labels 0.09 to 0.95 in the form they are asked for, and under 0.0001 within
a think block.
"""

MOST_MISSING = 0.10
"""Share of labels that a server which reports only its best tokens may leave out."""

MOST_EQUAL = 0.10
"""Share of queries whose different documents may all have one score before a run is invalid."""

MOST_UNPAID = 0.10
"""Share of queries whose budget may pay for no request before a run is invalid."""

_MILLION = 1_000_000


def observed(request: Any, reply: Any) -> Mapping[str, int]:
    """Count what one reply shows.

    Labels and tokens of a label call, the state of a generation, a vector of a text without tokens,
    the texts that an encoder read one by one.
    """
    if isinstance(reply, LabelScores) and isinstance(request, NextToken):
        return _of_labels(request, reply)
    alone = {"encoded_alone": len(request.prompts)} if isinstance(request, Fuse | FuseScore) else {}
    if isinstance(reply, Generation) and isinstance(request, Generate | Fuse):
        thinks = isinstance(request, Generate) and request.prompt.thinking
        return {"generations": 1, **_of_text(reply, thinks=thinks), **alone}
    if isinstance(reply, Vectors) and not reply.prompt_tokens:
        return {"without_tokens": 1}
    return alone


def _of_labels(request: NextToken, reply: LabelScores) -> dict[str, int]:
    found = sum(reply.logprob.get(x, -math.inf) > -math.inf for x in request.labels)
    labels, tokens = len(request.labels), reply.output_tokens
    counts = {"label_calls": 1, "label_tokens": tokens, "labels": labels}
    if not reply.over_labels and labels > 1:  # a raw logit is no answer among others
        total = sum(math.exp(value) for value in reply.logprob.values())
        counts |= {"label_probability": round(_MILLION * total), "label_probability_calls": 1}
    return counts if found == labels else {**counts, "missing_labels": labels - found}


def label_probability(counts: Mapping[str, int]) -> float | None:
    """Return the mean probability of all labels together, from 0 to 1; None where not known."""
    calls = counts.get("label_probability_calls", 0)
    return counts.get("label_probability", 0) / _MILLION / calls if calls else None


def equal_scores(candidates: Candidates, scores: Sequence[float], calls: int) -> Mapping[str, int]:
    """Count a query of several documents whose model was called, and whether all scores are equal.

    Documents that are equal as they were given are left out, unless they were cut to nothing.
    """
    texts = [document.text for document in candidates.documents]
    if not calls or len(texts) < 2 or (len(set(texts)) == 1 and texts[0]):
        return {}
    return {"scored_queries": 1, "equal_scores": int(len(set(scores)) == 1)}


def _of_text(reply: Generation, *, thinks: bool) -> dict[str, int]:
    unasked = any(map(str.strip, thoughts(reply.text))) and not thinks
    found = {"unfinished": not reply.finished, "thoughts": unasked}
    return {name: 1 for name, true in found.items() if true}


@dataclass(frozen=True)
class Check:
    """One rule of a mechanism: `found` of `expected`, and whether that breaks it."""

    name: str
    found: int
    expected: int
    broken: bool

    def __str__(self) -> str:
        return f"{self.name}: {self.found:,} of {self.expected:,}"


def checks(counts: Mapping[str, int], *, exact_labels: bool) -> list[Check]:
    """Return the checks that apply to what a run counted, summed over its queries.

    exact_labels: the engine's attribute; without it some labels may be missing.
    """

    def of(name: str) -> int:
        return counts.get(name, 0)

    found = []
    if of("label_calls"):
        calls, tokens, labels = of("label_calls"), of("label_tokens"), of("labels")
        missing, allowed = of("missing_labels"), 0 if exact_labels else MOST_MISSING
        there = labels - missing
        found += [
            Check("tokens written by one-token calls", tokens, calls, tokens != calls),
            Check("labels found", there, labels, missing > allowed * labels),
        ]
    probability = label_probability(counts)
    if probability is not None:
        per_mille, low = round(1000 * probability), probability < LEAST_LABEL_PROBABILITY
        found.append(Check("probability of the labels, in thousandths", per_mille, 1000, low))
    if queries := of("scored_queries"):
        equal = of("equal_scores")
        broken = equal > MOST_EQUAL * queries
        found.append(Check("queries with all scores equal", equal, queries, broken))
    if queries := of("budgeted_queries"):
        unpaid = of("unpaid_queries")
        broken = unpaid > MOST_UNPAID * queries
        found.append(Check("queries whose budget paid for nothing", unpaid, queries, broken))
    if answers := of("generations"):
        repaired = of("repaired") + of("unparsable")
        broken = repaired > MOST_REPAIRED * answers
        found += [
            Check("answers repaired or unusable", repaired, answers, broken),
            Check("answers with thoughts that were not asked for", of("thoughts"), answers, False),
        ]
    return found


def invalid(found: Iterable[Check]) -> str | None:
    """Why a run is invalid, None where it is not."""
    broken = [str(check) for check in found if check.broken]
    return "; ".join(broken) or None
