"""The tables of a report as plain text cells, for whatever shows them.

Per task: the values of its first stages alone, the gains of each reranker in nDCG@10 after each of
them with their costs, and the other measures. Where a data set has several tasks,
its means come first. Runs repeated in other circumstances have tables of their own at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from ..evaluation import COLUMNS, MACRO, MAIN, MEASURES, MICRO, Column, records
from .notes import named, notes_of, sentence
from .text import FORMATS, NOTHING, bounds, number, share, signed

if TYPE_CHECKING:
    import pandas as pd

    from ..evaluation import ClaimRow, Evaluation, Group, LatencyRow, OrderRow
    from .notes import Record

OTHERS = MEASURES[1:]


@dataclass(frozen=True)
class Table:
    """Cells as text, not yet escaped. The first `names` columns hold names, the others numbers.

    `lead` is one sentence that says what the table shows.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    names: int = 1
    notes: tuple[str, ...] = ()
    lead: str = ""


def tables(found: Evaluation) -> list[Table]:
    """Return all tables of a report, in reading order."""
    means = _by_task(found.means.rows())
    tasks = _by_task(found.results.rows())
    first_stages = _by_task(found.first_stages)
    made = [table for group in found.groups for table in _group_tables(group, means[group.name])]
    for task in sorted(first_stages):
        made.append(_profile_table(task, first_stages[task]))
        made += _reranker_tables(task, tasks.get(task, []))
    made += [
        _order_table(found.orders),
        _latency_table(found.latencies),
        _claim_table(found.claims),
        Table("Left out", ("what, and why",), tuple((words,) for words in found.left_out)),
    ]
    return [table for table in made if table.rows]


def glossary() -> list[tuple[str, str]]:
    """Return the heading of each column that tables show, and what it means."""
    return [(column.label, column.help) for column in COLUMNS if _is_shown(column)]


def _is_shown(column: Column) -> bool:
    return column.show in ("always", "filled")


def _by_task(rows: pd.DataFrame) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for row in records(rows):
        found.setdefault(row["task"], []).append(row)
    return found


def _group_tables(group: Group, rows: Sequence[Record]) -> list[Table]:
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
) -> list[Table]:
    """Return a table for each profile, one of other measures, and one of what does not compare."""
    main = _best_first(row for row in rows if row["measure"] == MAIN)
    alike = [row for row in main if not row["apart"]]
    made = [
        _gain_table(f"{title} · after {_profile(part[0])} · {MAIN}", part, notes)
        for part in _parts(alike, "profile")
    ]
    return [*made, _others_table(title, alike, rows), _apart_table(title, main)]


def _parts(rows: Iterable[Record], name: str) -> list[list[Record]]:
    """Return rows in parts of equal neighbours."""
    return [list(part) for _, part in groupby(rows, key=lambda row: row[name])]


