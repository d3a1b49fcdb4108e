"""Frames of all that is not a result: first stages, queries, strata, orders, latencies, claims."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...evaluation import Evaluation, records
from ..text import plain
from .pack import Packed, pack_columns, pack_records
from .sections import shown_columns

if TYPE_CHECKING:
    from ...evaluation import ClaimRow, OrderRow, QueryRow
    from .views import View

_RUN = ("task", "profile", "reranker")


def small_frames(
    found: Evaluation,
    views: Sequence[View],
    marks: Mapping[tuple[str, str, str], tuple[str, ...]],
    order: Sequence[str],
) -> dict[str, Packed]:
    """Return all frames but those of results.

    views: the queries with texts. marks: of each run, for its rows in any frame. order: rerankers.
    """

    def of_runs(rows: Sequence[Any], *fields: str, **computed: Callable[[Any], Any]) -> Packed:
        def own(row: Any) -> tuple[str, ...]:
            return marks.get((row.task, row.profile, row.reranker), ())

        return pack_records(rows, (*_RUN, *fields), marks=own, **computed)

    with_texts = {_key(view) for view in views}
    return {
        "first_stages": _first_stages(found),
        "queries": of_runs(
            in_order(found.queries, order),
            *("query_id", "language", "first_stage", "natural", "safeguarded"),
            *("rank_before", "rank_after"),
            query_gain=lambda row: row.natural - row.first_stage,
            moved=_moved,
            direction=_direction,
            health=_query_health,
            has_texts=lambda row: _key(row) in with_texts,
        ),
        "texts": pack_records(views, (*_RUN, "query_id")),
        "strata": of_runs(
            in_order(found.strata, order),
            *("queries", "first_stage", "natural", "gain", "gain_low", "gain_high"),
            stratum_kind=lambda row: row.kind,
            stratum=lambda row: row.value,
            language=lambda row: row.value if row.kind == "language" else None,
        ),
        "orders": of_runs(
            found.orders, "mean", "sd", "tau", orders=lambda row: ", ".join(row.orders)
        ),
        "promotions": _promotions(found.orders),
        "latencies": of_runs(found.latencies, "queries", "p50", "p95", "hardware"),
        "calibrations": of_runs(found.calibrations, "measure", "highest", "deviation", "margin"),
        "claims": of_runs(found.claims, "measured", **_CLAIM),
    }


def in_order(rows: Iterable[Any], order: Sequence[str]) -> list[Any]:
    """Return records sorted by the place of their reranker in `order`."""
    places = {name: place for place, name in enumerate(order)}
    return sorted(rows, key=lambda row: places.get(plain(row.reranker), len(places)))


def _first_stages(found: Evaluation) -> Packed:
    rows = records(found.first_stages)
    names = [column.name for column in shown_columns() if column.of_pool]
    return pack_columns({name: [row[name] for row in rows] for name in names})


def _key(row: Any) -> tuple[str, ...]:
    return row.task, row.profile, row.reranker, row.query_id


def _moved(row: QueryRow) -> int | None:
    return row.rank_before - row.rank_after if row.rank_before and row.rank_after else None


def _direction(row: QueryRow) -> str | None:
    moved = _moved(row)
    if moved is None:
        return None
    return "rose" if moved > 0 else "fell" if moved < 0 else "stayed"


def _query_health(row: QueryRow) -> str | None:
    words = {
        "failed": row.failed,
        f"{row.repaired} repaired": row.repaired,
        "safeguard": row.safeguard,
    }
    return ", ".join(word for word, is_so in words.items() if is_so) or None


def _promotions(rows: Sequence[OrderRow]) -> Packed:
    """Return one row for each tenth of each reranker's input."""
    long = [(row, tenth, share) for row in rows for tenth, share in enumerate(row.promotion, 1)]
    return pack_columns(
        {
            **{name: [getattr(row, name) for row, _, _ in long] for name in _RUN},
            "scope": [f"{row.task}, {row.profile}" for row, _, _ in long],
            "tenth": [tenth for _, tenth, _ in long],
            "promoted": [share for _, _, share in long],
        }
    )


def _claimed_measure(row: ClaimRow) -> str:
    claim = row.claim
    return f"{claim.measure}, safeguarded" if claim.safeguarded else claim.measure


_CLAIM: dict[str, Callable[[Any], Any]] = {
    "measure": _claimed_measure,
    "claimed": lambda row: row.claim.value,
    "difference": lambda row: row.measured - row.claim.value,
    "tolerance": lambda row: row.claim.tolerance,
    "verdict": lambda row: "agrees" if row.within else "differs",
    "why": lambda row: row.claim.why or None,
    "source": lambda row: row.claim.source,
}
