"""What the page is told: blocks of JSON, of which the first is enough for the first table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ...evaluation import MACRO, MAIN, MEASURES, MICRO, Evaluation, records
from ..notes import notes_of, sentence
from .columns import Packed, column, columns, measure

if TYPE_CHECKING:
    import pandas as pd

    from ...evaluation import ClaimRow, Results

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
_CLAIM = ("reranker", "measure", "source", "why", "safeguarded")


def blocks(found: Evaluation) -> dict[str, Any]:
    """Return the page's blocks by name; `first` is read at once, the others when needed."""
    first = {
        "measures": list(MEASURES),
        "groups": _groups(found),
        "summary": _summary(found),
        "left_out": list(found.left_out),
        "runs": _packed(found.runs, _RUN),
        "values": _values(MAIN, found.results),
    }
    return {
        "first": first,
        **{f"values-{m}": _values(m, found.results) for m in MEASURES[1:]},
        "recall": _recall(found),
        "rest": _rest(found),
        "queries": columns(found.queries, _QUERY, measures=_STAGES),
    }


def _packed(frame: pd.DataFrame, fields: Iterable[str], measures: Iterable[str] = ()) -> Packed:
    """Return some columns of a frame; `measures` are rounded to four digits."""
    col = {name: column(_plain(frame[name])) for name in fields}
    col |= {name: measure(_plain(frame[name])) for name in measures}
    return {"n": len(frame), "col": col}


def _plain(values: pd.Series) -> list[Any]:
    return [None if value is None or value != value else value for value in values.tolist()]


def _values(name: str, results: Results) -> Packed:
    """Return one measure of all runs, in their order; a run without it has none of its values."""
    own = results.values[results.values["measure"] == name].set_index("run")
    rows = own.reindex(results.runs.index)
    rows = rows.join(results.runs[["rerankable", "judged", "judged_first_stage"]])
    return _packed(rows, _NUMBERS, _MEASURED)


def _groups(found: Evaluation) -> dict[str, Any]:
    return {
        "names": [group.name for group in found.groups],
        "tasks": [list(group.tasks) for group in found.groups],
        "left_out": [[list(who) for who in group.left_out] for group in found.groups],
        "runs": _packed(found.means.runs, _RUN),
        "values": {m: _values(m, found.means) for m in MEASURES},
    }


def _summary(found: Evaluation) -> list[dict[str, Any]]:
    """Return for each data set and profile a sentence, and what a reader must know with it."""
    in_means = {task for group in found.groups for task in group.tasks}
    tasks = found.results.rows(MAIN)
    rows = records(found.means.rows(MAIN)) + records(tasks[~tasks["task"].isin(in_means)])
    rows = [row for row in rows if not row["apart"]]
    rows.sort(key=lambda row: (row["task"], row["profile"], -row["natural"]))
    parts = groupby(rows, key=lambda row: (row["task"], row["profile"]))
    summary = []
    for (task, profile), part in parts:
        own = list(part)
        words = {"sentence": sentence(own), "notes": notes_of(own)}
        summary.append({"task": task, "profile": profile, **words})
    return summary


def _recall(found: Evaluation) -> Packed:
    """Return what the first stages are worth by themselves."""
    own = found.first_stages[found.first_stages["measure"].isin([MICRO, MACRO])]
    fields = ("task", "profile", "origin", "resolved", "measure", "queries", "safeguards")
    return _packed(own, fields, ("first_stage", "published"))


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
    col["caveat"] = column([""] * len(claims))
    col["published"] = measure([claim.value for claim in claims])
    col["tolerance"] = measure([claim.tolerance for claim in claims])
    return {"n": len(rows), "col": {**own["col"], **col}}
