"""The data of the page as blocks of JSON: `report` is read at once, the others on demand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...evaluation import MEASURES, Evaluation
from ..text import plain
from .adapter import Results, split
from .adapter_columns import COLUMNS
from .pack import Packed, packed, table
from .plots import KINDS, SYMBOLS, TEMPLATES
from .sections import column_list, sections

if TYPE_CHECKING:
    from ...evaluation import ClaimRow, OrderRow, QueryRow, StratumRow

Key = tuple[str, str, str]
Marks = Mapping[Key, tuple[str, ...]]

_NAMES = ("task", "profile", "reranker")
_SHOWN = {name for c in COLUMNS if c.label for name in (c.name, *c.fields)}


def blocks(found: Evaluation) -> dict[str, Any]:
    """Return the page's blocks by name.

    report: sections, columns, runs and all small frames; values-MEASURE: the values of one measure.
    """
    parts = dict(zip(("means", "tasks"), map(_best_first, split(found)[:2]), strict=True))
    runs = {name: _runs(own) for name, own in parts.items()}
    values = {m: {name: _values(own, m) for name, own in parts.items()} for m in MEASURES}
    frames = _frames(found)
    filled = {name: _filled(runs[name], *(own[name] for own in values.values())) for name in parts}
    filled["results"] = filled["means"] | filled["tasks"]
    filled |= {name: _filled(frame) for name, frame in frames.items()}
    report = {
        "measures": MEASURES,
        "sections": sections(filled),
        "columns": column_list(),
        "symbols": SYMBOLS,
        "kinds": KINDS,
        "templates": TEMPLATES,
        "rerankers": _rerankers(parts["tasks"]),
        "sets": {plain(g.name): [plain(task) for task in g.tasks] for g in found.groups},
        "languages": _languages(found),
        "runs": runs,
        "frames": frames,
    }
    return {"report": report, **{f"values-{m}": own for m, own in values.items()}}


def _best_first(results: Results) -> Results:
    """Return the runs by task and profile, the best first; a run's index is its place."""
    values = results.values
    main = values[values["measure"] == MEASURES[0]].set_index("run")["natural"]
    runs = results.runs.assign(natural=main).sort_values(
        ["task", "profile", "apart", "natural"], ascending=[True, True, True, False], kind="stable"
    )
    places = {label: place for place, label in enumerate(runs.index)}
    return Results(
        runs.drop(columns="natural").reset_index(drop=True),
        values.assign(run=values["run"].map(places)).sort_values("run", kind="stable"),
    )


def _runs(results: Results) -> Packed:
    """Return what is the same for all measures of a run."""
    runs = results.runs
    records = runs.to_dict("records")
    col = {name: runs[name].tolist() for name in runs if name in _SHOWN}
    col["scope"] = [scope(run) for run in records]
    col["kind"] = [kind(run) for run in records]
    col["marks"] = [marks(run) for run in records]
    col["health"] = [health(run) for run in records]
    col["tokens_per_query"] = [_tokens(run) for run in records]
    return packed(col, len(records))


def _values(results: Results, measure: str) -> Packed:
    """Return the values of one measure, each with the place of its run."""
    own = results.values[results.values["measure"] == measure]
    shown = [name for name in own if name == "run" or name in _SHOWN]
    return packed({name: own[name].tolist() for name in shown}, len(own))


def scope(run: Mapping[str, Any]) -> str:
    """Return the name of a task, or of a data set with the number of tasks that its mean is of."""
    return f"{run['task']}, mean of {run['tasks']} tasks" if run["tasks"] > 1 else run["task"]


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
    depth, judgements = run["depth"], run["judgements"]
    words = {
        f"invalid: {run['invalid']}": run["invalid"],
        "floor": run["floor"],
        "fake engine": run["engine"] == "fake",
        "not comparable": run["apart"],
        f"first {depth:.0f}" if depth else "": depth == depth,
        judgements: True,
    }
    return tuple(word for word, holds in words.items() if word and holds)


def health(run: Mapping[str, Any]) -> str | None:
    """Return how many queries failed and how many replies were repaired or unusable."""
    names = {"failed": "failed", "repaired": "repaired", "unparsable": "unusable"}
    counts = {word: run[name] for name, word in names.items()}
    return ", ".join(f"{n:.0f} {word}" for word, n in counts.items() if n and n == n) or None


def _tokens(run: Mapping[str, Any]) -> float | None:
    total: float = run["prompt_tokens"] + run["output_tokens"]
    return total / run["queries"]


def _filled(*frames: Packed) -> set[str]:
    """Return the columns in which any row has a value other than 0."""
    return {
        name
        for frame in frames
        for name, values in frame["col"].items()
        if any(values["of"] if isinstance(values, dict) else values)
    }


def _rerankers(tasks: Results) -> list[str]:
    """Return all rerankers, those that compare first and floors last, best mean gain first."""
    main = tasks.values[tasks.values["measure"] == MEASURES[0]].set_index("run")
    runs = tasks.runs.assign(gain=main["gain"])
    rank = {"": 0, "floor": 2}
    runs["odd"] = [rank.get(kind(run), 1) for run in runs.to_dict("records")]
    each = runs.groupby("reranker").agg({"odd": "max", "gain": "mean"})
    ordered = each.sort_values(["odd", "gain"], ascending=[True, False], kind="stable")
    return [plain(name) for name in ordered.index]


def _languages(found: Evaluation) -> dict[str, list[str]]:
    """Return the languages of each task's queries, where they are known."""
    pairs = {(row.task, row.language) for row in found.queries if row.language}
    pairs |= {(row.task, row.value) for row in found.strata if row.kind == "language"}
    languages: dict[str, list[str]] = {}
    for task, language in sorted(pairs):
        languages.setdefault(plain(task), []).append(plain(language))
    return languages


def _frames(found: Evaluation) -> dict[str, Packed]:
    """Return the small frames; each run in them has the marks of its results."""
    means, tasks, stages = split(found)
    known: dict[Key, tuple[str, ...]] = {}
    for results in (means, tasks):
        for run in results.runs.to_dict("records"):
            known[run["task"], run["profile"], run["reranker"]] = marks(run)
    order = {name: place for place, name in enumerate(_rerankers(tasks))}

    def best_first(rows: Iterable[Any]) -> list[Any]:
        return sorted(rows, key=lambda row: order.get(plain(row.reranker), len(order)))

    return {
        "first_stages": _stages(stages),
        "queries": _queries(best_first(found.queries), known),
        "strata": _strata(best_first(found.strata), known),
        "orders": _orders(found.orders, known),
        "promotions": _promotions(found.orders),
        "latencies": _run_table(found.latencies, ("queries", "p50", "p95", "hardware"), known),
        "claims": _claims(found.claims, known),
    }


def _stages(stages: Results) -> Packed:
    names = [n for n in (*stages.values, *stages.runs) if n in _SHOWN and n != "reranker"]
    rows = stages.values.join(stages.runs, on="run")
    return packed({name: rows[name].tolist() for name in names}, len(rows))


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
        verdict=[verdict(row) for row in rows],
        caveat=[claim.caveat or None for claim in claims],
        source=[claim.source for claim in claims],
    )  # fmt: skip


def verdict(row: ClaimRow) -> str:
    """Say whether a run agrees with a published figure."""
    if not row.comparable:
        return "does not compare"
    return "agrees" if row.within else "differs"
