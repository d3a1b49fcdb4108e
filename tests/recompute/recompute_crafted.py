"""Crafted run folders for test_recompute.py: what no model is needed for, and reports seldom hold.

Written with pyarrow and json alone. Rows of rankings and judgements stand in no order: the column
`rank` counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

RANKED = {
    "query_id": pa.string(), "doc_id": pa.string(), "rank": pa.int32(), "score": pa.float64(),
    "first_stage_rank": pa.int32(), "is_safeguard": pa.bool_(), "failed": pa.bool_(),
}  # fmt: skip
JUDGED = {"query_id": pa.string(), "doc_id": pa.string(), "grade": pa.int32()}
COUNTS = (
    "generations", "repaired", "unparsable", "truncated", "label_calls", "label_tokens", "labels",
    "missing_labels",
)  # fmt: skip
LABELS = {"label_calls": 2, "label_tokens": 2, "labels": 4}
SPENT = ("calls", "rounds", "prompt_tokens", "output_tokens", "merged", "from_cache",
         "cached_tokens")  # fmt: skip
ABOUT = {"failed": pa.string(), "language": pa.string(), "base": pa.string(),
         "query_chars": pa.int64(), "pool_chars": pa.int64()}  # fmt: skip
HARDWARE = {"system": "Linux", "processor": "P", "cores": 2}


@dataclass(frozen=True)
class Query:
    """A query, its pool in first-stage order, and what is judged."""

    query_id: str
    pool: tuple[str, ...]
    judged: Mapping[str, int]
    safeguard: str | None = None
    base: str | None = None
    language: str | None = None
    chars: int = 10


def queries(
    rng: np.random.Generator, count: int, *, depth: int = 14, grades: int = 1, versions: int = 1
) -> list[Query]:
    """Some have a safeguard, some no candidates, some positives outside the pool.

    With `grades` over 1 others were judged 0 or -1. With `versions` each question is there in so
    many languages.
    """
    found = []
    for i in range(count):
        pool = tuple(f"d{j}" for j in range(depth))
        judged = {str(d): int(rng.integers(1, grades + 1)) for d in rng.choice(pool, 1 + i % 3)}
        if grades > 1:
            judged = {str(d): -int(rng.integers(2)) for d in rng.choice(pool, 6)} | judged
        if i % 4 == 0:
            judged["outside"] = 1
        one = Query(f"q{i}", pool, judged, chars=int(rng.integers(5, 60)))
        if i % 6 == 5:
            kept = {doc: grade for doc, grade in judged.items() if grade < 1}
            one = replace(one, judged={**kept, "guard": 1}, safeguard="guard")
        if i % 12 == 11:
            one = replace(one, pool=(), safeguard=None)
        if versions > 1:
            language, chars = ("de", "en")[i % versions], 5 + i // versions
            one = replace(one, base=f"b{i // versions}", language=language, chars=chars)
        found.append(one)
    return found


@dataclass(frozen=True)
class Crafted:
    """A reranker of a certain skill: a positive's score is so many standard deviations higher."""

    label: str
    skill: float = 0.0
    method: str = "pointwise"
    engine: str = "transformers"
    depth: int | None = None
    cut: int | None = None
    min_grade: int = 1
    fails: tuple[int, ...] = ()
    cached: bool = False
    counts: Mapping[str, int] | None = None
    options: Mapping[str, Any] | None = None
    hardware: Mapping[str, Any] | None = None


def write(
    root: Path, task: str, profile: str, asked: Sequence[Query], by: Crafted, *, seed: int,
    settings: Mapping[str, Any] | None = None, suffix: str = "",
) -> None:  # fmt: skip
    """Write the run that `by` makes of the queries asked; `seed` is that of its scores."""
    rng = np.random.default_rng(seed)
    folder = root / task / profile / f"{by.label}{suffix}"
    folder.mkdir(parents=True)
    ranked = [
        row for i, query in enumerate(asked) for row in _ranking(rng, query, by, i in by.fails)
    ]
    judged = [(q.query_id, doc, grade) for q in asked for doc, grade in q.judged.items()]
    _store(folder / "rankings.parquet", RANKED, [ranked[i] for i in rng.permutation(len(ranked))])
    _store(folder / "qrels.parquet", JUDGED, [judged[i] for i in rng.permutation(len(judged))])
    _store(folder / "usage.parquet", *_usage(rng, asked, by))
    told = _manifest(task, profile, by, settings or {})
    (folder / "manifest.json").write_text(json.dumps(told), encoding="utf-8")


