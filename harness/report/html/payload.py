"""The data of the page as blocks of JSON: `report` is read at once, the others on demand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from ...evaluation import MAIN, Evaluation, Results, records
from ..text import plain
from .frames import in_order, small_frames
from .pack import Packed, pack_columns
from .plots import KINDS, SYMBOLS, TEMPLATES
from .sections import column_list, sections, shown_columns
from .views import View, texts_block


def blocks(found: Evaluation, views: Sequence[View]) -> dict[str, Any]:
    """Return the page's blocks by name.

    report: sections, columns, runs and all small frames; values-MEASURE: the values of one measure;
    texts: the queries in `views`.
    """
    parts = {"means": _best_first(found.means), "tasks": _best_first(found.results)}
    runs = {name: records(own.runs) for name, own in parts.items()}
    order = _rerankers(parts["tasks"], runs["tasks"])
    views = in_order(views, order)
    marked = {(r["task"], r["profile"], r["reranker"]): marks(r) for r in chain(*runs.values())}
    frames = small_frames(found, views, marked, order)
    packed_runs = {name: _runs(own) for name, own in runs.items()}
    values = {m: {name: _values(own, m) for name, own in parts.items()} for m in found.measures}
    filled = {name: _filled(own, values[MAIN][name]) for name, own in packed_runs.items()}
    filled["results"] = filled["means"] | filled["tasks"]
    filled |= {name: _filled(frame) for name, frame in frames.items()}
    report = {
        "measures": found.measures,
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
    values_of = {f"values-{measure}": own for measure, own in values.items()}
    return {"report": report, "texts": texts_block(views), **values_of}


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
    names = [column.name for column in shown_columns() if column.frame == "runs"]
    col = {name: [run.get(name) for run in runs] for name in names}
    return pack_columns(col | {name: [of(run) for run in runs] for name, of in computed.items()})


def _values(results: Results, measure: str) -> Packed:
    """Return the values of one measure, each with the place of its run."""
    own = results.values[results.values["measure"] == measure].sort_values("run")
    names = ["run", *(column.name for column in shown_columns() if column.frame == "values")]
    return pack_columns({name: own[name].tolist() for name in names})


def scope(run: Mapping[str, Any]) -> str:
    """Return the name of a task, or of a data set with the number of tasks that its mean is of."""
    return f"{run['task']}, mean of {run['tasks']} tasks" if run["tasks"] > 1 else str(run["task"])


def kind(run: Mapping[str, Any]) -> str:
    """Return what keeps a run from being a result like others; an empty text if nothing does."""
    if run["invalid"]:
        return "invalid"
    if run["floor"]:
        return "floor"
    if not run["is_real"]:
        return "fake engine"
    return "not comparable" if run["apart"] else ""


def marks(run: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a reader must know of a run before its numbers."""
    words = {
        f"invalid: {run['invalid']}": run["invalid"],
        "floor": run["floor"],
        "fake engine": not run["is_real"],
        "not comparable: other queries, pool or judgements": run["apart"],
        f"first {run['depth']}": run["depth"],
        run["judgements"]: run["judgements"],
    }
    return tuple(word for word, is_so in words.items() if is_so)


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
