"""The checks of `doctor`: on the replies of one engine, and between those of two."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import EngineFault
from ..types import ContinuationScore, Failure, LabelScores, Logits, Statistics
from .doctor_requests import RequestGroup

TOLERANCES: Mapping[str, float] = {"float32": 1e-3, "bfloat16": 0.15, "float16": 0.15}
"""dtype -> the largest good difference of centred log-probabilities or logits."""

UNKNOWN_DTYPE = 0.15
"""The tolerance of an engine whose dtype is not known."""

LEAST_TAU = 0.99
LABELS = ("labels", "labels by id")
SCORES = ("pairs", *LABELS)

Replies = Mapping[int, Any]
"""Index of a request -> its reply or Failure."""


@dataclass(frozen=True)
class DoctorCheck:
    """One finding.

    value: None if there is no finite number. tolerance: the largest good value, or the smallest if
    the name says "at least". ok: None if the value is not judged.
    """

    name: str
    value: float | None
    tolerance: float | None = None
    ok: bool | None = None


@dataclass(frozen=True)
class Passes:
    """One section's replies: in one call, again, in reversed order, and one by one."""

    cold: Replies
    warm: Replies
    reversed: Replies
    alone: Replies


@dataclass(frozen=True)
class EngineReplies:
    """One engine, as the user wrote it in `name`, with its replies and errors by section."""

    letter: str
    name: str
    identity: Mapping[str, str]
    statistics: Statistics
    passes: Mapping[str, Passes]
    errors: Mapping[str, EngineFault]

    @property
    def tolerance(self) -> float:
        """The largest good difference of its numbers."""
        return TOLERANCES.get(self.identity.get("dtype", ""), UNKNOWN_DTYPE)


# One engine


def own_checks(one: EngineReplies, requests: Mapping[str, RequestGroup]) -> Iterator[DoctorCheck]:
    """Yield the checks of token counts, of scores that are all equal, and of repeatability."""
    mark = f"{one.letter} · "
    yield _refusals(one, requests, mark)
    for name in LABELS:
        if name in one.passes:
            yield from _counts(one, _served(one.passes[name].cold), requests[name], mark)
    yield _spread(one, f"{mark}spread of one score over all requests, at least")
    for name, found in _repeated(one.passes, requests).items():
        yield _at_most(f"{mark}{name}, largest difference", found, one.tolerance)
    for name in ("cold", "warm"):
        replies = (_served(getattr(passes, name)).values() for passes in one.passes.values())
        cached = sum(reply.cached_tokens for section in replies for reply in section)
        yield DoctorCheck(f"{mark}cached tokens, {name}", cached)


def _refusals(one: EngineReplies, requests: Mapping[str, RequestGroup], mark: str) -> DoctorCheck:
    """Check that every refused request is longer than all that were served."""
    refused, ok = 0, True
    for name, passes in one.passes.items():
        sizes = requests[name].sizes
        for replies in (passes.cold, passes.warm, passes.reversed):
            served = [sizes[i] for i in _served(replies)]
            failed = [sizes[i] for i in replies.keys() - _served(replies).keys()]
            ok &= not failed or (bool(served) and min(failed) > max(served))
        refused += len(passes.cold) - len(_served(passes.cold))
    return DoctorCheck(f"{mark}requests refused, none but the longest", refused, None, ok)


def _counts(
    one: EngineReplies, served: Replies, section: RequestGroup, mark: str
) -> Iterator[DoctorCheck]:
    extra = [reply.prompt_tokens - section.sizes[i] for i, reply in served.items()]
    leading = one.statistics.leading_tokens
    if leading is None:  # a tokenizer puts one token before a text, or none
        leading = min(max(min(extra, default=0), 0), 1)
    wrong = {
        "requests with other prompt tokens than the tokenizer's": sum(n != leading for n in extra),
        "label requests with other than one output token": sum(
            reply.output_tokens != 1 for reply in served.values()
        ),
        "labels not found": sum(
            label not in reply.logprob
            for i, reply in served.items()
            for label in section.requests[i].labels
        ),
    }
    for name, count in wrong.items():
        yield DoctorCheck(f"{mark}{name}", count, 0, count == 0)


def _spread(one: EngineReplies, name: str) -> DoctorCheck:
    """Check that scores depend on the request: an engine whose scores do not repeats perfectly."""
    spreads = []
    for section in SCORES:
        replies = [*_served(one.passes[section].cold).values()] if section in one.passes else []
        spreads += [_difference(replies[0], reply).max(initial=0.0) for reply in replies[1:]]
    largest = float(max(spreads, default=math.nan))
    ok = largest >= one.tolerance if spreads else None
    return DoctorCheck(name, _finite(largest), one.tolerance if spreads else None, ok)


def _repeated(
    passes: Mapping[str, Passes], requests: Mapping[str, RequestGroup]
) -> dict[str, NDArray[np.float64]]:
    """Return the differences between replies to equal requests, by what differed in the call."""
    every = [(p, _duplicates(p.cold, requests[name])) for name, p in passes.items()]
    return {
        "warm against cold": _differences((p.cold, p.warm) for p, _ in every),
        "reversed order of submission": _differences((p.cold, p.reversed) for p, _ in every),
        "one by one against all": _differences((p.cold, p.alone) for p, _ in every),
        "duplicates": _differences((p.cold, duplicates) for p, duplicates in every),
    }


