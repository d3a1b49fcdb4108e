"""The tables that answer the question first: gains of rerankers after each first stage, and cost.

A matrix for each data set and each task: rerankers down, first stages across. Everything else is in
the wide tables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from ..evaluation import MAIN
from .notes import is_real, named, queries, significant
from .tables import Table
from .text import NOTHING, count, crop, number, signed

if TYPE_CHECKING:
    from ..evaluation import Evaluation, Results
    from .notes import Record

_NAME, _CELL = 25, 14
"""Longest name of a reranker, and of a first stage, in characters."""

_MOST_TASKS = 12
"""A data set of more tasks has only the matrix of its means."""

LEGEND = (
    f"Gain in {MAIN} over each first stage, ± half its 95 % confidence interval; * significant "
    "(paired t-test, Holm, 5 %). calls, seconds: per query. All columns: --wide; what they mean: "
    "--explain."
)


def matrices(found: Evaluation) -> list[Table]:
    """Return the matrix of each data set's means, then those of its tasks.

    Runs on other queries, pools or judgements than most of a task have matrices of their own.
    """
    sizes = {group.name: len(group.tasks) for group in found.groups}
    crowded = {t for group in found.groups if len(group.tasks) > _MOST_TASKS for t in group.tasks}
    made = [
        _matrix(f"{name}, mean of {sizes[name]} tasks", part)
        for name, rows in _by_task(found.means)
        for part in _comparable(row for row in rows if not row["apart"])
    ]
    for task, rows in _by_task(found.results):
        if task not in crowded:
            usual = _comparable(row for row in rows if not row["apart"])
            others = _comparable(row for row in rows if row["apart"])
            made += [_matrix(task, part) for part in usual]
            made += [_matrix(f"{task}, not comparable with the above", part) for part in others]
    return made


def _comparable(rows: Iterable[Record]) -> list[list[Record]]:
    """Split rows so that the runs after one first stage have the same queries and judgements."""
    parts: list[list[Record]] = []
    for row in rows:
        for part in parts:
            if all(_is_comparable(row, other) for other in part):
                part.append(row)
                break
        else:
            parts.append([row])
    return parts


def _is_comparable(one: Record, other: Record) -> bool:
    names = ("queries", "depth", "judgements") if one["apart"] else ()
    same = all(one[name] == other[name] for name in names)
    return same and (one["profile"] != other["profile"] or one["ground"] == other["ground"])


def conclusions(found: Evaluation) -> Iterator[str]:
    """Say of each data set which reranker is best, and name what is in no matrix."""
    in_means = {task for group in found.groups for task in group.tasks}
    tasks = _by_task(found.results)
    for name, rows in (*_by_task(found.means), *(t for t in tasks if t[0] not in in_means)):
        yield f"{name}: {_best([row for row in rows if not row['apart'] and is_real(row)])}"
    odd = "; ".join(_odd(found.results.main, found))
    if odd:
        yield f"{odd[0].upper()}{odd[1:]}."


def _by_task(results: Results) -> list[tuple[str, list[Record]]]:
    parts = groupby(results.main, key=lambda row: str(row["task"]))
    return [(task, list(part)) for task, part in parts]


def _by_reranker(rows: Iterable[Record]) -> dict[str, list[Record]]:
    """Return the rows of each reranker, the best on average first."""
    found: dict[str, list[Record]] = {}
    for row in rows:
        found.setdefault(row["reranker"], []).append(row)
    return dict(sorted(found.items(), key=lambda item: (-_mean_gain(item[1]), item[0])))


def _mean_gain(rows: Sequence[Record]) -> float:
    return float(sum(row["gain"] for row in rows) / len(rows))


def _matrix(title: str, rows: Sequence[Record]) -> Table:
    profiles = sorted({row["profile"] for row in rows})
    before = {row["profile"]: f"{number(row['first_stage'])} " for row in rows}
    cells = [("first stage", *(before[profile] for profile in profiles), "", "")]
    for own in _by_reranker(rows).values():
        gains = {row["profile"]: _gain(row) for row in own}
        name = crop(named({**own[0], "invalid": None}), _NAME)
        costs = (count(_mean(own, field)) for field in ("calls_per_query", "seconds_per_query"))
        cells.append((name, *(gains.get(profile, f"{NOTHING} ") for profile in profiles), *costs))
    heads = ("reranker", *(crop(profile, _CELL) for profile in profiles), "calls", "seconds")
    return Table(f"{title} · {queries(max(row['queries'] for row in rows))}", heads, tuple(cells))


def _gain(row: Record) -> str:
    """Write a gain with half its interval and its star."""
    if row["invalid"]:
        return "invalid "
    known = row["gain_low"] is not None
    half = f" ±{(row['gain_high'] - row['gain_low']) / 2:.3f}" if known else ""
    return f"{signed(row['gain'], 3)}{half}{'*' if row['starred'] else ' '}"


def _mean(rows: Sequence[Record], field: str) -> float | None:
    """Return the mean over first stages; None where any has no value."""
    values = [row[field] for row in rows]
    return None if None in values else float(sum(values) / len(values))


def _best(rows: Sequence[Record]) -> str:
    if not rows:
        return "no reranker to compare: only floors, fake engines or invalid runs."
    most = max(len(own) for own in _by_reranker(rows).values())
    whole = {name: own for name, own in _by_reranker(rows).items() if len(own) == most}
    name, own = next(iter(whole.items()))
    gain = _mean_gain(own)
    mean = f"{signed(gain, 3)} on average over {most} first stages" if most > 1 else signed(gain, 3)
    words = f"{'best' if gain > 0 else 'none gained; best'} is {name} with {mean}"
    tested = [row for row in rows if row["family"]]
    if not tested:
        return f"{words}; no gain was tested (too few queries, or equal gains)."
    up, down = significant(tested)
    return f"{words}; of {len(tested)} tested, {up} gained and {down} lost significantly."


def _counted(rows: Sequence[Record], runs: Counter[str]) -> Iterator[str]:
    """Name rerankers, and how many of their runs are meant where it is not all of them."""
    for name, number_ in Counter(row["reranker"] for row in rows).items():
        yield name if number_ == runs[name] else f"{name} ({number_} of {runs[name]} runs)"


def _odd(rows: Sequence[Record], found: Evaluation) -> Iterator[str]:
    """Name what is invalid, failed, not comparable or left out."""
    kinds = {
        "invalid": [row for row in rows if row["invalid"]],
        "failed queries, which count as 0": [row for row in rows if row["failed"]],
        "not comparable (other queries, pools or judgements)": [r for r in rows if r["apart"]],
    }
    runs = Counter(row["reranker"] for row in rows)
    for words, own in kinds.items():
        if own:
            yield f"{words}: {', '.join(_counted(own, runs))}"
    without = dict.fromkeys(reranker for group in found.groups for _, reranker, _ in group.left_out)
    if without:
        yield f"without a mean over all tasks: {', '.join(without)}"
    if found.left_out:
        yield f"left out: {len(found.left_out)} (see --wide)"
