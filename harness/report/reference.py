"""Figures of HAKARI-Bench's leaderboard next to those of runs; neither enters a test or a mean.

The leaderboard is a DuckDB file of the data set `hakari-bench/leaderboard_database` (extra
`hakari`). Its score target `reranking_without_safeguard` is what is natural here, and `reranking`
what is safeguarded, both after `reranking_hybrid` and with gain 1 for every positive. So the runs
beside them are those of all queries after that first stage, measured in the same way.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadData, MissingExtra
from ..runs import find_all_runs, read_manifest
from .hakari import DEPTH, HYBRID, METRIC
from .notes import display_name
from .tables import ReportTable
from .text import number

if TYPE_CHECKING:
    from ..evaluation import Evaluation

_SCORES = """
    SELECT model_name, model_dir, benchmark, dataset_id, task_name, split_name,
           max(score) FILTER (score_target = 'reranking_without_safeguard'),
           max(score) FILTER (score_target = 'reranking')
    FROM fact_task_score
    WHERE score_target IN ('reranking_without_safeguard', 'reranking')
      AND coalesce(candidate_ranking, $hybrid) = $hybrid
      AND aggregate_metric = $metric AND embedding_variant_name IS NULL
    GROUP BY model_name, model_dir, benchmark, dataset_id, task_name, split_name, result_path
