"""The tables of a report as plain text cells, for whatever shows them.

Per task: what its first stages are worth by themselves, what each reranker gained in nDCG@10
after each of them and at which price, and the other measures. Where a data set has several tasks,
its means come first. Runs repeated in other circumstances have tables of their own at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from ..evaluation import (
    MACRO,
    MEASURES,
    MICRO,
    ClaimRow,
    Evaluation,
    Group,
    LatencyRow,
    OrderRow,
    Row,
)
from .notes import named, notes_of, sentence
from .text import NOTHING, bounds, cost, count, number, share, signed

MAIN, OTHERS = MEASURES[0], MEASURES[1:]

LEGEND = (
    "gain: natural minus first stage, over the same queries; beside it its 95 % confidence "
    "interval, Student's t, or – where all gains are equal. *: significant among all the gains its "
    "table looks at (paired t-test, Holm, 5 %). natural / safeguarded: without / with the positive "
    "that was appended to a pool that held none. ceiling: the best order of the same pool; "
    "headroom: the part of it gained. "
    "wins: queries that gained, stayed, lost. noise: how far repeats of the same run lie apart. "
    "safeguards: queries with an appended positive, and how many of them it decides. calls and "
    "rounds are means per query, tokens (read / written) and replies from the cache are totals; "
    "cached tokens are those read that a prefix cache held. seconds: of the engine, per query, "
    "where no reply came from the cache. GFLOP: what a query needs of the model at least. "
    "tied@10: the share of queries whose top ten is decided by equal scores, which keep the order "
    "of the first stage. p(labels): the mean probability of all labels together. "
    "doc tokens: what the reranker reads of a document; cut: the share of documents that are "
    "longer. instruction: the model's default, the task's, the user's own, or none. "
    "invalid: the method did not work as it is meant to."
)
"""What the columns mean; shown once, under the last table."""


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
    made = [table for group in found.groups for table in _group_tables(group)]
    for task, part in groupby(sorted(found.rows, key=_task), key=_task):
        members = list(part)
        made += [_profile_table(task, members), *_reranker_tables(task, members)]
    made += [
        _order_table(found.orders),
        _latency_table(found.latencies),
        _claim_table(found.claims),
    ]
    made += [_left_out(found.left_out)]
    return [table for table in made if table.rows]


def _left_out(told: Sequence[str]) -> Table:
    return Table("Left out", ("what, and why",), tuple((words,) for words in told))


def _task(row: Row) -> str:
    return row.task


def _group_tables(group: Group) -> list[Table]:
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
    return _reranker_tables(title, group.rows, notes=notes)


def _reranker_tables(title: str, rows: Iterable[Row], *, notes: Iterable[str] = ()) -> list[Table]:
    """One table for each profile, best reranker first, and one of the other measures."""
    ranked = sorted((row for row in rows if row.reranker is not None), key=lambda r: r.profile)
    main = [row for row in ranked if row.measure == MAIN]
    made = [
        _gain_table(title, list(part), notes) for _, part in groupby(main, key=lambda r: r.profile)
    ]
    return [*made, _others_table(title, _best_first(main), ranked)]


def _gain_table(title: str, rows: Sequence[Row], notes: Iterable[str]) -> Table:
    rows = _best_first(rows)
    cells = [[cell(row) for row in rows] for _, cell, _ in _COLUMNS]
    shown = [
        (name, texts)
        for (name, _, always), texts in zip(_COLUMNS, cells, strict=True)
        if always or any(text != NOTHING for text in texts)
    ]
    return Table(
        title=f"{title} · after {_profile(rows[0])} · {MAIN}",
        columns=tuple(name for name, _ in shown),
        rows=tuple(zip(*(texts for _, texts in shown), strict=True)),
        notes=(*notes, *notes_of(rows)),
        lead=sentence(rows),
    )


def _best_first(rows: Iterable[Row]) -> list[Row]:
    """Profiles by name, and within each the best reranker first; what does not compare is last."""

    def place(row: Row) -> tuple[str, bool, float, str]:
        return row.profile, row.apart, -(row.natural or 0.0), row.reranker or ""

    return sorted(rows, key=place)


def _profile(row: Row) -> str:
    name = row.profile if row.resolved in {"", row.profile} else f"{row.profile} = {row.resolved}"
    return f"{name} ({row.origin})"


def _tokens(row: Row) -> str:
    cached = f" ({count(row.cached_tokens)} cached)" if row.cached_tokens else ""
    return f"{count(row.prompt_tokens)}{cached} / {count(row.output_tokens)}"


def _wins(row: Row) -> str:
    return NOTHING if row.wins is None else f"{row.wins} / {row.ties} / {row.losses}"


_COLUMNS: tuple[tuple[str, Callable[[Row], str], bool], ...] = (
    ("reranker", named, True),
    ("queries", lambda row: str(row.queries), True),
    ("first stage", lambda row: number(row.first_stage), True),
    ("natural", lambda row: number(row.natural), True),
    ("gain", lambda row: f"{signed(row.gain)}{' *' if row.starred else ''}", True),
    ("95 % interval", lambda row: bounds(row.gain_low, row.gain_high), True),
    ("noise", lambda row: number(row.noise), False),
    ("wins / ties / losses", _wins, False),
    ("ceiling", lambda row: number(row.ceiling), True),
    ("headroom", lambda row: share(row.headroom_captured), False),
    ("safeguarded", lambda row: number(row.safeguarded), True),
    ("safeguards / decided", lambda row: f"{row.safeguards} / {count(row.decided)}", True),
    ("judged@10", lambda row: share(row.judged), False),
    ("doc tokens", lambda row: row.budget or NOTHING, False),
    ("cut", lambda row: share(row.cut), False),
    ("instruction", lambda row: row.instruction or NOTHING, False),
    ("failed", lambda row: count(row.failed), True),
    ("tied@10", lambda row: share(row.tied_at_10 or None), False),
    ("p(labels)", lambda row: share(row.label_probability), False),
    ("calls", lambda row: count(row.calls_per_query), True),
    ("rounds", lambda row: count(row.rounds), True),
    ("tokens", _tokens, True),
    ("from cache", lambda row: count(row.from_cache), True),
    ("seconds", lambda row: count(row.seconds_per_query), True),
    ("GPU seconds", lambda row: count(row.gpu_seconds), False),
    ("price per 1000", lambda row: cost(row.price), False),
    ("GFLOP", lambda row: count(_per(row.ideal_flops, 1e9)), False),
    ("queries / PFLOP", lambda row: count(_inverse(row.ideal_flops, 1e15)), False),
)
"""Head and cell of each column, and whether it is shown where no row has anything in it."""


def _per(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit


def _inverse(value: float | None, unit: float) -> float | None:
    return unit / value if value else None


def _others_table(title: str, main: Sequence[Row], ranked: Sequence[Row]) -> Table:
    """The other measures of the same rows, in the same order."""
    found = {(row.profile, row.reranker, row.measure): row for row in ranked}
    heads = ("profile", "reranker", *(f"{measure} and gain" for measure in OTHERS))
    cells = tuple(
        (
            _profile(row),
            named(row),
            *(_value_and_gain(found.get((row.profile, row.reranker, m))) for m in OTHERS),
        )
        for row in main
    )
    return Table(f"{title} · other measures", heads, cells, names=2)


def _value_and_gain(row: Row | None) -> str:
    if row is None:
        return NOTHING
    return f"{number(row.natural)} {signed(row.gain)} {bounds(row.gain_low, row.gain_high)}"


def _profile_table(task: str, rows: Sequence[Row]) -> Table:
    """What the first stages are worth by themselves; no safeguard is in these numbers."""
    micro = [row for row in rows if row.measure == MICRO]
    cells = tuple(_profile_cells(row, rows) for row in micro)
    known = [(row.first_stage, row.as_published) for row in rows if row.published is not None]
    notes = ["In brackets: what is published for this first stage."] if known else []
    if any(number(again) not in (number(own), NOTHING) for own, again in known):
        notes.append("It has equal gains for all positives: compare it with the value behind it.")
    columns = ("profile", "origin", "queries", *MEASURES, MICRO, MACRO, "safeguards")
    return Table(f"{task} · first stages", columns, cells, names=2, notes=tuple(notes))


def _profile_cells(micro: Row, rows: Sequence[Row]) -> tuple[str, ...]:
    same = {
        row.measure: row
        for row in rows
        if (row.profile, row.ground) == (micro.profile, micro.ground)
    }
    values = (_own_and_published(same[name]) for name in (*MEASURES, MICRO, MACRO))
    name = micro.profile
    if micro.resolved != name:
        name = f"{name} = {micro.resolved}"
    if micro.judgements:
        name = f"{name} ({micro.judgements})"
    return name, micro.origin, str(micro.queries), *values, str(micro.safeguards)


def _own_and_published(row: Row) -> str:
    own = number(row.first_stage)
    if row.published is None:
        return own
    again = number(row.as_published)
    beside = "" if again in (own, NOTHING) else f"; {again}"
    return f"{own} ({number(row.published)}{beside})"


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
    """Published figures beside measured ones; those that do not compare have no verdict."""
    cells = tuple(
        (
            f"{r.task} · {r.profile}",
            r.reranker,
            r.claim.source,
            r.claim.measure,
            number(r.claim.value),
            number(r.measured),
            signed(r.measured - r.claim.value),
            ("agrees" if r.within else "differs") if r.comparable else "does not compare",
        )
        for r in rows
    )
    heads = ("task", "reranker", "source", "measure", "published", "measured", "apart", "verdict")
    caveats = dict.fromkeys(f"{r.reranker}: {r.claim.caveat}." for r in rows if r.claim.caveat)
    return Table("Published figures", heads, cells, names=3, notes=tuple(caveats))