def gain_cells(rows: Sequence[Record]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return the headings and the lines of all columns that have anything to show."""
    shown = [
        (column.label, texts)
        for column in COLUMNS
        if _is_shown(column)
        for texts in [[_cell(column, row) for row in rows]]
        if column.show == "always" or any(text != NOTHING for text in texts)
    ]
    return (
        tuple(label for label, _ in shown),
        tuple(zip(*(texts for _, texts in shown), strict=True)),
    )


def _cell(column: Column, row: Record) -> str:
    if column.name == "reranker":
        return named(row)
    return FORMATS[column.format](*(row.get(name) for name in column.fields or (column.name,)))


def _gain_table(title: str, rows: Sequence[Record], notes: Iterable[str] = ()) -> Table:
    heads, cells = gain_cells(rows)
    return Table(title, heads, cells, notes=(*notes, *notes_of(rows)), lead=sentence(rows))


def _apart_table(title: str, main: Sequence[Record]) -> Table:
    """Return the table of other queries, pools or judgements than most results have."""
    rows = [row for row in main if row["apart"]]
    if not rows:
        return Table(title, (), ())
    table = _gain_table(f"{title} · other queries, pools or judgements · {MAIN}", rows)
    cells = tuple((_profile(row), *own) for row, own in zip(rows, table.rows, strict=True))
    lead = "These do not compare with the tables above, nor all with one another."
    return replace(table, columns=("profile", *table.columns), rows=cells, names=2, lead=lead)


def _best_first(rows: Iterable[Record]) -> list[Record]:
    """Return rows by profile, and within each the best reranker first."""
    return sorted(rows, key=lambda row: (row["profile"], -row["natural"], row["reranker"]))


def _profile(row: Record) -> str:
    """Name a profile, what its name stood for, and where its lists come from."""
    return f"{_resolved(row)} ({row['origin']})"


def _resolved(row: Record) -> str:
    profile, resolved = row["profile"], row["resolved"]
    return profile if resolved in {"", None, profile} else f"{profile} = {resolved}"


def _others_table(title: str, main: Sequence[Record], rows: Sequence[Record]) -> Table:
    """Return the other measures of the same rows, in the same order."""
    found = {(row["profile"], row["reranker"], row["measure"]): row for row in rows}
    heads = ("profile", "reranker", *(f"{measure} and gain" for measure in OTHERS))
    cells = tuple(
        (
            _profile(row),
            named(row),
            *(_value_and_gain(found.get((row["profile"], row["reranker"], m))) for m in OTHERS),
        )
        for row in main
    )
    return Table(f"{title} · other measures", heads, cells, names=2)


def _value_and_gain(row: Record | None) -> str:
    if row is None:
        return NOTHING
    interval = bounds(row["gain_low"], row["gain_high"])
    return f"{number(row['natural'])} {signed(row['gain'])} {interval}"


def _profile_table(task: str, rows: Sequence[Record]) -> Table:
    """Return the values of the first stages alone; no safeguard is in these numbers."""
    cells = tuple(_profile_cells(part) for part in _parts(rows, "ground"))
    known = [(r["first_stage"], r["as_published"]) for r in rows if r["published"] is not None]
    notes = ["In brackets: what is published for this first stage."] if known else []
    if any(number(again) not in (number(own), NOTHING) for own, again in known):
        notes.append("It has equal gains for all positives: compare it with the value behind it.")
    columns = ("profile", "origin", "queries", *MEASURES, MICRO, MACRO, "safeguards")
    return Table(f"{task} · first stages", columns, cells, names=2, notes=tuple(notes))


def _profile_cells(rows: Sequence[Record]) -> tuple[str, ...]:
    first = rows[0]
    by = f" ({first['judgements']})" if first["judgements"] else ""
    values = {row["measure"]: _own_and_published(row) for row in rows}
    return (
        f"{_resolved(first)}{by}",
        first["origin"],
        str(first["queries"]),
        *(values.get(name, NOTHING) for name in (*MEASURES, MICRO, MACRO)),
        str(first["safeguards"]),
    )


def _own_and_published(row: Record) -> str:
    own = number(row["first_stage"])
    if row["published"] is None:
        return own
    again = number(row["as_published"])
    beside = "" if again in (own, NOTHING) else f"; {again}"
    return f"{own} ({number(row['published'])}{beside})"


def _order_table(rows: Sequence[OrderRow]) -> Table:
    cells = tuple(
        (
            f"{row.task} · {row.profile}",
            row.reranker,
            str(len(row.orders)),
            number(row.mean),
            number(row.sd),
            number(row.tau),
            " ".join(share(part) for part in row.promotion),
        )
        for row in rows
    )
    columns = ("task", "reranker", "orders", f"mean {MAIN}", "sd", "tau", "promoted by tenth")
    notes = (
        "sd: over the orders. tau: Kendall's, of two outputs. promoted: the part of each tenth "
        "of the input that ends among the first ten, over random orders if there are any; equal "
        "parts mean that a document's place in the input does not matter.",
    )
    return Table("Other input orders", columns, cells, names=2, notes=notes if rows else ())


def _latency_table(rows: Sequence[LatencyRow]) -> Table:
    cells = tuple(
        (f"{r.task} · {r.profile}", r.reranker, r.hardware, str(r.queries), number(r.p50),
         number(r.p95))
        for r in rows
    )  # fmt: skip
    columns = ("task", "reranker", "hardware", "queries", "p50 seconds", "p95 seconds")
    return Table("One query at a time", columns, cells, names=3)


def _claim_table(rows: Sequence[ClaimRow]) -> Table:
    """Return published figures beside measured ones."""
    cells = tuple(
        (
            f"{r.task} · {r.profile}",
            r.reranker,
            r.claim.source,
            r.claim.measure,
            number(r.claim.value),
            number(r.measured),
            signed(r.measured - r.claim.value),
            "agrees" if r.within else "differs",
        )
        for r in rows
    )
    heads = ("task", "reranker", "source", "measure", "published", "measured", "difference",
             "verdict")  # fmt: skip
    return Table("Published figures", heads, cells, names=3)
