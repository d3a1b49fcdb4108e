"""The data of the page as blocks of JSON: `report` is read at once, the others on demand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...evaluation import COLUMNS, MAIN, MEASURES, Column, Evaluation, Results, records
from ..text import plain
from .pack import Packed, packed, table
from .plots import KINDS, SYMBOLS, TEMPLATES
from .sections import column_list, sections

if TYPE_CHECKING:
    import pandas as pd

    from ...evaluation import ClaimRow, OrderRow, QueryRow, StratumRow

Key = tuple[str, str, str]
Marks = Mapping[Key, tuple[str, ...]]

_NAMES = ("task", "profile", "reranker")


def blocks(found: Evaluation) -> dict[str, Any]:
    """Return the page's blocks by name.

    report: sections, columns, runs and all small frames; values-MEASURE: the values of one measure.
    """
    parts = {"means": _best_first(found.means), "tasks": _best_first(found.results)}
    runs = {name: records(own.runs) for name, own in parts.items()}
    order = _rerankers(parts["tasks"], runs["tasks"])
    frames = _frames(found, [*runs["means"], *runs["tasks"]], order)
    packed_runs = {name: _runs(own) for name, own in runs.items()}
    values = {m: {name: _values(own, m) for name, own in parts.items()} for m in MEASURES}
    filled = {name: _filled(own, values[MAIN][name]) for name, own in packed_runs.items()}
    filled["results"] = filled["means"] | filled["tasks"]
    filled |= {name: _filled(frame) for name, frame in frames.items()}
    report = {
        "measures": MEASURES,
        "sections": sections(filled),
        "columns": column_list(),
        "symbols": SYMBOLS,
        "kinds": KINDS,
        "templates": TEMPLATES,
        "rerankers": order,
        "sets": {plain(g.name): [plain(task) for task in g.tasks] for g in found.groups},
        "languages": _languages(found),
        "runs": packed_runs,
        "frames": frames,
    }
    return {"report": report, **{f"values-{m}": own for m, own in values.items()}}


def _best_first(results: Results) -> Results:
    """Return the runs by task and profile, the best first; a run's label is its place."""
    main = results.values[results.values["measure"] == MAIN].set_index("run")["natural"]
    runs = results.runs.assign(natural=main).sort_values(
        ["task", "profile", "apart", "natural"], ascending=[True, True, True, False], kind="stable"
    )
    places = {label: place for place, label in enumerate(runs.index)}
    return Results(
        runs.drop(columns="natural").reset_index(drop=True),
        results.values.assign(run=results.values["run"].map(places)),
    )


def _runs(runs: Sequence[Mapping[str, Any]]) -> Packed:
    """Return what is the same for all measures of a run."""
    computed = {
        "scope": scope,
        "kind": kind,
        "marks": marks,
        "health": health,
        "tokens_per_query": _tokens,
    }
    col = {c.name: [run.get(c.name) for run in runs] for c in _shown() if c.frame == "runs"}
    col |= {name: [of(run) for run in runs] for name, of in computed.items()}
    return packed(col, len(runs))


def _values(results: Results, measure: str) -> Packed:
    """Return the values of one measure, each with the place of its run."""
    own = results.values[results.values["measure"] == measure].sort_values("run")
    names = ["run", *(column.name for column in _shown() if column.frame == "values")]
    return packed({name: own[name].tolist() for name in names}, len(own))


def _shown() -> list[Column]:
    """Return the columns with a label: the others are not for readers."""
    return [column for column in COLUMNS if column.label]


def scope(run: Mapping[str, Any]) -> str:
    """Return the name of a task, or of a data set with the number of tasks that its mean is of."""
    return f"{run['task']}, mean of {run['tasks']} tasks" if run["tasks"] > 1 else str(run["task"])


def kind(run: Mapping[str, Any]) -> str:
    """Return what keeps a run from being a result like others; an empty text if nothing does."""
    if run["invalid"]:
        return "invalid"
    if run["floor"]:
        return "floor"
    if run["engine"] == "fake":
        return "fake engine"
    return "not comparable" if run["apart"] else ""


