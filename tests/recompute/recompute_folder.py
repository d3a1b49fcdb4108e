"""One run folder for recompute.py: read with pyarrow and json, measured by ir_measures."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import pyarrow.parquet as pq

MAIN, RECALL = "nDCG@10", "recall@100"
MEASURES = {
    MAIN: ir_measures.nDCG @ 10,
    "hit@10": ir_measures.Success @ 10,
    "MRR@10": ir_measures.RR @ 10,
    "MAP@100": ir_measures.AP @ 100,
}
ALL = {**MEASURES, RECALL: ir_measures.R @ 100}
STAGES = ("first_stage", "natural", "safeguarded", "ceiling", "ceiling_safeguarded")
FLOORS = {"identity", "random", "reverse"}
SHUFFLES = 20

Values = dict[str, np.ndarray]
Key = tuple[str, str, str]


def measured(rankings: Sequence[Sequence[str]], grades: Sequence[dict[str, int]]) -> Values:
    """Per-query values of each measure, in the order given; 0 where trec_eval tells none."""
    return _measured(tuple(map(tuple, rankings)), tuple(tuple(own.items()) for own in grades))


@lru_cache(maxsize=8)  # the runs of one pool share what is told of it alone
def _measured(
    rankings: tuple[tuple[str, ...], ...], grades: tuple[tuple[tuple[str, int], ...], ...]
) -> Values:
    run = {
        str(i): {doc: -float(rank) for rank, doc in enumerate(ranking)}
        for i, ranking in enumerate(rankings)
    }
    qrels = {str(i): dict(own) for i, own in enumerate(grades)}
    found = {name: np.zeros(len(rankings)) for name in ALL}
    names = {str(measure): name for name, measure in ALL.items()}
    for one in ir_measures.iter_calc(list(ALL.values()), qrels, run):
        found[names[str(one.measure)]][int(one.query_id)] = one.value
    return found


class Folder:
    """One run; a grade under the least that counts is worth 0."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        self.settings = self.manifest["settings"]
        self.usage = pq.read_table(path / "usage.parquet").to_pylist()
        self.ids = [row["query_id"] for row in self.usage]
        self.least = max(self.settings.get("min_grade") or 1, 1)
        self.depth = self.settings.get("depth")
        self.judged: dict[str, dict[str, int]] = {query_id: {} for query_id in self.ids}
        for row in pq.read_table(path / "qrels.parquet").to_pylist():
            self.judged[row["query_id"]][row["doc_id"]] = row["grade"]
        self.ranked: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in pq.read_table(path / "rankings.parquet").to_pylist():
            self.ranked[row["query_id"]].append(row)
        for rows in self.ranked.values():
            rows.sort(key=lambda row: row["rank"])

    @property
    def key(self) -> Key:
        profile, reranker = self.settings["profile"]["asked"], self.settings["reranker"]["label"]
        return self.settings["task"], profile, reranker

    @property
    def data_set(self) -> str:
        task = str(self.settings["task"])
        return task.rpartition("/")[0] or task

    @property
    def variant(self) -> dict[str, Any]:
        return self.settings.get("variant") or {}

    @property
    def engine(self) -> dict[str, Any]:
        return self.settings.get("engine") or {}

    @property
    def judgements(self) -> tuple[str, int]:
        return self.settings.get("qrels") or "qrels", self.least

    @property
    def method(self) -> str:
        return str(self.settings["reranker"].get("method", ""))

    @property
    def failed(self) -> set[str]:
        return {row["query_id"] for row in self.usage if row["failed"] is not None}

    def bases(self, places: Sequence[int] | None = None) -> list[str]:
        """The question of each query, which is the query itself where nothing is told."""
        rows = self.usage if places is None else [self.usage[place] for place in places]
        told = [row.get("base") for row in rows]
        return [row["query_id"] if b is None else b for row, b in zip(rows, told, strict=True)]

    def guard(self, query_id: str) -> str | None:
        return next((r["doc_id"] for r in self.ranked[query_id] if r["is_safeguard"]), None)

    def grades(self, query_id: str) -> dict[str, int]:
        told = sorted(self.judged[query_id].items())
        return {doc: grade if grade >= self.least else 0 for doc, grade in told}

    def pool(self, query_id: str) -> list[str]:
        """The first stage's order, without the safeguard."""
        rows = [row for row in self.ranked[query_id] if not row["is_safeguard"]]
        return [row["doc_id"] for row in sorted(rows, key=lambda row: row["first_stage_rank"])]

    def final(self, query_id: str, *, guarded: bool = False) -> list[str]:
        """The finished ranking, without the safeguard unless `guarded`."""
        rows = self.ranked[query_id]
        return [row["doc_id"] for row in rows if guarded or not row["is_safeguard"]]

    def reranked(self, query_id: str) -> list[str]:
        """The documents that were given scores, best first, without the safeguard."""
        rows = [row for row in self.ranked[query_id] if not row["is_safeguard"]]
        return [row["doc_id"] for row in rows if row["score"] is not None]

    def moving(self, query_id: str, *, guarded: bool = False) -> tuple[list[str], list[str]]:
        """What a reranker may move, and what stays behind it."""
        pool, guard = self.pool(query_id), self.guard(query_id)
        depth = len(pool) if self.depth is None else self.depth
        return pool[:depth] + ([guard] if guarded and guard else []), pool[depth:]

    def order(self, query_id: str, stage: str) -> list[str]:
        if stage == "first_stage":
            return self.pool(query_id)
        guarded = stage.endswith("safeguarded")
        if stage in {"natural", "safeguarded"}:
            return [] if query_id in self.failed else self.final(query_id, guarded=guarded)
        grades = self.grades(query_id)
        moving, rest = self.moving(query_id, guarded=guarded)
        return sorted(moving, key=lambda doc: -grades.get(doc, 0)) + rest

    def shuffles(self, query_id: str, stage: str) -> list[list[str]]:
        """Twenty orders by chance; the safeguard is among what is drawn, and may be taken out."""
        moving, rest = self.moving(query_id, guarded=True)
        seed = int.from_bytes(hashlib.sha256(query_id.encode()).digest()[:8], "big")
        places = np.tile(np.arange(len(moving)), (SHUFFLES, 1))
        drawn = np.random.default_rng(seed).permuted(places, axis=1)
        out = {self.guard(query_id)} if stage == "natural" else set()
        docs = sorted(moving)
        return [[docs[i] for i in row if docs[i] not in out] + rest for row in drawn]

    @cached_property
    def values(self) -> dict[str, Values]:
        """By stage and measure: per-query values in the order of the run."""
        grades = [self.grades(query_id) for query_id in self.ids]
        found = {
            stage: measured([self.order(query_id, stage) for query_id in self.ids], grades)
            for stage in STAGES
        }
        seeded = (self.settings["reranker"].get("options") or {}).get("seed")
        if self.method == "random" and not seeded:
            each = [own for own in grades for _ in range(SHUFFLES)]
            for stage in ("natural", "safeguarded"):
                drawn = [order for q in self.ids for order in self.shuffles(q, stage)]
                every = measured(drawn, each)
                found[stage] = {n: a.reshape(-1, SHUFFLES).mean(axis=1) for n, a in every.items()}
        return found

    def gains(self, measure: str) -> np.ndarray:
        return self.values["natural"][measure] - self.values["first_stage"][measure]

    def total(self, name: str) -> Any:
        """The sum of a column of usage.parquet; a query that has no such count has 0."""
        return sum(row.get(name) or 0 for row in self.usage)
