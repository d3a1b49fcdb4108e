"""The wide tables of a report as plain text cells, for whatever shows them.

Per task: the values of its first stages alone, the gains of each reranker in nDCG@10 after each of
them with their costs, and the other measures. Where a data set has several tasks,
its means come first. Runs repeated in other circumstances have tables of their own at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ..evaluation import COLUMNS, MAIN, records
from .notes import display_name, group_rows, notes_of, sentence
from .text import FORMATS, NOTHING, bounds, number, share, signed

if TYPE_CHECKING:
    from ..evaluation import Column, Evaluation, Group
    from .notes import Record


@dataclass(frozen=True)
class ReportTable:
    """Cells as text, not yet escaped. The first `names` columns are names, the others numbers.

    `lead` is one sentence that says what the table shows. `room`: characters that a name has on a
    terminal of 100 columns before it is folded, where that is more than usual.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    names: int = 1
    notes: tuple[str, ...] = ()
    lead: str = ""
    room: int = 0

    @classmethod
    def of(
        cls,
        title: str,
        rows: Iterable[Any],
        columns: Mapping[str, Callable[[Any], str]],
        *,
        names: int,
        notes: Sequence[str] = (),
        lead: str = "",
    ) -> ReportTable:
        """Return a table of `rows`, whose `columns` write a cell of a row by heading."""
        cells = tuple(tuple(write(row) for write in columns.values()) for row in rows)
        return cls(title, tuple(columns), cells, names, tuple(notes), lead)


def tables(found: Evaluation) -> list[ReportTable]:
    """Return all tables of a report, in reading order."""
    means = group_rows(records(found.means.rows()), "task")
    tasks = group_rows(records(found.results.rows()), "task")
    first_stages = group_rows(records(found.first_stages), "task")
    made = [table for group in found.groups for table in _group_tables(group, means[group.name])]
    for task in sorted(first_stages):
        made.append(_first_stage_table(task, first_stages[task]))
        made += _reranker_tables(task, tasks.get(task, []))
    made += [
        *variant_tables(found),
        ReportTable.of("Calibration", found.calibrations, _CALIBRATIONS, names=3, notes=[_NAUC]),
        ReportTable.of("Published figures", found.claims, _CLAIMS, names=3),
        ReportTable.of("Left out", found.left_out, {"what, and why": str}, names=1),
    ]
    return [table for table in made if table.rows]


def variant_tables(found: Evaluation) -> list[ReportTable]:
    """Return the tables of what `--orders` and `--one-at-a-time` found, where they were asked."""
    orders, latencies = (_marked(found, rows) for rows in (found.orders, found.latencies))
    columns, notes = _ORDERS, [_ORDER_NOTE]
    if any(row.promotion for row in orders):
        columns, notes = columns | _PROMOTED, [f"{_ORDER_NOTE} {_PROMOTED_NOTE}"]
    made = [
        ReportTable.of("Other input orders", orders, columns, names=2, notes=notes),
        ReportTable.of("One query at a time", latencies, _LATENCIES, names=3),
    ]
    return [table for table in made if table.rows]


def _marked(found: Evaluation, rows: Sequence[Any]) -> list[Any]:
    """Return rows about runs, whose labels say where a run is invalid or a fake engine's."""
    main = ({**row, "depth": None} for row in found.results.main)
    names = {(row["task"], row["profile"], row["reranker"]): display_name(row) for row in main}
    keys = ((row.task, row.profile, row.reranker) for row in rows)
    return [
        replace(row, reranker=names.get(key, row.reranker))
        for row, key in zip(rows, keys, strict=True)
    ]


def glossary() -> list[tuple[str, str]]:
    """Return the heading of each column that tables show, and what it means."""
    return [(column.label, column.help) for column in _shown_columns()]


def _shown_columns() -> list[Column]:
    return [column for column in COLUMNS if column.show in ("always", "filled")]


