"""A report of made-up numbers, as large as one likes, for benchmarks of what shows it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from rerank_bench.evaluation import (
    MACRO,
    MEASURES,
    MICRO,
    Claim,
    ClaimRow,
    Evaluation,
    Group,
    LatencyRow,
    OrderRow,
    QueryRow,
    StratumRow,
)
from rerank_bench.inspect.exchanges import Exchange
from rerank_bench.inspect.replay import QueryView, ViewDocument

Record = dict[str, Any]

PROFILES = ("bm25", "dense", "hybrid")
TASKS_PER_SET = 25
FLOORS = ("random", "reverse")
NAMES = (
    "bge-reranker-v2-m3", "ms-marco-MiniLM-L6-v2", "ettin-reranker-150m", "monot5-3b",
    "rank-zephyr", "first-qwen3-4b", "rankgpt-20b", "pairwise-prp", "setwise-heap",
    "query-likelihood",
)  # fmt: skip
LANGUAGES = ("ar", "de", "en", "ja", "sw")


def simulated(tasks: int, rerankers: int, queries: int) -> Evaluation:
    """Return an evaluation of made-up numbers: all measures of tasks x profiles x rerankers."""
    draw = random.Random(7)
    more = (f"reranker-{i:02}" for i in range(len(NAMES), rerankers))
    names = [*FLOORS, *NAMES, *more][:rerankers]
    tasked = [
        f"NanoSet{i // TASKS_PER_SET + 1}/task-{i % TASKS_PER_SET + 1:02}" for i in range(tasks)
    ]
    firsts = {(task, p): draw.uniform(0.25, 0.65) for task in tasked for p in PROFILES}
    rows = [
        _row(draw, where, who, measure, first)
        for where, first in firsts.items()
        for who in enumerate(names)
        for measure in MEASURES
    ]
    groups, means = _groups(rows, tasked)
    return Evaluation.of(
        rows,
        means,
        [_first_stage(draw, where, measure) for where in firsts for measure in (MICRO, MACRO)],
        groups=groups,
        orders=tuple(_order(draw, tasked[0], name) for name in names[:8]),
        latencies=tuple(
            LatencyRow(tasked[0], "bm25", name, 50, 0.04 * i, 0.09 * i, "NVIDIA H200")
            for i, name in enumerate(names, 1)
        ),
        strata=tuple(
            _stratum(draw, task, name) for task in tasked[:5] for name in names for _ in "ab"
        ),
        queries=tuple(_queries(draw, tasked, names, queries)),
        claims=(_claim(rows[5]),),
    )


def _first_stage(draw: random.Random, where: tuple[str, str], measure: str) -> Record:
    return {
        "task": where[0], "profile": where[1], "origin": "computed", "measure": measure,
        "queries": 50, "first_stage": draw.uniform(0.7, 0.95), "safeguards": 4,
    }  # fmt: skip


def _row(
    draw: random.Random, where: tuple[str, str], who: tuple[int, str], measure: str, first: float
) -> Record:
    (task, profile), (i, name) = where, who
    floor = name in FLOORS
    ceiling = 0.5 + first / 2
    gain = (draw.gauss(-0.3, 0.05) if floor else draw.gauss(0.012 * i, 0.04)) * (1 - first)
    half = draw.uniform(0.02, 0.06)
    tested = measure == MEASURES[0] and not floor
    starred = tested and abs(gain) > 1.6 * half
    return {
        "task": task, "profile": profile, "origin": "computed", "resolved": profile,
        "reranker": name, "measure": measure, "queries": 50, "first_stage": first,
        "natural": first + gain, "safeguarded": first + gain + 0.02, "ceiling": ceiling,
        "ceiling_safeguarded": ceiling + 0.05, "gain": gain, "gain_low": gain - half,
        "gain_high": gain + half, "gain_safeguarded": gain + 0.02,
        "p": 0.0001 if starred else 0.4, "starred": starred,
        "p_holm": (0.002 if starred else 1.0) if tested else None,
        "family": f"60 gains of rerankers after profiles in {task}" if tested else "",
        "headroom_captured": gain / (ceiling - first), "floor": floor,
        "failed": 2 if draw.random() < 0.01 else 0, **_circumstances(i, name, floor),
    }  # fmt: skip


def _circumstances(i: int, name: str, floor: bool) -> Record:
    """Return what does not depend on how well the reranker did."""
    repaired = i in (6, 9)
    return {
        "safeguards": 4, "decided": 3, "wins": 20, "ties": 18, "losses": 12, "rerankable": 44,
        "judged": 0.91, "detectable": 0.05,
        "noise": 0.003 if i == 5 else None, "repeats": 3 if i == 5 else 1,
        "calls_per_query": 100.0 if i % 3 else 9.0, "rounds": 1.0 if i % 3 else 9.0,
        "prompt_tokens": 0 if floor else 150_000 * i, "output_tokens": 0 if floor else 50 * i,
        "cached_tokens": 45_000 * i, "from_cache": 0, "price": 2e-6 * i,
        "ideal_flops": None if floor else 1e11 * (i + 1) ** 2,
        "seconds": 3.0 * i, "seconds_per_query": 0.004 * (i + 1) ** 2, "startup_seconds": 20.0,
        "gpu_seconds": 0.004 * (i + 1) ** 2 if i % 4 else None,
        "hardware": "NVIDIA H200" if i % 4 else "AMD EPYC 9534",
        "model": f"org/{name}", "engine": "vllm",
        "invalid": "21 % of the written answers had to be repaired" if i == 9 else None,
        "repaired": 3 if repaired else 0, "unparsable": 0, "truncated": 0,
        "counts": {"repaired": 3, "generations": 400} if repaired else {},
    }  # fmt: skip


def _groups(rows: list[Record], tasked: list[str]) -> tuple[tuple[Group, ...], list[Record]]:
    """Return data sets, whose means are those of their first tasks."""
    groups, means = [], []
    for start in range(0, len(tasked), TASKS_PER_SET):
        tasks = tuple(tasked[start : start + TASKS_PER_SET])
        name = tasks[0].partition("/")[0]
        shared = {"task": name, "tasks": len(tasks), "queries": 50 * len(tasks)}
        means += [row | shared for row in rows if row["task"] == tasks[0]]
        left_out = (("bm25", "set-encoder", f"{len(tasks) - 1} of {len(tasks)} tasks"),)
        groups.append(Group(name, tasks, left_out))
    return tuple(groups), means


def _order(draw: random.Random, task: str, name: str) -> OrderRow:
    slope = draw.uniform(0, 0.02)
    promoted = tuple(0.1 + slope * (4.5 - i) + draw.gauss(0, 0.004) for i in range(10))
    return OrderRow(
        task, "bm25", name, ("first-stage", "reverse", "random-1"), 0.5, 0.01, 0.8, promoted
    )


def _stratum(draw: random.Random, task: str, name: str) -> StratumRow:
    gain = draw.gauss(0.05, 0.05)
    language = draw.choice(LANGUAGES)
    return StratumRow(
        task,
        "bm25",
        name,
        "language",
        language,
        25,
        0.4,
        0.4 + gain,
        gain,
        gain - 0.04,
        gain + 0.04,
    )


def _queries(
    draw: random.Random, tasked: list[str], names: list[str], n: int
) -> Iterator[QueryRow]:
    for i in range(n):
        before = min(100, int(draw.paretovariate(0.7)))
        after = max(1, min(100, int(before * draw.lognormvariate(-0.6, 0.7))))
        nowhere = draw.random() < 0.04
        yield QueryRow(
            task=tasked[i % min(5, len(tasked))],
            profile=PROFILES[i % 3],
            reranker=names[i % len(names)],
            query_id=f"q{i // 3 // len(names)}",
            language=LANGUAGES[i % 5],
            first_stage=1 / (1 + before) ** 0.5,
            natural=1 / (1 + after) ** 0.5,
            safeguarded=1 / (1 + after) ** 0.5,
            rank_before=None if nowhere else before,
            rank_after=None if nowhere else after,
            safeguard=nowhere,
            failed=i == 17,
            repaired=int(i % 40 == 3),
        )


def _claim(row: Record) -> ClaimRow:
    claim = Claim(
        row["reranker"], row["model"], row["task"], 50, "bm25", 0.5, "nDCG@10", 0.61,
        "Nobody et al. 2026", 0.01, "two runs of the same",
    )  # fmt: skip
    return ClaimRow(claim, row["task"], row["profile"], row["reranker"], 0.605, within=True)


def views(found: Evaluation) -> list[QueryView]:
    """Return a few queries to look into, of two rerankers."""
    draw = random.Random(3)
    chosen = [row for row in found.queries if row.query_id in {"q0", "q1"} and not row.failed]
    return [_view(draw, row) for row in chosen[:30]]


def _view(draw: random.Random, row: QueryRow) -> QueryView:
    before = list(range(1, 101))
    draw.shuffle(before)
    return QueryView(
        row.task,
        row.profile,
        row.reranker,
        row.query_id,
        "when was the harbour of the old town built?",
        tuple(_document(old, new) for new, old in enumerate(before, 1)),
        tuple(_exchange(i) for i in range(1, 10)),
        {"repaired": 1},
        None,
        row.first_stage,
        row.natural,
    )


def _document(old: int, new: int) -> ViewDocument:
    text = f"Passage {old}. " + "Some words about an old harbour town. " * (old % 14 + 1)
    positive = old % 31 == 0
    grade = 1 if positive else (0 if old % 9 == 0 else None)
    return ViewDocument(
        f"doc-{old}", text, old, new, -0.173 * new, grade, positive, safeguard=False
    )


def _exchange(n: int) -> Exchange:
    prompt = f"system:\nYou rank passages.\nuser:\n[1] passage\n[2] passage {n}"
    return Exchange(n, "Generate", prompt, "2 then 1" if n == 3 else "[2] > [1]", n == 3)