def marks(run: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a reader must know of a run before its numbers."""
    words = {
        f"invalid: {run['invalid']}": run["invalid"],
        "floor": run["floor"],
        "fake engine": run["engine"] == "fake",
        "not comparable: other queries, pool or judgements": run["apart"],
        f"first {run['depth']}": run["depth"],
        run["judgements"]: run["judgements"],
    }
    return tuple(word for word, holds in words.items() if holds)


def health(run: Mapping[str, Any]) -> str | None:
    """Return how many queries failed and how many replies were repaired or unusable."""
    counts = {"failed": "failed", "repaired": "repaired", "unparsable": "unusable"}
    return ", ".join(f"{run[name]} {word}" for name, word in counts.items() if run[name]) or None


def _tokens(run: Mapping[str, Any]) -> float | None:
    if run["prompt_tokens"] is None or run["output_tokens"] is None:
        return None
    return float(run["prompt_tokens"] + run["output_tokens"]) / float(run["queries"])


def _filled(*frames: Packed) -> set[str]:
    """Return the columns in which any row has a value other than 0."""
    return {
        name
        for frame in frames
        for name, values in frame["col"].items()
        if any(values["of"] if isinstance(values, dict) else values)
    }


def _rerankers(tasks: Results, runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return all rerankers, those that compare first and floors last, best mean gain first."""
    gains = tasks.values[tasks.values["measure"] == MAIN].set_index("run")["gain"]
    last = {"": 0, "floor": 2}
    each = (
        tasks.runs[["reranker"]]
        .assign(gain=gains, odd=[last.get(kind(run), 1) for run in runs])
        .groupby("reranker")
        .agg({"odd": "max", "gain": "mean"})
        .sort_values(["odd", "gain"], ascending=[True, False], kind="stable")
    )
    return [plain(name) for name in each.index]


def _languages(found: Evaluation) -> dict[str, list[str]]:
    """Return the languages of each task's queries, where they are known."""
    pairs = {(row.task, row.language) for row in found.queries if row.language}
    pairs |= {(row.task, row.value) for row in found.strata if row.kind == "language"}
    languages: dict[str, list[str]] = {}
    for task, language in sorted(pairs):
        languages.setdefault(plain(task), []).append(plain(language))
    return languages


def _frames(
    found: Evaluation, runs: Iterable[Mapping[str, Any]], order: Sequence[str]
) -> dict[str, Packed]:
    """Return the small frames; a run has the same marks in all of them."""
    known = {(run["task"], run["profile"], run["reranker"]): marks(run) for run in runs}
    places = {name: place for place, name in enumerate(order)}

    def best_first(rows: Iterable[Any]) -> list[Any]:
        return sorted(rows, key=lambda row: places.get(plain(row.reranker), len(places)))

    return {
        "first_stages": _stages(found.first_stages),
        "queries": _queries(best_first(found.queries), known),
        "strata": _strata(best_first(found.strata), known),
        "orders": _orders(found.orders, known),
        "promotions": _promotions(found.orders),
        "latencies": _run_table(found.latencies, ("queries", "p50", "p95", "hardware"), known),
        "claims": _claims(found.claims, known),
    }


def _stages(stages: pd.DataFrame) -> Packed:
    rows = records(stages)
    names = [column.name for column in _shown() if column.of_pool]
    return packed({name: [row[name] for row in rows] for name in names}, len(rows))


def _run_table(rows: Sequence[Any], fields: Sequence[str], known: Marks, **more: Any) -> Packed:
    """Return a table of records of runs."""
    found = [known.get((row.task, row.profile, row.reranker), ()) for row in rows]
    return table(rows, (*_NAMES, *fields), marks=found, **more)


def _queries(rows: Sequence[QueryRow], known: Marks) -> Packed:
    fields = (
        "query_id", "language", "first_stage", "natural", "safeguarded", "rank_before",
        "rank_after",
    )  # fmt: skip
    moved = [row.rank_before - row.rank_after if row.rank_before and row.rank_after else None
             for row in rows]  # fmt: skip
    return _run_table(
        rows, fields, known,
        query_gain=[row.natural - row.first_stage for row in rows],
        moved=moved,
        direction=[_direction(steps) for steps in moved],
        health=[_query_health(row) for row in rows],
    )  # fmt: skip


def _direction(moved: int | None) -> str | None:
    if moved is None:
        return None
    return "rose" if moved > 0 else "fell" if moved < 0 else "stayed"


def _query_health(row: QueryRow) -> str | None:
    words = {
        "failed": row.failed,
        f"{row.repaired} repaired": row.repaired,
        "safeguard": row.safeguard,
    }
    return ", ".join(word for word, holds in words.items() if holds) or None


def _strata(rows: Sequence[StratumRow], known: Marks) -> Packed:
    fields = ("queries", "first_stage", "natural", "gain", "gain_low", "gain_high")
    return _run_table(
        rows, fields, known,
        stratum_kind=[row.kind for row in rows],
        stratum=[row.value for row in rows],
        language=[row.value if row.kind == "language" else None for row in rows],
    )  # fmt: skip


def _orders(rows: Sequence[OrderRow], known: Marks) -> Packed:
    names = [", ".join(row.orders) for row in rows]
    return _run_table(rows, ("mean", "sd", "tau"), known, orders=names)


def _promotions(rows: Sequence[OrderRow]) -> Packed:
    """Return one row for each tenth of each reranker's input."""
    long = [(row, tenth, share) for row in rows for tenth, share in enumerate(row.promotion, 1)]
    return packed(
        {
            **{name: [getattr(row, name) for row, _, _ in long] for name in _NAMES},
            "scope": [f"{row.task}, {row.profile}" for row, _, _ in long],
            "tenth": [tenth for _, tenth, _ in long],
            "promoted": [share for _, _, share in long],
        },
        len(long),
    )


def _claims(rows: Sequence[ClaimRow], known: Marks) -> Packed:
    claims = [row.claim for row in rows]
    return _run_table(
        rows, ("measured",), known,
        measure=[f"{c.measure}, safeguarded" if c.safeguarded else c.measure for c in claims],
        claimed=[claim.value for claim in claims],
        difference=[row.measured - row.claim.value for row in rows],
        tolerance=[claim.tolerance for claim in claims],
        verdict=["agrees" if row.within else "differs" for row in rows],
        why=[claim.why or None for claim in claims],
        source=[claim.source for claim in claims],
    )  # fmt: skip