def _ranking(
    rng: np.random.Generator, query: Query, by: Crafted, failed: bool
) -> list[tuple[Any, ...]]:
    guard = () if query.safeguard is None else (query.safeguard,)
    depth = len(query.pool) if by.depth is None else by.depth
    moving, rest = (*query.pool[:depth], *guard), query.pool[depth:]
    place = {doc: rank for rank, doc in enumerate((*query.pool, *guard), 1)}
    score = {d: by.skill * (query.judged.get(d, 0) > 0) + rng.normal() for d in moving}
    final = [*sorted(moving, key=lambda doc: -score[doc]), *rest]
    if failed:
        final, score = list(place), {}
    return [
        (query.query_id, doc, rank, score.get(doc), place[doc], doc == query.safeguard, failed)
        for rank, doc in enumerate(final, 1)
    ]


def _usage(
    rng: np.random.Generator, asked: Sequence[Query], by: Crafted
) -> tuple[dict[str, pa.DataType], list[tuple[Any, ...]]]:
    kinds = {"query_id": pa.string(), **dict.fromkeys(SPENT, pa.int64()), "seconds": pa.float64()}
    kinds |= {f"counts.{name}": pa.int64() for name in COUNTS} | ABOUT
    rows = []
    for i, q in enumerate(asked):
        spent = [int(n) for n in rng.integers(1, 50, size=len(SPENT))]
        spent[SPENT.index("from_cache")] = int(by.cached and i % 2)
        told = {"generations": 10, "truncated": i % 3 == 0, **(by.counts or {})}
        counts = [told.get(name) if i % 2 else None for name in COUNTS]
        about = (
            "no answer" if i in by.fails else None,
            q.language,
            q.base,
            q.chars,
            100 if q.pool else None,
        )
        rows.append((q.query_id, *spent, float(rng.random()), *counts, *about))
    return kinds, rows


def _store(file: Path, kinds: Mapping[str, pa.DataType], rows: Sequence[tuple[Any, ...]]) -> None:
    columns = {name: pa.array([row[i] for row in rows]).cast(kind)
               for i, (name, kind) in enumerate(kinds.items())}  # fmt: skip
    pq.write_table(pa.table(columns), file)


def _manifest(task: str, profile: str, by: Crafted, settings: Mapping[str, Any]) -> dict[str, Any]:
    seconds = len(task) + len(by.label) / 7
    stage = {"asked": profile, "resolved": profile, "origin": "shipped", "sha256": profile}
    return {
        "format": 1,
        "hardware": by.hardware or HARDWARE,
        "engine": {"data_parallel": 2, "tensor_parallel_size": 2} if by.hardware else {},
        "startup_seconds": seconds if by.engine == "transformers" else None,
        "ideal_flops": seconds * 1e9 if by.engine == "transformers" else None,
        "published": {profile: {"nDCG@10": 0.4, "recall@100": 0.9}},
        "convention": "binary",
        "settings": {
            "task": task,
            "profile": stage,
            "reranker": {
                "label": by.label,
                "method": by.method,
                "options": by.options or {},
                "asks": [] if by.engine == "none" else ["PairScore"],
            },
            "engine": {"name": by.engine, "model": "maker/model"},
            "depth": by.depth,
            "max_doc_chars": by.cut,
            "max_doc_tokens": by.cut and by.cut // 5,
            "min_grade": by.min_grade,
            "queries": None,
            **settings,
        },
    }


