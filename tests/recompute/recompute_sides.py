"""What stands beside a report's rows, for recompute.py: variants, single queries, strata."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from recompute_draws import FEWEST, Units, of_task
from recompute_folder import MAIN, Folder, Key
from recompute_rows import Row, Rows
from scipy.stats import kendalltau

RANKS = ((1, "1"), (5, "2-5"), (10, "6-10"), (30, "11-30"), (100, "31-100"))
TENTHS = 10


def same_run(one: Folder, other: Folder) -> bool:
    """Say whether two runs differ in their circumstances alone, and no query of them failed."""
    settings = [{k: v for k, v in f.settings.items() if k != "variant"} for f in (one, other)]
    return settings[0] == settings[1] and one.ids == other.ids and not (one.failed or other.failed)


def order_rows(mains: Mapping[Key, Folder], variants: Sequence[Folder]) -> Rows:
    rows: Rows = {}
    for key, main in mains.items():
        others = [f for f in variants if f.key == key and "order" in f.variant]
        runs = [main, *(f for f in others if same_run(main, f))]
        if len(runs) > 1:
            values = [float(f.values["natural"][MAIN].mean()) for f in runs]
            rows[key] = {
                "orders": len(runs),
                "mean": float(np.mean(values)),
                "sd": float(np.std(values, ddof=1)),
                "tau": _tau(runs),
                "promotion": _promotion(runs),
            }
    return rows


def _tau(runs: Sequence[Folder]) -> float | None:
    found = []
    for one, other in combinations(runs, 2):
        for query_id in one.ids:
            first, second = one.reranked(query_id), other.reranked(query_id)
            if len(first) > 1 and set(first) == set(second):
                places = [second.index(doc) for doc in first]
                found.append(kendalltau(range(len(first)), places).statistic)
    return float(np.mean(found)) if found else None


def _promotion(runs: Sequence[Folder]) -> list[float]:
    """The share of each tenth of the input that ends among the first ten, over random orders."""
    given = [f for f in runs if f.variant.get("order", "").startswith("random")] or runs
    risen, all_ = np.zeros(TENTHS), np.zeros(TENTHS)
    for folder in given:
        for query_id in folder.ids:
            out = folder.reranked(query_id)
            pool = [doc for doc in folder.pool(query_id) if doc in set(out)]
            if len(out) >= TENTHS:
                for place, doc in enumerate(_input(folder, query_id, pool)):
                    all_[place * TENTHS // len(pool)] += 1
                    risen[place * TENTHS // len(pool)] += doc in out[:10]
    return list(risen / np.maximum(all_, 1.0)) if all_.any() else []


def _input(folder: Folder, query_id: str, pool: list[str]) -> list[str]:
    """The order in which the reranker was given its candidates."""
    order = folder.variant.get("order", "first-stage")
    if order == "first-stage":
        return pool
    if order == "reverse":
        return pool[::-1]
    return sorted(
        pool, key=lambda doc: hashlib.sha256(f"{order}\0{query_id}\0{doc}".encode()).digest()
    )


def latency_rows(variants: Sequence[Folder]) -> Rows:
    rows: Rows = {}
    for folder in variants:
        if folder.variant.get("alone"):
            seconds = [row["seconds"] for row in folder.usage if row["failed"] is None]
            p50, p95 = np.percentile(seconds, [50, 95]) if seconds else (None, None)
            rows[folder.key] = {"queries": len(seconds), "p50": p50, "p95": p95}
    return rows


def query_rows(folder: Folder) -> list[Row]:
    """One row per query, in the order of the run."""
    values = {
        stage: folder.values[stage][MAIN] for stage in ("first_stage", "natural", "safeguarded")
    }
    rows = []
    for place, query_id in enumerate(folder.ids):
        told = folder.usage[place]
        failed = query_id in folder.failed
        rows.append(
            {stage: float(array[place]) for stage, array in values.items()}
            | {
                "rank_before": _best(folder, query_id, folder.pool(query_id)),
                "rank_after": _best(folder, query_id, [] if failed else folder.final(query_id)),
                "safeguard": folder.guard(query_id) is not None,
                "failed": failed,
                "repaired": sum(told.get(f"counts.{n}") or 0 for n in ("repaired", "unparsable")),
            }
        )
    return rows


def _best(folder: Folder, query_id: str, ranking: Sequence[str]) -> int | None:
    grades = folder.grades(query_id)
    return next((rank for rank, doc in enumerate(ranking, 1) if grades.get(doc, 0) > 0), None)


def strata_rows(folder: Folder) -> Rows:
    """A row for each stratum: by language, by thirds of length, by rank of the best positive."""
    languages = [row.get("language") or "not known" for row in folder.usage]
    ranks = [_rank(row["rank_before"]) for row in query_rows(folder)]
    named = {
        "language": languages,
        "query length": _lengths([row.get("query_chars") for row in folder.usage]),
        "positive's rank": ranks,
    }
    return {
        (*folder.key, kind, value): _stratum(folder, [i for i, n in enumerate(names) if n == value])
        for kind, names in named.items()
        if len(set(names)) > 1
        for value in set(names)
    }


def _rank(rank: int | None) -> str:
    if rank is None:
        return "not in the pool"
    return next((name for last, name in RANKS if rank <= last), "below 100")


def _lengths(chars: Sequence[int | None]) -> list[str]:
    known = [c for c in chars if c is not None]
    if len(known) < len(chars):
        return []
    cuts = np.quantile(known, [1 / 3, 2 / 3], method="closest_observation")
    low, high = map(int, cuts)
    names = [f"short (< {low} characters)", f"medium ({low} to {high} characters)"]
    return [[*names, f"long (> {high} characters)"][(c >= low) + (c > high)] for c in known]


def _stratum(folder: Folder, places: list[int]) -> Row:
    first = folder.values["first_stage"][MAIN][places]
    natural = folder.values["natural"][MAIN][places]
    found: Row = {
        "queries": len(places),
        "first_stage": float(first.mean()),
        "natural": float(natural.mean()),
        "gain": float((natural - first).mean()),
        "gain_low": None,
        "gain_high": None,
    }
    if len(places) < FEWEST:
        return found
    drawn = of_task(Units.of(folder.key[0], natural - first, folder.bases(places)), tested=False)
    return found | {name: drawn[name] for name in ("gain_low", "gain_high")}
