"""What `doctor` finds in the answers of one engine, and between those of two."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..types import ContinuationScore, Failure, LabelScores, Logits
from .doctor_requests import Asked

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

TAU = 0.99
LABELS = ("labels", "labels by id")
SCORES = ("pairs", *LABELS)

Answers = Mapping[int, Any]


@dataclass(frozen=True)
class Check:
    """One finding. `value` is None where there is no finite number; `ok` where none is judged.

    `value` is to be at most `tolerance`, or at least where the name says so.
    """

    name: str
    value: float | None
    tolerance: float | None = None
    ok: bool | None = None


@dataclass(frozen=True)
class Passes:
    """One section's answers by index: in one call, again, in reversed order, and one by one."""

    cold: Answers
    warm: Answers
    turned: Answers
    alone: Answers


@dataclass(frozen=True)
class Examined:
    """One engine's answers and faults by section.

    `tolerance` is how far its numbers may be off; `frame` the tokens that its tokenizer puts before
    a text, None where it has none that can be asked.
    """

    letter: str
    passes: Mapping[str, Passes]
    faults: Mapping[str, str]
    tolerance: float
    frame: int | None


# One engine


def own_checks(one: Examined, asked: Mapping[str, Asked]) -> Iterator[Check]:
    """Counts that must be right, scores that must not be constant, and agreement with itself."""
    mark = f"{one.letter} · "
    yield _refusals(one, asked, mark)
    for section in LABELS:
        if section in one.passes:
            yield from _counts(one, section, asked[section], mark)
    yield _spread(one, f"{mark}spread of one score over all requests, at least")
    for told, found in _self_differences(one.passes, asked).items():
        yield _at_most(f"{mark}{told}, largest difference", found, one.tolerance)
    for told in ("cold", "warm"):
        answers = [a for p in one.passes.values() for _, a in _served(getattr(p, told))]
        cached = sum(answer.cached_tokens for answer in answers)
        yield Check(f"{mark}cached tokens, {told}", cached)


def _refusals(one: Examined, asked: Mapping[str, Asked], mark: str) -> Check:
    """A context ends somewhere: what is refused must be longer than all that is served."""
    refused, ok = 0, True
    for section, passes in one.passes.items():
        for answers in (passes.cold, passes.warm, passes.turned):
            served = [asked[section].sizes[i] for i, _ in _served(answers)]
            failed = [asked[section].sizes[i] for i in answers.keys() - dict(_served(answers))]
            ok &= not failed or (bool(served) and min(failed) > max(served))
        refused += len(passes.cold) - len(_served(passes.cold))
    return Check(f"{mark}requests refused, none but the longest", refused, None, ok)


def _counts(one: Examined, section: str, asked: Asked, mark: str) -> Iterator[Check]:
    served = _served(one.passes[section].cold)
    extra = [answer.prompt_tokens - asked.sizes[i] for i, answer in served]
    # Of an unknown tokenizer it is known that it puts one token before a text, or none.
    frame = one.frame if one.frame is not None else min(max(min(extra, default=0), 0), 1)
    wrong = sum(size != frame for size in extra)
    yield _exactly_none(f"{mark}requests with other prompt tokens than the tokenizer's", wrong)
    wrong = sum(answer.output_tokens != 1 for _, answer in served)
    yield _exactly_none(f"{mark}label requests with other than one output token", wrong)
    missing = sum(x not in a.logprob for i, a in served for x in asked.requests[i].labels)
    yield _exactly_none(f"{mark}labels not found", missing)


def _self_differences(
    passes: Mapping[str, Passes], asked: Mapping[str, Asked]
) -> dict[str, Numbers]:
    every = passes.items()
    return {
        "warm against cold": _differences((p.cold, p.warm) for _, p in every),
        "reversed order of submission": _differences((p.cold, p.turned) for _, p in every),
        "one by one against all": _differences((p.cold, p.alone) for _, p in every),
        "duplicates": _differences((p.cold, _twins(p.cold, asked[name])) for name, p in every),
    }


def _twins(answers: Answers, asked: Asked) -> Answers:
    """For each request that was asked before in the same call, the answer it got there."""
    first: dict[Any, int] = {}
    before = {i: first.setdefault(asked.requests[i], i) for i in answers}
    return {i: answers[twin] for i, twin in before.items() if twin != i}


def _spread(one: Examined, name: str) -> Check:
    """Engines are known to answer the same whatever is asked; that agrees with itself perfectly."""
    import numpy as np

    spreads = []
    for passes in (one.passes[section] for section in SCORES if section in one.passes):
        answers = [answer for _, answer in _served(passes.cold)]
        spreads += [
            np.abs(found).max(initial=0.0)
            for found in (_difference(answers[0], other) for other in answers[1:])
        ]
    if not spreads:
        return Check(name, None)
    largest = float(max(spreads))
    return Check(name, _finite(largest), one.tolerance, largest >= one.tolerance)


# Two engines


