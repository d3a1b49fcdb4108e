"""How well a reranker's scores tell which queries it ranks well: nAUC.

Gisserot-Boukhlef et al., "Towards Trustworthy Reranking: A Simple yet Effective Abstention
Mechanism", 2024, arXiv:2402.12997, as MTEB computes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import BadOption
from .gains import SAME, is_unseeded_random
from .measures import parse_measure

if TYPE_CHECKING:
    from .facts import Facts

Key = tuple[str, str, str]
Numbers = NDArray[np.float64]

_NAUC = re.compile(r"nAUC\((?P<own>[^()]+)\)|nauc_(?P<mteb>.+)_(?:max|std|diff1)", re.IGNORECASE)
_RATES = np.linspace(0.0, 0.9, 10)
"""Shares of the queries that are abstained from."""


@dataclass(frozen=True, slots=True)
class CalibrationRow:
    """nAUC of a measure with three confidences: 1 is perfect, 0 is no better than chance.

    A query's confidence is the highest of its scores, their standard deviation, or the margin of
    the highest over the next. None where no order of the queries changes anything.
    """

    task: str
    profile: str
    reranker: str
    measure: str
    highest: float | None
    deviation: float | None
    margin: float | None


def parse_calibration(text: str) -> str | None:
    """Return the measure of `nAUC(MEASURE)` or mteb's `nauc_map_at_10_max`, None for another text.

    Raises as `parse_measure`, and BadOption for nAUC in another form.
    """
    match = _NAUC.fullmatch(text.strip())
    if match is None and text.strip().casefold().startswith("nauc"):
        raise BadOption(f"{text!r}: nAUC needs a measure: write nAUC(MAP@10)")
    return parse_measure(match["own"] or match["mteb"]) if match else None


def calibration_rows(key: Key, facts: Facts, names: Iterable[str]) -> Iterator[CalibrationRow]:
    """Yield the row of each measure in `names`; none for a reranker that ranks at random.

    key: task, profile and reranker. Scores are those of the natural ranking.
    """
    if is_unseeded_random(facts.settings):
        return
    scores = [
        [s for d, s in zip(r.doc_ids, r.scores, strict=True) if s is not None and d != r.safeguard]
        for r in facts.run.results
    ]
    sure = np.array([_confidences(own) for own in scores])
    for name in names:
        values = facts.values.natural[name]
        yield CalibrationRow(*key, name, *(nauc(own, values) for own in sure.T))


def _confidences(scores: Sequence[float]) -> tuple[float, float, float]:
    first, second = (*sorted(scores, reverse=True)[:2], 0.0, 0.0)[:2]
    if len(scores) < 2:
        return first, 0.0, 0.0
    return first, float(np.std(scores)), first - second


def nauc(confidence: Numbers, values: Numbers) -> float | None:
    """Return the normalised area under the abstention curve; at most 1.

    confidence, values: shape (queries,). The area between the curve and a flat one is divided by
    that of the best curve. None where the best curve is flat.
    """
    reached, best = _curve(confidence, values), _curve(values, values)
    flat = best[0] * (_RATES[-1] - _RATES[0])
    most = _area(best) - flat
    return float((_area(reached) - flat) / most) if most > SAME else None


def _curve(confidence: Numbers, values: Numbers) -> Numbers:
    """Return the mean value of the queries that are kept at each rate of abstention.

    Queries of equal confidence count with their mean, as if they were abstained from at random.
    """
    _, group = np.unique(confidence, return_inverse=True)
    means = np.bincount(group, values) / np.bincount(group)
    kept = means[np.sort(group)]
    firsts = (min(round(rate * len(kept)), len(kept) - 1) for rate in _RATES)
    return np.array([kept[first:].mean() for first in firsts])


def _area(curve: Numbers) -> float:
    return float(((curve[1:] + curve[:-1]) / 2 * np.diff(_RATES)).sum())
