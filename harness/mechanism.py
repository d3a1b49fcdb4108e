"""Did a method work as it is meant to? Counted from its requests and replies, whoever wrote it.

A reranker that silently does something else (a FIRST that writes whole answers, labels that were
never found, permutations that are mostly made up by the repair) gives numbers that mean nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .types import Generate, Generation, LabelScores, NextToken

MOST_REPAIRED = 0.20
"""Share of answers that may be repaired or unusable before a run is invalid."""

_THOUGHTS = re.compile(r"<think>(.*?)(?:</think>|\Z)", re.DOTALL)


def observed(request: Any, reply: Any) -> Mapping[str, int]:
    """Count what one reply shows: labels and tokens of a label call, the state of a generation."""
    if isinstance(reply, LabelScores) and isinstance(request, NextToken):
        found = sum(reply.logprob.get(x, -math.inf) > -math.inf for x in request.labels)
        labels, tokens = len(request.labels), reply.output_tokens
        counts = {"label_calls": 1, "label_tokens": tokens, "labels": labels}
        return counts if found == labels else {**counts, "missing_labels": labels - found}
    if isinstance(reply, Generation) and isinstance(request, Generate):
        return {"generations": 1, **_of_text(request, reply)}
    return {}


def _of_text(request: Generate, reply: Generation) -> dict[str, int]:
    thoughts = any(block.strip() for block in _THOUGHTS.findall(reply.text))
    unasked = thoughts and not request.prompt.thinking
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


def checks(counts: Mapping[str, int], *, engine: str) -> list[Check]:
    """Return the checks that apply to what a run counted, summed over its queries.

    Prompts need no check here: an engine fails a request whose prompt is not what was sent. Labels
    may be missing from a server that tells its most probable tokens alone; in process they may not.
    """

    def of(name: str) -> int:
        return counts.get(name, 0)

    found = []
    if of("label_calls"):
        calls, tokens, labels = of("label_calls"), of("label_tokens"), of("labels")
        there = labels - of("missing_labels")
        found += [
            Check("tokens written by one-token calls", tokens, calls, tokens != calls),
            Check("labels found", there, labels, there < labels and engine != "http"),
        ]
    if answers := of("generations"):
        mended = of("repaired") + of("unparsable")
        found += [
            Check(
                "answers repaired or unusable", mended, answers, mended > MOST_REPAIRED * answers
            ),
            Check("answers with thoughts that were not asked for", of("thoughts"), answers, False),
        ]
    return found


def invalid(found: Iterable[Check]) -> str | None:
    """Why a run is invalid, None where it is not."""
    broken = [str(check) for check in found if check.broken]
    return "; ".join(broken) or None
