"""The facts of one run from which the columns of a report are computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..reranking import Usage, total
from ..tasks import MAIN_MEASURE
from . import orders, parts
from .gains import binary_values
from .measures import BINARY, MACRO, MICRO, RECALL, recall_values
from .queries import bases_of
from .significance import Estimate, estimate

if TYPE_CHECKING:
    from ..runs import Run
    from .gains import QueryValues
    from .measures import Values

FLOORS = ("identity", "random", "reverse")
"""Methods that only serve for comparison; their gains are not tested."""

LEAST_HEADROOM = 0.01

NOT_COMPUTED = "(not computed here)"
"""Stands after the name of a main score of which reports have no value."""


@dataclass(frozen=True)
class Facts:
    """A run and its measured values; the columns of a report are functions of this.

    run: as it was read.
    values: per-query values of all measures.
    """

    run: Run
    values: QueryValues

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """What was asked for, as the manifest records it."""
        settings: Mapping[str, Any] = self.run.manifest["settings"]
        return settings

    @cached_property
    def queries(self) -> int:
        """How many queries the run has."""
        return len(self.run.results)

    @cached_property
    def bases(self) -> tuple[str, ...] | None:
        """The question that each query is a version of; None where no two share one."""
        return bases_of(self.run.results)

    @cached_property
    def engine(self) -> Mapping[str, Any]:
        """The engine's settings."""
        return self.settings.get("engine") or {}

    @cached_property
    def spent(self) -> Usage:
        """The usage of all queries together."""
        return total(result.usage for result in self.run.results)

    @cached_property
    def counts(self) -> Counter[str]:
        """What was counted on the way, over all queries."""
        return sum((Counter(result.counts) for result in self.run.results), Counter())

    @cached_property
    def reads(self) -> bool:
        """Whether the reranker sends texts to a model."""
        return bool(self.settings["reranker"].get("asks"))

    @cached_property
    def estimates(self) -> Mapping[str, Estimate]:
        """The mean gain of each measure with its standard error."""
        return {name: estimate(self.values.gain(name), self.bases) for name in self.values.names}

    @cached_property
    def binary(self) -> Mapping[str, Values]:
        """Values under the convention BINARY by stage; empty where they cannot differ."""
        return binary_values(self.run, self.values)

    def mean(self, stage: str, measure: str) -> float:
        """Return the mean of a stage's values over the queries."""
        own: Values = getattr(self.values, stage)
        if measure in (MICRO, MACRO):
            return recall_values(own[RECALL], self.values.positives)[measure]
        return float(own[measure].mean())

    def binary_mean(self, stage: str, measure: str) -> float:
        """Return the mean of a stage's values under the convention BINARY."""
        if stage not in self.binary or measure in (MICRO, MACRO):
            return self.mean(stage, measure)
        return float(self.binary[stage][measure].mean())

    def per_query(self, value: float) -> float:
        """Return a total as a mean over the queries."""
        return value / self.queries


@dataclass(frozen=True)
class PerQuery:
    """The values of one run, query by query.

    query_ids: in the order of the arrays.
    bases: the question that each query is a version of; None where no two share one.
    failed: the ids of failed queries.
    natural, gains: by measure an array of shape (queries,).
    """

    query_ids: tuple[str, ...]
    bases: tuple[str, ...] | None
    failed: frozenset[str]
    natural: Mapping[str, NDArray[np.float64]]
    gains: Mapping[str, NDArray[np.float64]]

    @classmethod
    def of(cls, facts: Facts) -> PerQuery:
        """Return the arrays of a run for all of its measures."""
        return cls(
            query_ids=facts.values.query_ids,
            bases=facts.bases,
            failed=frozenset(r.query_id for r in facts.run.results if r.failed is not None),
            natural={name: facts.values.natural[name] for name in facts.values.names},
            gains={name: facts.values.gain(name) for name in facts.values.names},
        )


def judgements(facts: Facts) -> str:
    """Return the name of the judgements, where they are not the usual ones; else an empty text."""
    qrels, least = facts.settings.get("qrels") or "qrels", facts.run.min_grade
    words = [qrels if qrels != "qrels" else "", f"grades from {least}" if least > 1 else ""]
    return ", ".join(word for word in words if word)


def ground(facts: Facts) -> int:
    """Return a hash of what must be equal for values to compare: pool, queries, judgements."""
    pool = facts.settings["profile"].get("sha256", "")
    return hash((pool, facts.values.query_ids, judgements(facts)))


def main_measure(facts: Facts) -> str:
    """Return the measure that the task's makers report, and whether it is not computed here."""
    measure, score = (facts.run.manifest.get(name) for name in ("main_measure", "main_score"))
    return measure or (f"{score} {NOT_COMPUTED}" if score else MAIN_MEASURE)


