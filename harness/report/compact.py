"""The tables that answer the question first: gains of rerankers after each first stage, and cost.

A matrix for each data set and each task: rerankers down, first stages across. Everything else is in
the wide tables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..evaluation import MAIN, records
from ..pools import NO_ORDER
from .notes import (
    by_reranker,
    group_rows,
    headline,
    in_brackets,
    is_valid_result,
    marks,
    mean,
    queries,
    significance,
)
from .tables import ReportTable
from .text import NOTHING, count, crop, number, signed

if TYPE_CHECKING:
    from ..evaluation import Evaluation
    from .notes import Record

COMPACT = 100
"""The most columns of a terminal that a matrix takes, where its first stages allow it."""

_NAME, _CELL = 25, 14
"""Room for the name of a reranker that a matrix has at least; longest name of a first stage."""

_LABEL = 12
"""The least that is left of a label next to its marks."""

_GAP = 2
"""Characters between two columns."""

_MOST_TASKS = 12
"""A data set of more tasks has only the matrix of its means."""

LEGEND = (
    f"Gain in {MAIN} over each first stage, ± half its 95 % confidence interval; * significant "
    "(paired t-test, Holm, 5 %). calls, seconds: per query. More columns: --wide; all: --json; "
    "what they mean: --explain."
)


def matrices(found: Evaluation) -> list[ReportTable]:
    """Return the matrix of each data set's means, then those of its tasks.

    Runs on other queries, pools or judgements than most of a task have matrices of their own.
    """
    sizes = {group.name: len(group.tasks) for group in found.groups}
    crowded = {t for group in found.groups if len(group.tasks) > _MOST_TASKS for t in group.tasks}
    made = []
    for name, rows in group_rows(found.means.main, "task").items():
        usual = [row for row in rows if not row["apart"]]
        made += _matrices(f"{name}, mean of {sizes[name]} tasks", usual)
    for task, rows in group_rows(found.results.main, "task").items():
        if task not in crowded:
            usual = [row for row in rows if not row["apart"]]
            made += [*_matrices(task, usual), *_main_scores(found, task, usual)]
            others = [row for row in rows if row["apart"]]
            made += _matrices(f"{task}, not comparable with the above", others)
    return made


def _main_scores(found: Evaluation, task: str, rows: Sequence[Record]) -> Iterator[ReportTable]:
    """Yield the matrices of a main score of the task that is not MAIN and is computed here."""
    for measure in sorted(
        {row["main_measure"] for row in rows}.intersection(found.measures) - {MAIN}
    ):
        own = records(found.results.rows(measure).query("task == @task and not apart"))
        yield from _matrices(f"{task}, gain in {measure}", own)


def _matrices(title: str, rows: Iterable[Record]) -> list[ReportTable]:
    """Return matrices in each of which runs after a first stage share queries and judgements."""
    parts: list[list[Record]] = []
    for row in rows:
        fitting = (part for part in parts if all(_is_comparable(row, other) for other in part))
        part = next(fitting, None)
        if part is None:
            parts.append([row])
        else:
            part.append(row)
    return [_matrix(title, part) for part in parts]


def _is_comparable(one: Record, other: Record) -> bool:
    names = ("queries", "depth", "judgements") if one["apart"] else ()
    same = all(one[name] == other[name] for name in names)
    return same and (one["profile"] != other["profile"] or one["ground"] == other["ground"])


def _matrix(title: str, rows: Sequence[Record]) -> ReportTable:
    no_order = {row["profile"] for row in rows if row["origin"] == NO_ORDER}
    values = {row["profile"]: number(row["first_stage"]) for row in rows}
    before = {own: f"{NO_ORDER if own in no_order else value} " for own, value in values.items()}
    profiles = sorted(before)
    every = _ordered(rows)
    numbers = [("", *(before[profile] for profile in profiles), "", "")]
    for own in every.values():
        gains = {row["profile"]: _gain(row) for row in own}
        costs = (_cost(own, column) for column in ("calls_per_query", "seconds_per_query"))
        numbers.append(("", *(gains.get(profile, f"{NOTHING} ") for profile in profiles), *costs))
    heads = ("reranker", *(crop(profile, _CELL) for profile in profiles), "calls", "seconds")
    room = _room([heads, *numbers])
    names = ["first stage", *_names(every, room)]
    cells = tuple((name, *own[1:]) for name, own in zip(names, numbers, strict=True))
    title = f"{title} · {queries(max(row['queries'] for row in rows))}"
    others = dict.fromkeys(row["main_measure"] for row in rows if row["main_measure"] != MAIN)
    if others:
        title += f" · main score {', '.join(others)}"
    return ReportTable(title, heads, cells, room=room)


def _ordered(rows: Iterable[Record]) -> dict[str, list[Record]]:
    """Return the rows of each reranker, the best first, and last those of which all is invalid."""
    every = by_reranker(rows).items()
    return dict(sorted(every, key=lambda item: all(row["invalid"] for row in item[1])))


def _room(lines: Sequence[Sequence[str]]) -> int:
    """Return how wide the first column may be next to the others."""
    widths = (max(map(len, column)) + _GAP for column in list(zip(*lines, strict=True))[1:])
    return max(COMPACT - _GAP - sum(widths), _NAME)


def _names(every: Mapping[str, Sequence[Record]], room: int) -> Iterator[str]:
    """Write each label with the marks of its rows; where it is too long, the label is cropped.

    A crop that would make two labels alike is not made: the column is folded in place of it.
    """
    behind = {label: in_brackets(_marks(rows)) for label, rows in every.items()}
    cropped = {label: crop(label, max(room - len(m), _LABEL)) for label, m in behind.items()}
    shared = Counter(cropped.values())
    for label, words in behind.items():
        yield f"{cropped[label] if shared[cropped[label]] == 1 else label}{words}"


def _marks(rows: Iterable[Record]) -> dict[str, None]:
    """Return the marks of all rows, each once; which gains are invalid is said in their cells."""
    return dict.fromkeys(word for row in rows for word in marks({**row, "invalid": None}))


def _gain(row: Record) -> str:
    """Write a gain with half its interval and its star."""
    if row["invalid"]:
        return "invalid "
    known = row["gain_low"] is not None
    half = f" ±{(row['gain_high'] - row['gain_low']) / 2:.3f}" if known else ""
    return f"{signed(row['gain'], 3)}{half}{'*' if row['starred'] else ' '}"


def _cost(rows: Sequence[Record], column: str) -> str:
    """Write the mean over first stages; nothing where any has no value."""
    return NOTHING if any(row[column] is None for row in rows) else count(mean(rows, column))


def conclusions(found: Evaluation) -> Iterator[str]:
    """Say of each data set which reranker is best, and name what is in no matrix."""
    for name, rows in group_rows(headline(found), "task").items():
        yield f"{name}: {_best([row for row in rows if not row['apart'] and is_valid_result(row)])}"
    odd = "; ".join(_odd(found.results.main, found))
    if odd:
        yield f"{odd[0].upper()}{odd[1:]}."


def _best(rows: Sequence[Record]) -> str:
    if not rows:
        return "no reranker to compare: only floors, fake engines or invalid runs."
    every = by_reranker(rows)
    most = max(map(len, every.values()))
    name, own = next((name, own) for name, own in every.items() if len(own) == most)
    gain = mean(own, "gain")
    over = f" on average over {most} first stages" if most > 1 else ""
    who = "best" if gain > 0 else "none gained; best"
    return f"{who} is {name} with {signed(gain, 3)}{over}; {significance(rows)}"


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
            yield f"{words}: {', '.join(_with_runs(own, runs))}"
    without = dict.fromkeys(reranker for group in found.groups for _, reranker, _ in group.left_out)
    if without:
        yield f"without a mean over all tasks: {', '.join(without)}"
    if found.left_out:
        yield f"left out: {len(found.left_out)} (see --wide)"


def _with_runs(rows: Sequence[Record], runs: Counter[str]) -> Iterator[str]:
    """Name rerankers, and how many of their runs are meant where it is not all of them."""
    for name, own in Counter(row["reranker"] for row in rows).items():
        yield name if own == runs[name] else f"{name} ({own} of {runs[name]} runs)"
