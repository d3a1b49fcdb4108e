"""The tables of a report as plain text cells, for whatever shows them.

Per task: what its first stages are worth by themselves, what each reranker gained in nDCG@10 and
at which price, and the other measures. Where a data set has several tasks, its means come first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from ..evaluation import MACRO, MEASURES, MICRO, Group, Row, groups
from .text import bounds, count, number, signed

MAIN, OTHERS = MEASURES[0], MEASURES[1:]

LEGEND = (
    "gain: natural minus first stage, over the same queries; beside it its 95 % bootstrap interval "
    "over queries. natural / safeguarded: without / with the positive that was appended to a pool "
    "that held none. ceiling: the best order of the same pool. safeguards: queries with an "
    "appended positive, and how many of them it decides. calls and rounds are means per query, "
    "tokens (read / written), replies from the cache and engine seconds are totals; cached tokens "
    "are those read that a prefix cache held. invalid: the method did not work as it is meant to."
)
"""What the columns mean; shown once, under the last table."""

_ANSWERS = {
    "repaired": "answers repaired",
    "unparsable": "answers unusable",
    "unfinished": "answers unfinished",
    "thoughts": "answers with unasked thoughts",
}
_NAMED = {**_ANSWERS, "missing_labels": "labels missing"}

Column = tuple[str, Callable[[Row], str]]


@dataclass(frozen=True)
class Table:
    """Cells as text, not yet escaped. The first `names` columns hold names, the others numbers.

    With `sections`, rows that share their first cell stand together and may be shown under it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    names: int = 2
    notes: tuple[str, ...] = ()
    sections: bool = False


def tables(rows: Iterable[Row]) -> list[Table]:
    """Return all tables of a report, in reading order."""
    rows = list(rows)
    found = [table for group in groups(rows) for table in _group_tables(group)]
    for task, part in groupby(sorted(rows, key=_task), key=_task):
        members = list(part)
        found += [_profile_table(task, members), *_reranker_tables(task, members)]
    return [table for table in found if table.rows]


def _task(row: Row) -> str:
    return row.task


def _group_tables(group: Group) -> list[Table]:
    notes = [
        f"Plain means over {len(group.tasks)} tasks, taken as fixed: {', '.join(group.tasks)}."
    ]
    left_out: dict[tuple[str, int], list[str]] = {}
    for profile, reranker, done in group.incomplete:
        left_out.setdefault((profile, done), []).append(reranker)
    notes += [
        f"Left out, with {done} of these tasks after {profile}: {', '.join(rerankers)}."
        for (profile, done), rerankers in left_out.items()
    ]
    title = f"{group.name}, mean of {len(group.tasks)} tasks"
    return _reranker_tables(title, group.rows, notes=notes)


def _reranker_tables(title: str, rows: Iterable[Row], *, notes: Iterable[str] = ()) -> list[Table]:
    ranked = [row for row in rows if row.reranker is not None]
    main = _best_first(row for row in ranked if row.measure == MAIN)
    told = (*notes, *_notes(main))
    columns = tuple(name for name, _ in _MAIN)
    cells = tuple(tuple(cell(row) for _, cell in _MAIN) for row in main)
    first = Table(f"{title} · {MAIN}", columns, cells, notes=told, sections=True)
    return [first, _others_table(title, main, ranked)]


def _best_first(rows: Iterable[Row]) -> list[Row]:
    """Profiles by name, and within each the best reranker first."""
    return sorted(rows, key=lambda row: (row.profile, -(row.natural or 0.0), row.reranker or ""))


def _reranker(row: Row) -> str:
    depth = "" if row.depth is None else f" (first {row.depth})"
    fake = " (fake engine)" if row.engine == "fake" else ""
    return f"{row.reranker}{depth}{fake}{' (invalid)' if row.invalid else ''}"


def _profile(row: Row) -> str:
    name = row.profile if row.resolved in {"", row.profile} else f"{row.profile} = {row.resolved}"
    return f"{name} ({row.origin})"


def _tokens(row: Row) -> str:
    cached = f" ({count(row.cached_tokens)} cached)" if row.cached_tokens else ""
    return f"{count(row.prompt_tokens)}{cached} / {count(row.output_tokens)}"