def _group_tables(group: Group, rows: Sequence[Record]) -> list[ReportTable]:
    notes = [
        f"Plain means over {len(group.tasks)} tasks, taken as fixed: {', '.join(group.tasks)}."
    ]
    left_out: dict[tuple[str, str], list[str]] = {}
    for profile, reranker, why in group.left_out:
        left_out.setdefault((profile, why), []).append(reranker)
    notes += [
        f"Left out after {profile}, with {why}: {', '.join(rerankers)}."
        for (profile, why), rerankers in left_out.items()
    ]
    title = f"{group.name}, mean of {len(group.tasks)} tasks"
    return _reranker_tables(title, rows, notes=notes)


def _reranker_tables(
    title: str, rows: Sequence[Record], *, notes: Sequence[str] = ()
) -> list[ReportTable]:
    """Return a table for each profile, one of other measures, and one of what does not compare.

    The best reranker after each profile comes first.
    """
    main = [row for row in rows if row["measure"] == MAIN]
    main.sort(key=lambda row: (row["profile"], -row["natural"], row["reranker"]))
    alike = [row for row in main if not row["apart"]]
    made = [
        _gain_table(f"{title} · after {_profile(part[0])} · {MAIN}", part, notes)
        for part in group_rows(alike, "profile").values()
    ]
    return [*made, _measure_table(title, alike, rows), _apart_table(title, main)]


def _gain_table(title: str, rows: Sequence[Record], notes: Iterable[str] = ()) -> ReportTable:
    """Return the table of all columns that have anything to show."""
    cells = {column.label: [_cell(column, row) for row in rows] for column in _shown_columns()}
    for column in _shown_columns():
        if column.show == "filled" and set(cells[column.label]) <= {NOTHING}:
            del cells[column.label]
    lines = tuple(zip(*cells.values(), strict=True))
    return ReportTable(
        title, tuple(cells), lines, notes=(*notes, *notes_of(rows)), lead=sentence(rows)
    )


def _cell(column: Column, row: Record) -> str:
    if column.name == "reranker":
        return display_name(row)
    return FORMATS[column.format](*(row.get(name) for name in column.fields or (column.name,)))


def _apart_table(title: str, main: Sequence[Record]) -> ReportTable:
    """Return the table of other queries, pools or judgements than most results have."""
    rows = [row for row in main if row["apart"]]
    table = _gain_table(f"{title} · other queries, pools or judgements · {MAIN}", rows)
    cells = tuple((_profile(row), *own) for row, own in zip(rows, table.rows, strict=True))
    lead = "These do not compare with the tables above, nor all with one another."
    return replace(table, columns=("profile", *table.columns), rows=cells, names=2, lead=lead)


def _profile(row: Record) -> str:
    """Name a profile, what it was resolved to, and where its lists come from."""
    return f"{_resolved(row)} ({row['origin']})"


def _resolved(row: Record) -> str:
    profile, resolved = row["profile"], row["resolved"]
    return profile if resolved in {"", None, profile} else f"{profile} = {resolved}"


def _measure_table(title: str, main: Sequence[Record], rows: Sequence[Record]) -> ReportTable:
    """Return the other measures of the same rows, in the same order."""
    found = {(row["profile"], row["reranker"], row["measure"]): row for row in rows}

    def value_and_gain(row: Record, measure: str) -> str:
        own = found.get((row["profile"], row["reranker"], measure))
        if own is None:
            return NOTHING
        interval = bounds(own["gain_low"], own["gain_high"])
        return f"{number(own['natural'])} {signed(own['gain'])} {interval}"

    names = dict.fromkeys(row["measure"] for row in rows)
    columns: dict[str, Callable[[Record], str]] = {
        "profile": _profile,
        "reranker": display_name,
        **{_heading(m, main): partial(value_and_gain, measure=m) for m in names if m != MAIN},
    }
    return ReportTable.of(f"{title} · other measures", main, columns, names=2)


