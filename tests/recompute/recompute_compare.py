"""The numbers of `compare ONE OTHER --json`, for recompute.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from recompute_draws import Units, of_mean, of_task
from recompute_folder import MAIN, Folder, Key
from recompute_rows import (
    MOST_FAILED,
    UNSTARRED,
    Row,
    Rows,
    data_sets,
    is_sound,
    method_of,
    outcomes,
    star,
    summed,
    weighted,
)

NAMES = {"natural": "one", "first_stage": "other", "gain": "difference", "gain_low": "low",
         "gain_high": "high"}  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """Two runs on the same pool, over the queries that both have."""

    one: Folder
    other: Folder

    @property
    def ids(self) -> list[str]:
        there = set(self.other.ids)
        return [query_id for query_id in self.one.ids if query_id in there]

    @property
    def is_comparable(self) -> bool:
        both = self.one, self.other
        pools = {folder.settings["profile"].get("sha256") for folder in both}
        rules = {(folder.depth, folder.judgements) for folder in both}
        return len(pools) == len(rules) == 1 and bool(self.ids)

    @property
    def is_tested(self) -> bool:
        """Both have to be real rerankers that worked on the queries they share."""
        both = self.one, self.other
        failed = (self.one.failed | self.other.failed) & set(self.ids)
        return len(failed) <= MOST_FAILED * len(self.ids) and all(map(is_sound, both))

    def values(self) -> tuple[np.ndarray, np.ndarray]:
        one, other = (dict(zip(f.ids, f.values["natural"][MAIN], strict=True))
                      for f in (self.one, self.other))  # fmt: skip
        return np.array([one[q] for q in self.ids]), np.array([other[q] for q in self.ids])

    def units(self) -> Units:
        one, other = self.values()
        places = {query_id: place for place, query_id in enumerate(self.one.ids)}
        bases = self.one.bases([places[query_id] for query_id in self.ids])
        return Units.of(self.one.key[0], one - other, bases)

    def row(self) -> Row:
        one, other = self.values()
        return {
            **UNSTARRED,
            **of_task(self.units(), tested=self.is_tested),
            **outcomes(one - other),
            "queries": len(one),
            "natural": float(one.mean()),
            "first_stage": float(other.mean()),
            "gain": float((one - other).mean()),
        }

    def duels(self) -> Rows:
        told = zip(self.ids, *self.values(), strict=True)
        where = self.one.key[:2]
        return {(*where, q): {"one": x, "other": y, "difference": x - y} for q, x, y in told}


def compare_rows(mains: Mapping[Key, Folder], one: str, other: str) -> tuple[Rows, Rows]:
    """Return the rows of tasks and means, and those of single queries."""
    pairs = {
        key: Pair(folder, mains[*key[:2], other])
        for key, folder in mains.items()
        if key[2] == one and (*key[:2], other) in mains
    }
    pairs = {key: pair for key, pair in pairs.items() if pair.is_comparable}
    rows: Rows = {(False, *key[:2]): pair.row() for key, pair in pairs.items()}
    sets = data_sets({key: pair.one for key, pair in pairs.items()})
    for name, tasks in sets.items():
        for asked in {key[1] for key in pairs if key[0] in tasks}:
            own = [pairs[task, asked, one] for task in tasks if (task, asked, one) in pairs]
            if len(own) == len(tasks) > 1 and len({method_of(pair.one) for pair in own}) == 1:
                parts = [rows[False, task, asked] for task in tasks]
                rows[True, name, asked] = _mean(own, parts)
    star({(*key, None): row for key, row in rows.items()}, sets)
    duels = {key: duel for pair in pairs.values() for key, duel in pair.duels().items()}
    return {key: _named(row) for key, row in rows.items()}, duels


def _mean(pairs: Sequence[Pair], parts: Sequence[Row]) -> Row:
    drawn = of_mean([pair.units() for pair in pairs], tested=all(p.is_tested for p in pairs))
    plain = [1.0] * len(parts)
    means: dict[str, Any] = {
        name: weighted(parts, name, plain) for name in ("natural", "first_stage", "gain")
    }
    sums = {name: summed(parts, name) for name in ("queries", "wins", "ties", "losses")}
    return {**UNSTARRED, **drawn, **means, **sums}


def _named(row: Row) -> Row:
    return {NAMES.get(name, name): value for name, value in row.items()}