def checks_between(one: Examined, other: Examined, asked: Mapping[str, Asked]) -> Iterator[Check]:
    """How far two engines' answers to the same requests are apart."""
    tolerance = max(one.tolerance, other.tolerance)
    for able, unable in ((one, other), (other, one)):
        for section in able.passes.keys() & unable.faults.keys():
            yield Check(f"{section} answered by {able.letter} only", None, None, False)
    cold = {
        name: (passes.cold, other.passes[name].cold)
        for name, passes in one.passes.items()
        if name in other.passes
    }
    yield _parity(cold)
    for section, told in _NUMBERS.items():
        if section in cold:
            found = _differences([cold[section]])
            yield _at_most(f"{told}, largest difference", found, tolerance)
            yield Check(f"{told}, mean difference", _finite(_mean(found)))
    for section in LABELS:
        if section in cold:
            noises = [_noise(engine.passes[section], asked[section]) for engine in (one, other)]
            yield from _orders(*cold[section], noise=max(noises))
    if "texts" in cold:
        same = [x.text == y.text for x, y in _both(*cold["texts"])]
        yield Check("generated texts, share of equal ones", _finite(_mean(same)))


_NUMBERS = {
    "pairs": "pair logits",
    "labels": "centred log-probabilities",
    "labels by id": "centred log-probabilities",
    "likelihoods": "likelihood per token",
}


def _parity(cold: Mapping[str, tuple[Answers, Answers]]) -> Check:
    both = [pair for answers in cold.values() for pair in _both(*answers)]
    wrong = sum(x.prompt_tokens != y.prompt_tokens for x, y in both)
    return _exactly_none("requests with unequal prompt tokens", wrong)


def _noise(passes: Passes, asked: Asked) -> float:
    found = _self_differences({"": passes}, {"": asked}).values()
    return max(float(numbers.max(initial=0.0)) for numbers in found)


def _orders(one: Answers, other: Answers, *, noise: float) -> Iterator[Check]:
    """Kendall's tau and the first label, over the prompts where there is an order to compare."""
    taus, tops = [], []
    for x, y in _both(one, other):
        labels = [label for label in x.logprob if label in y.logprob]
        left, right = ([scores.logprob[label] for label in labels] for scores in (x, y))
        taus += [tau for tau in [kendall(left, right, noise=noise)] if tau is not None]
        tops += [left.index(max(left)) == right.index(max(right))] if labels else []
    tau = _finite(_mean(taus))
    ok = None if not taus else tau is not None and tau >= TAU
    yield Check("Kendall tau of the labels, mean, at least", tau, TAU, ok)
    yield Check("first label, share of equal ones", _finite(_mean(tops)))


def kendall(one: Iterable[float], other: Iterable[float], *, noise: float) -> float | None:
    """Kendall's tau without the pairs that either side sees no farther apart than twice `noise`.

    None where no pair is left.
    """
    import numpy as np

    left, right = (np.subtract.outer(x, x) for x in (np.array([*one]), np.array([*other])))
    kept = (np.abs(left) > 2 * noise) & (np.abs(right) > 2 * noise)
    return float((np.sign(left) * np.sign(right))[kept].mean()) if kept.any() else None


# Numbers


def _served(answers: Answers) -> list[tuple[int, Any]]:
    return [(i, answer) for i, answer in answers.items() if not isinstance(answer, Failure)]


def _both(one: Answers, other: Answers) -> list[tuple[Any, Any]]:
    there = dict(_served(other))
    return [(answer, there[i]) for i, answer in _served(one) if i in there]


def _differences(pairs: Iterable[tuple[Answers, Answers]]) -> Numbers:
    """Absolute differences of all numbers that two passes both answered."""
    import numpy as np

    found = [np.abs(_difference(x, y)) for pair in pairs for x, y in _both(*pair)]
    return np.concatenate(found) if found else np.zeros(0)


def _difference(one: Any, other: Any) -> Numbers:
    """Differences of two replies' numbers; those of labels without their mean.

    That is the difference of centred log-probabilities, in which a head over the labels alone and
    one over the whole vocabulary agree.
    """
    import numpy as np

    left, right = _numbers(one), _numbers(other)
    found = np.array([left[key] - right[key] for key in left if key in right], dtype=np.float64)
    return found - found.mean() if isinstance(one, LabelScores) and found.size else found


def _numbers(reply: Any) -> Mapping[Any, float]:
    if isinstance(reply, LabelScores):
        return reply.logprob
    if isinstance(reply, Logits):
        return dict(enumerate(reply.logits))
    if isinstance(reply, ContinuationScore):
        return {"": reply.logprob / max(reply.tokens, 1)}
    return {}


def _mean(values: Iterable[float]) -> float:
    values = [*values]
    return float(sum(values) / len(values)) if values else math.nan


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _at_most(name: str, found: Numbers, tolerance: float) -> Check:
    """The largest of `found`, which is not judged where there is none; NaN is never well."""
    if not found.size:
        return Check(name, None, tolerance)
    largest = float(found.max())
    return Check(name, _finite(largest), tolerance, largest <= tolerance)


def _exactly_none(name: str, count: int) -> Check:
    return Check(name, count, 0, count == 0)