def _heading(measure: str, rows: Sequence[Record]) -> str:
    is_main = measure in {row["main_measure"] for row in rows}
    return f"{measure} (main score) and gain" if is_main else f"{measure} and gain"


def _first_stage_table(task: str, rows: Sequence[Record]) -> ReportTable:
    """Return the values of the first stages alone; no safeguard is in these numbers."""
    parts = group_rows(rows, "profile", "ground").values()
    known = [(r["first_stage"], r["as_published"]) for r in rows if r["published"] is not None]
    notes = ["In brackets: what is published for this first stage."] if known else []
    if any(number(again) not in (number(own), NOTHING) for own, again in known):
        notes.append("It has equal gains for all positives: compare it with the value behind it.")
    names = dict.fromkeys(row["measure"] for row in rows)
    columns: dict[str, Callable[[Sequence[Record]], str]] = {
        "profile": _judged_profile,
        "origin": lambda part: part[0]["origin"],
        "queries": lambda part: str(part[0]["queries"]),
        **{m: partial(_first_stage_value, measure=m) for m in names},
        "safeguards": lambda part: str(part[0]["safeguards"]),
    }
    return ReportTable.of(f"{task} · first stages", parts, columns, names=2, notes=notes)


def _judged_profile(part: Sequence[Record]) -> str:
    judgements = part[0]["judgements"]
    return f"{_resolved(part[0])} ({judgements})" if judgements else _resolved(part[0])


def _first_stage_value(part: Sequence[Record], measure: str) -> str:
    """Write a first stage's own value and the published one."""
    row = next((row for row in part if row["measure"] == measure), None)
    if row is None:
        return NOTHING
    own, again = number(row["first_stage"]), number(row["as_published"])
    if row["published"] is None:
        return own
    compared = "" if again in (own, NOTHING) else f"; {again}"
    return f"{own} ({number(row['published'])}{compared})"


_RUN: dict[str, Callable[[Any], str]] = {
    "task": lambda row: f"{row.task} · {row.profile}",
    "reranker": lambda row: row.reranker,
}
_ORDERS: dict[str, Callable[[Any], str]] = {
    **_RUN,
    "orders": lambda row: str(len(row.orders)),
    f"mean {MAIN}": lambda row: number(row.mean),
    "sd": lambda row: number(row.sd),
    "tau": lambda row: number(row.tau),
}
_ORDER_NOTE = "sd: over the orders. tau: Kendall's, of two outputs."
_PROMOTED: dict[str, Callable[[Any], str]] = {
    "promoted by tenth": lambda row: " ".join(map(share, row.promotion))
}
_PROMOTED_NOTE = (
    "promoted: the part of each tenth of the input that ends among the first ten, over random "
    "orders if there are any; equal parts mean that a document's place in the input does not "
    "matter."
)
_LATENCIES: dict[str, Callable[[Any], str]] = {
    **_RUN,
    "hardware": lambda row: row.hardware,
    "queries": lambda row: str(row.queries),
    "p50 seconds": lambda row: number(row.p50),
    "p95 seconds": lambda row: number(row.p95),
}
_CALIBRATIONS: dict[str, Callable[[Any], str]] = {
    **_RUN,
    "measure": lambda row: row.measure,
    "nAUC, highest score": lambda row: number(row.highest),
    "nAUC, deviation": lambda row: number(row.deviation),
    "nAUC, margin": lambda row: number(row.margin),
}
_NAUC = (
    "nAUC: how well scores tell which queries are ranked well (1: perfectly, 0: not at all), by "
    "the highest score, the scores' standard deviation, or the margin of the highest."
)
_CLAIMS: dict[str, Callable[[Any], str]] = {
    **_RUN,
    "source": lambda row: row.claim.source,
    "measure": lambda row: row.claim.measure,
    "published": lambda row: number(row.claim.value),
    "measured": lambda row: number(row.measured),
    "difference": lambda row: signed(row.measured - row.claim.value),
    "verdict": lambda row: "agrees" if row.within else "differs",
}