"""
"""A row for each result file, whose values belong together; without a named first stage it is after
the hybrid."""
_OURS, _THEIRS = "these runs", "HAKARI-Bench"


@dataclass(frozen=True)
class Figure:
    """The nDCG@10 of one reranker on one task; None where it is not known."""

    reranker: str
    source: str
    natural: float | None
    safeguarded: float | None


def reference_tables(found: Evaluation, roots: Sequence[Path], file: Path) -> list[ReportTable]:
    """Return a table for each task, and for each data set of several, of runs and leaderboard.

    found: the evaluation of the runs in `roots`.

    A note of every table names the runs that are left out, and why. Raises BadData where `file` is
    not a leaderboard or has no figure for a task of the runs, MissingExtra without duckdb.
    """
    ours, left_out = _ours(found, _sampled(roots))
    theirs = _theirs(file, ours)
    unlisted = [task for task in ours if task not in theirs]
    notes = [*([f"No figure for {', '.join(unlisted)}."] if unlisted else ()), *left_out]
    if not theirs:
        raise BadData(f"{file} has no figure to put beside these runs. {' '.join(notes)}")
    joined = {task: [*ours[task], *theirs[task]] for task in ours if task in theirs}
    sets: dict[str, list[str]] = defaultdict(list)
    for task in joined:
        sets[task.rpartition("/")[0]].append(task)
    means = {
        f"{name}, mean of {len(tasks)} tasks": _means([joined[task] for task in tasks])
        for name, tasks in sets.items()
        if len(tasks) > 1
    }
    return [_table(name, figures, notes) for name, figures in {**means, **joined}.items()]


def _sampled(roots: Sequence[Path]) -> set[tuple[str, ...]]:
    """Return task, profile and reranker of the runs of some queries alone."""
    settings = [read_manifest(folder)["settings"] for folder in find_all_runs(roots)]
    return {
        (own["task"], own["profile"]["asked"], own["reranker"]["label"])
        for own in settings
        if own.get("queries") is not None
    }


def _ours(
    found: Evaluation, sampled: set[tuple[str, ...]]
) -> tuple[dict[str, list[Figure]], list[str]]:
    """Return the figures of the runs that compare, by task, and a note of each kind of others."""
    figures: dict[str, list[Figure]] = defaultdict(list)
    others: Counter[str] = Counter()
    for row in found.results.main:
        why = _difference(row, sampled)
        if why is None:
            values = row["natural_binary"], row["safeguarded_binary"]
            figures[row["task"]].append(Figure(display_name(row), _OURS, *values))
        else:
            others[why] += 1
    return figures, [f"Left out, {why}: {count} of the runs." for why, count in others.items()]


def _difference(row: Mapping[str, Any], sampled: set[tuple[str, ...]]) -> str | None:
    """Return what sets a run apart from those of the leaderboard, None for nothing."""
    if row["resolved"] != HYBRID:
        return f"not after {HYBRID}"
    if row["judgements"]:
        return "by other judgements"
    if (row["depth"] or DEPTH) < DEPTH:
        return f"of fewer than {DEPTH} candidates"
    is_sample = (row["task"], row["profile"], row["reranker"]) in sampled
    return "of a sample of the queries (--queries)" if is_sample else None


def _theirs(file: Path, tasks: Iterable[str]) -> dict[str, list[Figure]]:
    """Return the leaderboard's figures by the tasks that are known to it.

    A model has one figure a task for each of its folders, such as those of two revisions: that of
    the best result file.
    """
    found: dict[str, dict[tuple[str, str], Figure]] = defaultdict(dict)
    folders: dict[str, set[str]] = defaultdict(set)
    known = set(tasks)
    for model, folder, benchmark, data_set, task, split, *values in _rows(file):
        sets = benchmark, str(data_set).rpartition("/")[2], data_set
        names = dict.fromkeys(f"{one}/{own}" for one in sets for own in (task, split))
        for name in known.intersection(names):
            folders[model].add(folder)
            own = Figure(model, _THEIRS, *values)
            found[name][model, folder] = max(own, found[name].get((model, folder), own), key=_rank)

    def shown(model: str, folder: str) -> str:
        return model if len(folders[model]) == 1 else f"{model} ({folder})"

    return {
        name: [replace(figure, reranker=shown(*key)) for key, figure in own.items()]
        for name, own in found.items()
    }


def _rank(figure: Figure) -> tuple[float, float]:
    return figure.natural or 0.0, figure.safeguarded or 0.0


def _rows(file: Path) -> Sequence[tuple[Any, ...]]:
    try:
        import duckdb
    except ImportError as error:
        install = "pip install 'rerank-bench[hakari]'"
        raise MissingExtra(f"--reference needs duckdb: {install}") from error
    if not file.is_file():
        raise BadData(f"no leaderboard at {file}")
    try:
        with duckdb.connect(str(file), read_only=True) as database:
            found: Sequence[tuple[Any, ...]]
            found = database.execute(_SCORES, {"hybrid": HYBRID, "metric": METRIC}).fetchall()
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise BadData(f"{file} is no leaderboard of HAKARI-Bench ({reason})") from error
    return found


def _means(tasks: Sequence[Sequence[Figure]]) -> list[Figure]:
    """Return the plain means of the rerankers that have a natural figure for every task."""
    values: dict[tuple[str, str], dict[int, Figure]] = defaultdict(dict)
    for task, figures in enumerate(tasks):
        for figure in figures:
            values[figure.reranker, figure.source].setdefault(task, figure)
    return [
        Figure(
            *key,
            _mean([f.natural for f in own.values()]),
            _mean([f.safeguarded for f in own.values()]),
        )
        for key, own in values.items()
        if len(own) == len(tasks)
    ]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(values) if len(known) == len(values) else None


def _table(name: str, figures: Sequence[Figure], notes: Sequence[str]) -> ReportTable:
    best_first = sorted(figures, key=lambda figure: -(figure.natural or 0.0))
    columns: dict[str, Callable[[Figure], str]] = {
        "reranker": lambda figure: figure.reranker,
        "source": lambda figure: figure.source,
        "natural": lambda figure: number(figure.natural),
        "safeguarded": lambda figure: number(figure.safeguarded),
    }
    title = f"{name} · after {HYBRID} · nDCG@10 with gain 1 for every positive"
    return ReportTable.of(title, best_first, columns, names=2, notes=[_NOTE, *notes])


_NOTE = (
    "HAKARI-Bench's are its leaderboard's reranking_without_safeguard and reranking; they are not "
    "measured here, and enter no test or mean."
)