_MAIN: tuple[Column, ...] = (
    ("profile", _profile),
    ("reranker", _reranker),
    ("queries", lambda row: str(row.queries)),
    ("first stage", lambda row: number(row.first_stage)),
    ("natural", lambda row: number(row.natural)),
    ("gain", lambda row: signed(row.gain)),
    ("95 % interval", lambda row: bounds(row.gain_low, row.gain_high)),
    ("ceiling", lambda row: number(row.ceiling)),
    ("safeguarded", lambda row: number(row.safeguarded)),
    ("safeguards / decided", lambda row: f"{row.safeguards} / {count(row.decided)}"),
    ("failed", lambda row: count(row.failed)),
    ("calls", lambda row: count(row.calls_per_query)),
    ("rounds", lambda row: count(row.rounds)),
    ("tokens", _tokens),
    ("from cache", lambda row: count(row.from_cache)),
    ("seconds", lambda row: count(row.seconds)),
)


def _notes(rows: Sequence[Row]) -> list[str]:
    notes = []
    if any(row.engine == "fake" for row in rows):
        notes.append("(fake engine): answered from word overlap, by no model.")
    if any(row.queries == 1 for row in rows):
        notes.append("An interval over one query says nothing.")
    notes += [
        f"{row.reranker} after {row.profile}: invalid by {row.invalid}."
        for row in rows
        if row.invalid
    ]
    notes += [f"{reranker}: {told}." for reranker, told in _counted(rows).items()]
    failed = sum(row.failed or 0 for row in rows)
    if failed:
        notes.append(f"{failed} failed queries count as 0 after reranking.")
    return notes


def _counted(rows: Iterable[Row]) -> dict[str, str]:
    """What was repaired, cut or missing, by reranker and over all profiles of a table."""
    sums: dict[str, Counter[str]] = {}
    for row in rows:
        if row.counts:
            sums.setdefault(_reranker(row), Counter()).update(row.counts)
    told = {reranker: _told(counts) for reranker, counts in sums.items()}
    return {reranker: words for reranker, words in told.items() if words}


def _told(counts: Mapping[str, int]) -> str:
    """`3 of 40 answers repaired`, for all that is worth knowing, as wholes alone are not."""
    words = []
    for name, found in sorted(counts.items()):
        if name not in _WHOLES:
            whole = counts.get(_PARTS.get(name, ""))
            of = f" of {count(whole)}" if whole else ""
            words.append(f"{count(found)}{of} {_NAMED.get(name, name.replace('_', ' '))}")
    return ", ".join(words)


_WHOLES = {"label_calls", "label_tokens", "labels", "generations"}
_PARTS = {"missing_labels": "labels", **dict.fromkeys(_ANSWERS, "generations")}


def _others_table(title: str, main: Sequence[Row], ranked: Sequence[Row]) -> Table:
    """The other measures of the same rows, in the same order."""
    found = {(row.profile, row.reranker, row.measure): row for row in ranked}
    heads = ("profile", "reranker", *(f"{measure} and gain" for measure in OTHERS))
    cells = tuple(
        (
            _profile(row),
            _reranker(row),
            *(_value_and_gain(found[row.profile, row.reranker, measure]) for measure in OTHERS),
        )
        for row in main
    )
    return Table(f"{title} · other measures", heads, cells, sections=True)


def _value_and_gain(row: Row) -> str:
    return f"{number(row.natural)} {signed(row.gain)} {bounds(row.gain_low, row.gain_high)}"


def _profile_table(task: str, rows: Sequence[Row]) -> Table:
    """What the first stages are worth by themselves; no safeguard is in these numbers."""
    micro = [row for row in rows if row.measure == MICRO]
    cells = tuple(_profile_cells(row, rows) for row in micro)
    known = any(row.published is not None for row in rows)
    notes = ("In brackets: what is published for this first stage.",) if known else ()
    columns = ("profile", "origin", "queries", *MEASURES, MICRO, MACRO, "safeguards")
    return Table(f"{task} · first stages", columns, cells, notes=notes)


def _profile_cells(micro: Row, rows: Sequence[Row]) -> tuple[str, ...]:
    same = {
        row.measure: row
        for row in rows
        if (row.profile, row.queries) == (micro.profile, micro.queries)
    }
    values = (_own_and_published(same[name]) for name in (*MEASURES, MICRO, MACRO))
    name = micro.profile
    if micro.resolved != name:
        name = f"{name} = {micro.resolved}"
    return name, micro.origin, str(micro.queries), *values, str(micro.safeguards)


def _own_and_published(row: Row) -> str:
    own = number(row.first_stage)
    return own if row.published is None else f"{own} ({number(row.published)})"
