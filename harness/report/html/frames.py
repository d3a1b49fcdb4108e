"""Frames of all that is not a result: first stages, queries, strata, orders, latencies, claims."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...evaluation import Evaluation, records
from ..text import plain
from .pack import Packed, packed, table
from .sections import shown_columns

if TYPE_CHECKING:
    import pandas as pd

    from ...evaluation import ClaimRow, OrderRow, QueryRow, StratumRow
    from .views import View

Marks = Mapping[tuple[str, str, str], tuple[str, ...]]

_NAMES = ("task", "profile", "reranker")


def small_frames(
    found: Evaluation, views: Sequence[View], marks: Marks, order: Sequence[str]
) -> dict[str, Packed]:
    """Return all frames but those of results.

    views: the queries with texts. marks: of each run, for its rows in any frame. order: rerankers.
    """
    queries, strata = by_reranker(found.queries, order), by_reranker(found.strata, order)
    return {
        "first_stages": _stages(found.first_stages),
        "queries": _queries(queries, views, marks),
        "texts": table(views, _NAMES, query_id=[view.query_id for view in views]),
        "strata": _strata(strata, marks),
        "orders": _orders(found.orders, marks),
        "promotions": _promotions(found.orders),
        "latencies": _run_table(found.latencies, ("queries", "p50", "p95", "hardware"), marks),
        "claims": _claims(found.claims, marks),
    }


def by_reranker(rows: Iterable[Any], order: Sequence[str]) -> list[Any]:
    """Return records sorted by the place of their reranker in `order`."""
    places = {name: place for place, name in enumerate(order)}
    return sorted(rows, key=lambda row: places.get(plain(row.reranker), len(places)))


def _stages(stages: pd.DataFrame) -> Packed:
    rows = records(stages)
    names = [column.name for column in shown_columns() if column.of_pool]
    return packed({name: [row[name] for row in rows] for name in names}, len(rows))


def _run_table(rows: Sequence[Any], fields: Sequence[str], known: Marks, **more: Any) -> Packed:
    """Return a table of records of runs."""
    found = [known.get((row.task, row.profile, row.reranker), ()) for row in rows]
    return table(rows, (*_NAMES, *fields), marks=found, **more)


def _queries(rows: Sequence[QueryRow], views: Sequence[View], known: Marks) -> Packed:
    fields = (
        "query_id", "language", "first_stage", "natural", "safeguarded", "rank_before",
        "rank_after",
    )  # fmt: skip
    with_texts = {_key(view) for view in views}
    moved = [row.rank_before - row.rank_after if row.rank_before and row.rank_after else None
             for row in rows]  # fmt: skip
    return _run_table(
        rows, fields, known,
        query_gain=[row.natural - row.first_stage for row in rows],
        moved=moved,
        direction=[_direction(steps) for steps in moved],
        health=[_query_health(row) for row in rows],
        has_texts=[_key(row) in with_texts for row in rows],
    )  # fmt: skip


def _key(row: Any) -> tuple[str, ...]:
    return row.task, row.profile, row.reranker, row.query_id


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
