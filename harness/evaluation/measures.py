"""Measures of rankings, by ranx (Bassani, "ranx", ECIR 2022; https://github.com/AmenRa/ranx).

Rankings go to ranx as arrays of numbers, never as scores keyed by id. So no ties can arise, no id
is hashed, and the compiled code depends neither on the number of queries nor on the length of ids.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import BadOption, unknown
from ..folders import cache_folder
from ..progress import bar

Values: TypeAlias = Mapping[str, NDArray[np.float64]]
"""One array per measure, shape (queries,), in the order the rankings were given."""

RECALL = "recall@100"
"""A measure of first stages alone: no order of a pool changes it."""

MEASURES = ("nDCG@10", "hit@10", "MRR@10", "MAP@100")
"""What rerankers are compared by; every value lies in [0, 1], and more is better."""

_RANX = {
    "nDCG": "ndcg",  # gain = grade, discount log2(rank + 1): Järvelin & Kekäläinen 2002
    "hit": "hit_rate",
    "MRR": "mrr",
    "MAP": "map",  # divides by all positives, not by min(positives, cut-off)
    "recall": "recall",
    "precision": "precision",  # divides by the cut-off, also where a ranking is shorter
}
"""Our name of a measure, without its cut-off -> that of ranx."""

_ALIASES = {
    "AP": "MAP", "RR": "MRR", "R": "recall", "P": "precision", "Success": "hit", "hit_rate": "hit",
}  # fmt: skip
"""The names of ir_measures (https://ir-measur.es) and of MTEB that are not ours."""

_FORM = re.compile(r"([a-z_]+?)\s*(?:@|_at_|_cut_|_)\s*([0-9]+)", re.IGNORECASE | re.ASCII)
_USUAL = {"MAP": 1000, "recall": 100}
"""The cut-off that is offered where there is none; 10 for the other measures."""

MICRO, MACRO = f"{RECALL} micro", f"{RECALL} macro"
"""Recall over all positives of a task together (as published), and as a mean over its queries."""

BINARY = "binary"
"""The convention of HAKARI-Bench, and of sentence-transformers' evaluators for nDCG: every positive
gains 1, and average precision is divided by the positives that its ranks can hold."""

_AT_ONCE = 5_000  # rankings that are measured together
_NO_DOCUMENT = -1.0  # pads rankings; equals no positive
_NO_POSITIVE = -2.0  # pads positives, with grade 0, which ranx drops


def parse_measure(text: str) -> str:
    """Return our name of a measure such as `MAP@1000`.

    Other tools' forms of it are read too: `AP@1000`, `map_at_1000`, `map_cut_1000`. Raises
    UnknownName for another measure, BadOption for several, or without a cut-off from 1 on.
    """
    if "," in text:
        raise BadOption(f"{text!r} is more than one measure; repeat --measure for each")
    match = _FORM.fullmatch(text.strip())
    kind, cut = match.groups() if match else (text.strip().partition("@")[0].strip(), "0")
    names = {name.casefold(): name for name in _RANX}
    names |= {alias.casefold(): name for alias, name in _ALIASES.items()}
    name = names.get(kind.casefold())
    if name is None:
        raise unknown("measure", text, [f"{name}@10" for name in (*_RANX, *_ALIASES)])
    if int(cut) < 1:
        raise BadOption(f"measure {text!r} needs a cut-off: {kind}@{_USUAL.get(name, 10)}")
    return f"{name}@{int(cut)}"


def named_measures(further: Iterable[str] = ()) -> tuple[str, ...]:
    """Return MEASURES and further ones, which are parsed, each once."""
    return tuple(dict.fromkeys([*MEASURES, *map(parse_measure, further)]))


def positives_of(judgements: Mapping[str, int], *, min_grade: int = 1) -> dict[str, int]:
    """Return the positives and their grades, highest first.

    A grade under `min_grade`, and any grade under 1, gains 0 in nDCG too, so that all measures
    agree on what is positive.
    """
    kept = {doc_id: grade for doc_id, grade in judgements.items() if grade >= max(min_grade, 1)}
    return dict(sorted(kept.items(), key=lambda item: -item[1]))


def measure(
    rankings: Sequence[Sequence[str]],
    grades: Sequence[Mapping[str, int]],
    names: Sequence[str] = MEASURES,
) -> Values:
    """Measure each ranking by the grades of its query's positives.

    `rankings` hold document ids, best first, without repetition; `grades` come from `positives_of`,
    documents that are in no pool included, in the same order. Returns the measures of `names` and
    RECALL. A query with an empty ranking, or without a positive, has 0 and stays in the result.
    """
    keys = {name: _of_ranx(name) for name in (*names, RECALL)}
    if not rankings:
        return {name: np.empty(0) for name in keys}
    parts = []
    for start in range(0, len(rankings), _AT_ONCE):
        own = slice(start, start + _AT_ONCE)
        run, qrels = _arrays(rankings[own], grades[own])
        parts.append(_evaluate()(qrels, run, list(dict.fromkeys(keys.values())), return_mean=False))
    return {
        name: np.concatenate([np.asarray(part[key], dtype=np.float64) for part in parts])
        for name, key in keys.items()
    }


def _of_ranx(name: str) -> str:
    kind, _, cut = name.partition("@")
    return f"{_RANX[kind]}@{cut}"


def is_binary(grades: Sequence[Mapping[str, int]], names: Iterable[str] = MEASURES) -> bool:
    """Return whether all measures are equal under both conventions, whatever the ranking."""
    cut = min(_cuts_of_map(names).values(), default=0)
    return all(len(set(own.values())) < 2 and (not cut or len(own) <= cut) for own in grades)


def _cuts_of_map(names: Iterable[str]) -> dict[str, int]:
    return {name: int(name.partition("@")[2]) for name in names if name.startswith("MAP@")}


def as_binary(values: Values, positives: Sequence[int] | NDArray[np.int64]) -> Values:
    """Return the values of equal grades under BINARY; `positives` are their number per query."""
    count = np.maximum(np.asarray(positives), 1)
    cuts = _cuts_of_map(values)
    return {**values, **{m: values[m] * count / np.minimum(count, cuts[m]) for m in cuts}}


def pool_values(
    pools: Sequence[Sequence[str]], grades: Sequence[Mapping[str, int]], *, convention: str = ""
) -> dict[str, float]:
    """Return the values of a first stage alone: the means of MEASURES, then MICRO and MACRO.

    `pools` hold document ids in first-stage order, without safeguards; at least one query.
    `convention`: BINARY, or empty for ours.
    """
    if convention == BINARY:
        values = measure(pools, [dict.fromkeys(own, 1) for own in grades])
        values = as_binary(values, [len(own) for own in grades])
    else:
        values = measure(pools, grades)
    means = {name: float(values[name].mean()) for name in MEASURES}
    return means | recall_values(values[RECALL], [len(positives) for positives in grades])


def recall_values(
    recall: NDArray[np.float64], positives: Sequence[int] | NDArray[np.int64]
) -> dict[str, float]:
    """Return MICRO and MACRO from the recall and the number of positives of each query."""
    found, known = float(recall @ np.asarray(positives)), int(np.sum(positives))
    return {MICRO: found / max(known, 1), MACRO: float(recall.mean())}


def _arrays(
    rankings: Sequence[Sequence[str]], grades: Sequence[Mapping[str, int]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Turn ids into numbers: shapes (queries, longest, 2), the last axis (document, score).

    A document's number is its place among its query's positives; no other document needs one.
    """
    width = max(1, *map(len, rankings))
    run = np.full((len(rankings), width, 2), _NO_DOCUMENT)
    run[:, :, 1] = np.arange(width, 0, -1)
    qrels = np.zeros((len(grades), max(1, *map(len, grades)), 2))
    qrels[:, :, 0] = _NO_POSITIVE
    for i, (ranking, positives) in enumerate(zip(rankings, grades, strict=True)):
        number = {doc_id: place for place, doc_id in enumerate(positives)}
        run[i, : len(ranking), 0] = [number.get(doc_id, _NO_DOCUMENT) for doc_id in ranking]
        qrels[i, : len(positives), 0] = range(len(positives))
        qrels[i, : len(positives), 1] = list(positives.values())
    return run, qrels


@cache
def _evaluate() -> Callable[..., Mapping[str, NDArray[np.float64]]]:
    """Import ranx, and compile it where that has not been done on this machine."""
    folder = Path(os.environ.setdefault("NUMBA_CACHE_DIR", str(_compiled_folder())))
    if "numba" in sys.modules:  # it read the variable when it was imported, perhaps by bm25s
        sys.modules["numba"].config.CACHE_DIR = str(folder)
    new = not any(folder.rglob("recall.*.nbi"))
    with bar("compiling the measures (once, about 15 s)" if new else "loading the measures"):
        from ranx import evaluate

        _warm(evaluate)
    done: Callable[..., Mapping[str, NDArray[np.float64]]] = evaluate
    return done


def _compiled_folder() -> Path:
    """Return a folder for compiled code; a temporary one where the cache is not writable."""
    folder = cache_folder() / "numba"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="rerank-bench-numba-"))
    return folder


def _warm(evaluate: Any) -> None:
    evaluate(
        np.ones((1, 1, 2)),
        np.ones((1, 1, 2)),
        [*map(_of_ranx, (*MEASURES, RECALL))],
        return_mean=False,
    )