def main_score(facts: Facts) -> float | None:
    """Return the value of that measure after reranking; None where it is not computed here."""
    measure = main_measure(facts)
    return facts.mean("natural", measure) if measure in facts.values.names else None


def seconds_per_query(facts: Facts) -> float | None:
    """Return engine seconds per query; None where any reply came from the cache."""
    return None if facts.spent.from_cache else facts.per_query(facts.spent.seconds)


def gpu_seconds(facts: Facts) -> float | None:
    """Return those seconds times the GPUs at work; None without one."""
    if facts.spent.from_cache:
        return None
    found = parts.gpu_seconds(facts.run.manifest, facts.spent.seconds)
    return None if found is None else facts.per_query(found)


def documents(facts: Facts) -> int:
    """Return how many documents the reranker was given, over all queries."""
    if "stages" in facts.run.manifest:
        return sum(stage["documents"] for stage in facts.run.manifest["stages"])
    depth = facts.settings.get("depth")
    guards = sum(result.safeguard is not None for result in facts.run.results)
    return guards + sum(len(pool[:depth]) for pool in facts.values.pools)


def cut(facts: Facts) -> float | None:
    """Return the share of those documents that were truncated; None for a model-free reranker."""
    given = documents(facts)
    truncated = facts.counts["truncated"]
    if "stages" in facts.run.manifest:
        stages = facts.run.manifest["stages"]
        truncated = sum(s["counts"].get("truncated", 0) for s in stages if s["documents"])
    return truncated / given if facts.reads and given else None


def budget(facts: Facts) -> str | None:
    """Write the tokens of a document, as `parts.budget` does; None for a model-free reranker."""
    if not facts.reads:
        return None
    most = facts.settings.get("max_doc_tokens")
    found = parts.rerankers(facts.settings["reranker"])
    return "; ".join(dict.fromkeys(parts.budget(own, most) for own in found if own.get("asks")))


def instruction(facts: Facts) -> str | None:
    """Name the origin of the instruction; None for a run that did not record it."""
    found = list(parts.rerankers(facts.settings["reranker"]))
    if any("instruction" not in own for own in found):
        return None
    sources = [str((own["instruction"] or {}).get("source", "none")) for own in found]
    return ", ".join(dict.fromkeys(sources))


def rerankable(facts: Facts) -> int:
    """Count the queries whose order can change nDCG at all."""
    depth = facts.settings.get("depth")
    pairs = zip(facts.values.pools, facts.values.grades, strict=True)
    return sum(len({grades.get(d, 0) for d in pool[:depth]}) > 1 for pool, grades in pairs)


def judged(facts: Facts) -> float | None:
    """Return the judged share of the top ten after reranking; see `_judged_at_10`."""
    final = [orders.natural(r.doc_ids, r.safeguard) for r in facts.run.results]
    return _judged_at_10(facts, final)


def judged_first_stage(facts: Facts) -> float | None:
    """Return the judged share of the first stage's top ten; see `_judged_at_10`."""
    return _judged_at_10(facts, facts.values.pools)


def _judged_at_10(facts: Facts, rankings: Sequence[Sequence[str]]) -> float | None:
    """Return the mean share of the first ten that was judged, over queries with candidates.

    None where all judged documents are positives: the others were not judged then.
    """
    run = facts.run
    if all(grade >= run.min_grade for own in run.qrels.values() for grade in own.values()):
        return None
    shares = [
        sum(doc_id in run.qrels.get(result.query_id, {}) for doc_id in top[:10]) / len(top[:10])
        for result, top in zip(run.results, rankings, strict=True)
        if top
    ]
    return sum(shares) / len(shares) if shares else None


def tied_at_10(facts: Facts) -> float:
    """Return the share of queries whose top ten is decided by equal scores."""
    return facts.per_query(sum(map(orders.top_tied, facts.run.results)))


def captured(facts: Facts, measure: str) -> float | None:
    """Return the part of the headroom that was gained; None where the headroom is under 0.01.

    It is negative where the reranker did harm.
    """
    headroom = facts.mean("ceiling", measure) - facts.mean("first_stage", measure)
    gain = facts.estimates[measure].mean
    return gain / headroom if headroom >= LEAST_HEADROOM else None


def published(facts: Facts, measure: str) -> float | None:
    """Return the published value of the first stage; None for a sample of the queries."""
    settings = facts.settings
    tables: Mapping[str, Mapping[str, float]] = facts.run.manifest.get("published") or {}
    if settings.get("queries") is not None:
        return None
    name = RECALL if measure == MICRO else measure
    return tables.get(settings["profile"]["resolved"], {}).get(name)


def as_published(facts: Facts, measure: str) -> float | None:
    """Return the first stage's value under the convention of the published one, if there is one."""
    if published(facts, measure) is None:
        return None
    is_binary = facts.run.manifest.get("convention") == BINARY
    return (facts.binary_mean if is_binary else facts.mean)("first_stage", measure)
