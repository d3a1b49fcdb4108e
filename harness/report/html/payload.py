"""What the page is told: blocks of JSON, of which the first is enough for the first table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ...evaluation import MEASURES, Evaluation, Group, Row, mean_rows
from ..notes import notes_of, sentence
from .columns import Packed, column, columns, measure

if TYPE_CHECKING:
    from ...evaluation import ClaimRow

MAIN = MEASURES[0]

_RUN = (
    "task", "profile", "origin", "resolved", "reranker", "model", "engine", "hardware", "queries",
    "safeguards", "failed", "calls_per_query", "rounds", "prompt_tokens", "output_tokens",
    "cached_tokens", "from_cache", "seconds_per_query", "gpu_seconds", "startup_seconds",
    "ideal_flops", "price", "invalid", "depth", "judgements", "apart", "floor", "repeats",
    "clusters",
    "repaired", "unparsable", "budget", "cut", "instruction", "tied_at_10", "label_probability",
)  # fmt: skip
_NUMBERS = (
    "decided", "p", "p_holm", "starred", "family", "wins", "ties", "losses", "rerankable",
)  # fmt: skip
_MEASURED = (
    "first_stage", "natural", "safeguarded", "ceiling", "ceiling_safeguarded", "gain", "gain_low",
    "gain_high", "gain_safeguarded", "detectable", "noise", "headroom_captured", "judged",
    "judged_first_stage", "published",
)  # fmt: skip
_NAMES = ("task", "profile", "reranker")

_QUERY = (
    *_NAMES, "query_id", "language", "rank_before", "rank_after", "safeguard", "failed", "repaired",
)  # fmt: skip
_STAGES = ("first_stage", "natural", "safeguarded")
_CLAIM = ("reranker", "measure", "source", "why", "caveat", "safeguarded")

ByMeasure = dict[str, Row]


def blocks(found: Evaluation) -> dict[str, Any]:
    """Return the page's blocks by name; `first` is read at once, the others when needed."""
    runs = _by_measure(found.rows)
    first = {
        "measures": list(MEASURES),
        "groups": _groups(found.groups),
        "summary": _summary(found),
        "left_out": list(found.left_out),
        "runs": _runs(runs),
        "values": _values(MAIN, runs),
    }
    return {
        "first": first,
        **{f"values-{m}": _values(m, runs) for m in MEASURES[1:]},
        "recall": _recall(found.rows),
        "rest": _rest(found),
        "queries": columns(found.queries, _QUERY, measures=_STAGES),
    }


def _by_measure(rows: Iterable[Row]) -> list[ByMeasure]:
    """The rows of each run by their measures; recall is of no run."""
    runs: dict[tuple[str, str, str], ByMeasure] = {}
    for row in rows:
        if row.reranker is not None:
            runs.setdefault(row.key, {})[row.measure] = row
    return list(runs.values())


def _runs(runs: Iterable[ByMeasure]) -> Packed:
    """What is the same for all measures of a run."""
    return columns([next(iter(run.values())) for run in runs], _RUN)


def _values(name: str, runs: Iterable[ByMeasure]) -> Packed:
    """One measure of all `runs`, in their order; a run without it has none of its values."""
    rows = [run.get(name) for run in runs]
    col = {field: column([_get(row, field) for row in rows]) for field in _NUMBERS}
    col |= {field: measure([_get(row, field) for row in rows]) for field in _MEASURED}
    return {"n": len(rows), "col": col}


def _get(row: Row | None, field: str) -> Any:
    return None if row is None else getattr(row, field)


def _groups(groups: Sequence[Group]) -> dict[str, Any]:
    runs = _by_measure(mean_rows(groups))
    return {
        "names": [group.name for group in groups],
        "tasks": [list(group.tasks) for group in groups],
        "left_out": [[list(who) for who in group.left_out] for group in groups],
        "runs": _runs(runs),
        "values": {m: _values(m, runs) for m in MEASURES},
    }


def _summary(found: Evaluation) -> list[dict[str, Any]]:
    """What each data set shows by each profile: a sentence, and what is to be known with it."""
    wholes: Iterable[Sequence[Row]] = [group.rows for group in found.groups]
    named = {task for group in found.groups for task in group.tasks}
    alone = [row for row in found.rows if row.task not in named]
    told = []
    for rows in [*wholes, *_parts(alone, "task")]:
        main = [row for row in rows if row.measure == MAIN and row.reranker is not None]
        for part in _parts(main, "profile"):
            part = sorted(part, key=lambda row: (row.apart, -(row.natural or 0.0)))
            told.append(
                {
                    "task": part[0].task,
                    "profile": part[0].profile,
                    "sentence": sentence(part),
                    "notes": notes_of(part),
                }
            )
    return told


def _parts(rows: Iterable[Row], field: str) -> Iterable[list[Row]]:
    parts: dict[str, list[Row]] = {}
    for row in rows:
        parts.setdefault(getattr(row, field), []).append(row)
    return parts.values()


def _recall(rows: Iterable[Row]) -> Packed:
    """What the first stages are worth by themselves."""
    own = [row for row in rows if row.reranker is None]
    fields = ("task", "profile", "origin", "resolved", "measure", "queries", "safeguards")
    return columns(own, fields, measures=("first_stage", "published"))


def _rest(found: Evaluation) -> dict[str, Packed]:
    """The small tables."""
    return {
        "orders": columns(
            found.orders, (*_NAMES, "orders", "promotion"), measures=("mean", "sd", "tau")
        ),
        "latencies": columns(found.latencies, (*_NAMES, "queries", "p50", "p95", "hardware")),
        "strata": columns(
            found.strata,
            (*_NAMES, "kind", "value", "queries"),
            measures=("first_stage", "natural", "gain", "gain_low", "gain_high"),
        ),
        "claims": _claims(found.claims),
    }


def _claims(rows: Sequence[ClaimRow]) -> Packed:
    """Each claim beside its run; `published` and `first_stage` are the source's."""
    own = columns(rows, ("task", "profile", "within"), measures=("measured",))
    claims = [row.claim for row in rows]
    col = {name: column([getattr(claim, name) for claim in claims]) for name in _CLAIM}
    col["published"] = measure([claim.value for claim in claims])
    col["tolerance"] = measure([claim.tolerance for claim in claims])
    return {"n": len(rows), "col": {**own["col"], **col}}