GPU = {"gpu": "G", "gpus": 4}
RERANKERS = (
    Crafted("good", 2.5),
    Crafted("fair", 0.5, cached=True),
    Crafted("harm", -3.0, hardware=GPU),
    Crafted("flawed", 2.0, fails=(2,)),
    Crafted("broken", 2.0, fails=(1, 2, 7, 9)),
    Crafted("mending", 2.0, counts={"repaired": 2, "unparsable": 1}),
    Crafted("mended", 1.0, counts={"repaired": 1, "unparsable": 1}),
    Crafted("wordy", 2.0, counts={**LABELS, "label_tokens": 3}),
    Crafted("lost", 2.0, counts={**LABELS, "missing_labels": 1}),
    Crafted("shallow", 0.1, depth=5, cut=500),
    Crafted("strict", 1.5, min_grade=2),
    Crafted("fake", 2.0, engine="fake"),
    Crafted("served", 0.3, engine="http", counts={**LABELS, "missing_labels": 1}),
    Crafted("identity", method="identity", engine="none"),
    Crafted("random", method="random", engine="none"),
    Crafted("lucky", method="random", engine="none", options={"seed": 3}),
)
"""Real ones, some that fail, some that worked as they are not meant to, and floors."""

AGAIN = tuple(by for by in RERANKERS if by.label in {"good", "fair", "shallow", "strict"})
"""Those that ran after another profile too."""


def write_all(root: Path) -> None:
    """Two tasks of one data set by all, after another profile by some; variants; tasks alone."""
    rng = np.random.default_rng(0)
    tasks = {"Set/graded": queries(rng, 25, grades=3), "Set/versions": queries(rng, 64, versions=2)}
    for place, (task, asked) in enumerate(tasks.items()):
        for number, by in enumerate(RERANKERS):
            write(root, task, "bm25", asked, by, seed=100 * place + number)
        for number, by in enumerate(AGAIN):
            write(root, task, "dense", asked, by, seed=100 * place + 20 + number)
        _write_variants(root, task, asked, seed=100 * place + 50)
        write(root, task, "dense", asked, Crafted("mixed", depth=5 + place), seed=place)
    write(root, "Set/graded", "dense", tasks["Set/graded"], Crafted("partial", 1.0), seed=1)
    write(root, "Few", "bm25", queries(rng, 19), RERANKERS[0], seed=2)
    write(root, "Small/a", "bm25", queries(rng, 24, versions=2), RERANKERS[0], seed=5)
    write(root, "Small/b", "bm25", queries(rng, 7), RERANKERS[0], seed=6)
    alone = queries(rng, 40, grades=2)
    some = {"queries": 30, "seed": 0}
    write(root, "Alone/one", "bm25", alone, RERANKERS[0], seed=3)
    write(root, "Alone/one", "bm25", alone[:30], RERANKERS[1], seed=4, settings=some)
    _write_flat(root)


def _write_variants(root: Path, task: str, asked: Sequence[Query], *, seed: int) -> None:
    """Repeats, orders and one at a time; among them two that count with none of the others."""
    good = RERANKERS[0]
    told: list[tuple[str, Crafted, dict[str, Any]]] = [
        ("repeat-2", good, {"variant": {"repeat": 2, "shuffled": True}}),
        ("repeat-3", good, {"variant": {"repeat": 3, "shuffled": True}}),
        ("repeat-4", good, {"variant": {"repeat": 4}, "seed": 1}),
    ]
    for order in ("reverse", "random-0", "random-1", "random-2"):
        by = replace(good, fails=(3,)) if order == "random-2" else good
        told.append((f"order-{order}", by, {"variant": {"order": order}}))
    for number, (name, by, settings) in enumerate(told):
        write(root, task, "bm25", asked, by, seed=seed + number, settings=settings,
              suffix=f"~{name}")  # fmt: skip
    alone = {"variant": {"alone": True}, "queries": 9}
    write(root, task, "bm25", asked[:9], replace(good, fails=(4,)), seed=seed + 20,
          settings=alone, suffix="~alone")  # fmt: skip


def _write_flat(root: Path) -> None:
    """A task whose pools are as good as they can be, and one that a reranker gains all of."""
    for task, pool in (("Best", ("a", "b")), ("Equal", ("b", "a"))):
        asked = [Query(f"q{i}", pool, {"a": 1}) for i in range(30)]
        write(root, task, "bm25", asked, Crafted("good", 99.0), seed=0)