def _duplicates(replies: Replies, section: RequestGroup) -> Replies:
    """Return, for each request that occurred before in the same call, the reply to the first."""
    first: dict[Any, int] = {}
    before = {i: first.setdefault(section.requests[i], i) for i in replies}
    return {i: replies[earlier] for i, earlier in before.items() if earlier != i}


# Two engines


def checks_between(
    one: EngineReplies, other: EngineReplies, requests: Mapping[str, RequestGroup]
) -> Iterator[DoctorCheck]:
    """Yield the checks that compare two engines' replies to the same requests."""
    for able, unable in ((one, other), (other, one)):
        for name in able.passes.keys() & unable.errors.keys():
            yield DoctorCheck(f"{name} answered by {able.letter} only", None, None, False)
    cold = {
        name: (one.passes[name].cold, other.passes[name].cold)
        for name in one.passes
        if name in other.passes
    }
    both = [pair for replies in cold.values() for pair in _both(*replies)]
    unequal = sum(a.prompt_tokens != b.prompt_tokens for a, b in both)
    yield DoctorCheck("requests with unequal prompt tokens", unequal, 0, unequal == 0)
    for name, label in _NUMBERS.items():
        if name in cold:
            found = _differences([cold[name]])
            tolerance = max(one.tolerance, other.tolerance)
            yield _at_most(f"{label}, largest difference", found, tolerance)
            yield DoctorCheck(f"{label}, mean difference", _mean(found))
    for name in LABELS:
        if name in cold:
            noise = max(_noise(e.passes[name], requests[name]) for e in (one, other))
            yield from _orders(_both(*cold[name]), noise)
    if "texts" in cold:
        equal = [a.text == b.text for a, b in _both(*cold["texts"])]
        yield DoctorCheck("generated texts, share of equal ones", _mean(equal))


_NUMBERS = {
    "pairs": "pair logits",
    "labels": "centred log-probabilities",
    "labels by id": "centred log-probabilities",
    "likelihoods": "likelihood per token",
}


def _noise(passes: Passes, section: RequestGroup) -> float:
    """Return how far an engine's own replies to equal requests differ at most."""
    found = _repeated({"": passes}, {"": section}).values()
    return max(float(differences.max(initial=0.0)) for differences in found)


def _orders(
    replies: Iterable[tuple[LabelScores, LabelScores]], noise: float
) -> Iterator[DoctorCheck]:
    """Compare the order of the labels, and the first label, prompt by prompt."""
    taus, firsts = [], []
    for a, b in replies:
        labels = [label for label in a.logprob if label in b.logprob]
        left, right = ([scores.logprob[label] for label in labels] for scores in (a, b))
        tau = kendall(left, right, noise=noise)
        taus += [] if tau is None else [tau]
        firsts += [left.index(max(left)) == right.index(max(right))] if labels else []
    mean = _mean(taus)
    ok = None if not taus else mean is not None and mean >= LEAST_TAU
    yield DoctorCheck("Kendall tau of the labels, mean, at least", mean, LEAST_TAU, ok)
    yield DoctorCheck("first label, share of equal ones", _mean(firsts))


def kendall(one: Iterable[float], other: Iterable[float], *, noise: float) -> float | None:
    """Return Kendall's tau over the pairs that both sides separate by more than twice `noise`.

    None if there is no such pair.
    """
    left, right = (np.subtract.outer(x, x) for x in (np.array([*one]), np.array([*other])))
    separated = (np.abs(left) > 2 * noise) & (np.abs(right) > 2 * noise)
    signs = np.sign(left) * np.sign(right)
    return float(signs[separated].mean()) if separated.any() else None


# Numbers


def _served(replies: Replies) -> Replies:
    return {i: reply for i, reply in replies.items() if not isinstance(reply, Failure)}


def _both(one: Replies, other: Replies) -> list[tuple[Any, Any]]:
    served = _served(other)
    return [(reply, served[i]) for i, reply in _served(one).items() if i in served]


def _differences(pairs: Iterable[tuple[Replies, Replies]]) -> NDArray[np.float64]:
    """Return the absolute differences of all numbers in replies to the same requests."""
    found = [_difference(a, b) for pair in pairs for a, b in _both(*pair)]
    return np.concatenate(found) if found else np.zeros(0)


def _difference(one: Any, other: Any) -> NDArray[np.float64]:
    """Return the absolute differences of two replies' numbers.

    Log-probabilities of labels are centred first: then a head over the labels alone agrees with one
    over the whole vocabulary.
    """
    left, right = _numbers(one), _numbers(other)
    found = np.array([left[key] - right[key] for key in left if key in right], dtype=np.float64)
    centre = found.mean() if isinstance(one, LabelScores) and found.size else 0.0
    return np.abs(found - centre)


def _numbers(reply: Any) -> Mapping[Any, float]:
    if isinstance(reply, LabelScores):
        return reply.logprob
    if isinstance(reply, Logits):
        return dict(enumerate(reply.logits))
    if isinstance(reply, ContinuationScore):
        return {"": reply.logprob / max(reply.tokens, 1)}
    return {}


def _mean(values: Iterable[float]) -> float | None:
    values = [*values]
    return _finite(float(sum(values)) / len(values)) if values else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _at_most(name: str, found: NDArray[np.float64], tolerance: float) -> DoctorCheck:
    """Check the largest of `found`; NaN is never good."""
    if not found.size:
        return DoctorCheck(name, None, tolerance)
    largest = float(found.max())
    return DoctorCheck(name, _finite(largest), tolerance, largest <= tolerance)
