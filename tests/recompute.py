"""Recompute the numbers of a report from its run folders, without the package's own code.

    rerank-bench report RUNS --json > report.json
    python tests/recompute.py RUNS report.json

Measures are those of ir_measures (pytrec_eval), Holm's procedure that of statsmodels, Student's t
that of scipy; resampling follows docs/numbers.md. Prints how many numbers were compared, and every
one that differs; exits 1 if any does.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import pyarrow.parquet as pq
from scipy import stats
from statsmodels.stats.multitest import multipletests

MEASURES = {
    "nDCG@10": ir_measures.nDCG @ 10,
    "hit@10": ir_measures.Success @ 10,
    "MRR@10": ir_measures.RR @ 10,
    "MAP@100": ir_measures.AP @ 100,
}
SEED, DRAWS, BLOCK = 20260524, 10_000, 500
FLOORS = {"identity", "random", "reverse"}


class Folder:
    """One run folder, read with nothing but pyarrow and json."""

    def __init__(self, path: Path) -> None:
        self.manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        self.settings = self.manifest["settings"]
        self.usage = pq.read_table(path / "usage.parquet").to_pylist()
        self.least = max(self.settings.get("min_grade") or 1, 1)
        self.grades: dict[str, dict[str, int]] = {row["query_id"]: {} for row in self.usage}
        for row in pq.read_table(path / "qrels.parquet").to_pylist():
            grade = row["grade"] if row["grade"] >= self.least else 0
            self.grades[row["query_id"]][row["doc_id"]] = grade
        self.gains: dict[str, np.ndarray] = {}
        self.ranked = defaultdict(list)
        for row in pq.read_table(path / "rankings.parquet").to_pylist():
            self.ranked[row["query_id"]].append(row)

    @property
    def key(self) -> tuple[str, str, str]:
        profile, reranker = self.settings["profile"]["asked"], self.settings["reranker"]["label"]
        return self.settings["task"], profile, reranker

    @property
    def is_main(self) -> bool:
        return "variant" not in self.settings

    @property
    def data_set(self) -> str:
        task = str(self.settings["task"])
        return task.rpartition("/")[0] or task

    def order(self, query_id: str, stage: str) -> list[str]:
        """The ranking of one query: first_stage, natural, safeguarded or ceiling."""
        rows = self.ranked[query_id]
        if stage == "safeguarded":
            return [] if any(r["failed"] for r in rows) else [r["doc_id"] for r in rows]
        rows = [r for r in rows if not r["is_safeguard"]]
        if stage == "natural":
            return [] if any(r["failed"] for r in rows) else [r["doc_id"] for r in rows]
        pool = [r["doc_id"] for r in sorted(rows, key=lambda r: r["first_stage_rank"])]
        if stage == "first_stage":
            return pool
        depth = self.settings.get("depth") or len(pool)
        best = sorted(pool[:depth], key=lambda doc: -self.grades[query_id].get(doc, 0))
        return best + pool[depth:]

    def values(self, stage: str) -> dict[str, np.ndarray]:
        """Per-query values of each measure, in the order of the run."""
        ids = [row["query_id"] for row in self.usage]
        run = [
            ir_measures.ScoredDoc(str(i), doc, -float(rank))
            for i, query_id in enumerate(ids)
            for rank, doc in enumerate(self.order(query_id, stage))
        ]
        qrels = [
            ir_measures.Qrel(str(i), doc, grade)
            for i, query_id in enumerate(ids)
            for doc, grade in self.grades[query_id].items()
        ]
        found = {name: np.zeros(len(ids)) for name in MEASURES}
        names = {measure: name for name, measure in MEASURES.items()}
        for one in ir_measures.iter_calc(list(MEASURES.values()), qrels, run):
            found[names[one.measure]][int(one.query_id)] = one.value
        return found


def units_of(folder: Folder, gains: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums and sizes of what is drawn: queries, or all versions of one question."""
    bases = [row.get("base") or row["query_id"] for row in folder.usage]
    if len(set(bases)) == len(bases):
        return gains, np.ones(len(gains))
    names = sorted(set(bases))
    sums = [sum(g for g, b in zip(gains, bases, strict=True) if b == name) for name in names]
    return np.array(sums), np.array([float(bases.count(name)) for name in names])


def resampled(sums: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    generator, means = np.random.default_rng(SEED), []
    for _ in range(DRAWS // BLOCK):
        drawn = generator.integers(len(sums), size=(BLOCK, len(sums)), dtype=np.int32)
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    return np.concatenate(means)


def interval(sums: np.ndarray, sizes: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(resampled(sums, sizes), [2.5, 97.5])
    return float(low), float(high)


def detectable(sums: np.ndarray, sizes: np.ndarray) -> float:
    mean, units = sums.sum() / sizes.sum(), len(sums)
    squares = ((sums - sizes * mean) ** 2).sum() * units / max(units - 1, 1)
    return 2.8 * math.sqrt(squares) / float(sizes.sum())


def p_value(sums: np.ndarray, sizes: np.ndarray) -> float:
    generator, reached, mean = np.random.default_rng(SEED + 1), 0, sums.sum() / sizes.sum()
    for _ in range(DRAWS // BLOCK):
        width = math.ceil(len(sums) / 8)
        coins = np.frombuffer(generator.bytes(BLOCK * width), np.uint8).reshape(BLOCK, width)
        signs = 2.0 * np.unpackbits(coins, axis=1, count=len(sums)) - 1.0
        reached += int((abs(signs @ sums / sizes.sum()) >= abs(mean) - 1e-12).sum())
    counted = (1 + reached) / (1 + DRAWS)
    units = len(sums)
    squares = ((sums - sizes * mean) ** 2).sum() * units / (units - 1)
    error = math.sqrt(squares) / sizes.sum()
    if reached:
        return counted
    least = 2.0 ** (1 - int((abs(sums) > 1e-12).sum()))  # all flips there are show no less
    tail = float(2 * stats.t.sf(abs(mean) / error, units - 1)) if error > 1e-12 else 0.0
    return min(counted, max(tail, least))


def expected(folder: Folder) -> dict[str, dict[str, Any]]:
    """Everything that is recomputed of one run, by measure."""
    stages = {s: folder.values(s) for s in ("first_stage", "natural", "safeguarded", "ceiling")}
    queries = len(folder.usage)
    rows = {}
    for name in MEASURES:
        gains = stages["natural"][name] - stages["first_stage"][name]
        folder.gains[name] = gains
        sums, sizes = units_of(folder, gains)
        flat = np.ptp(gains) == 0
        low, high = (gains[0], gains[0]) if flat else interval(sums, sizes)
        means = {stage: float(values[name].mean()) for stage, values in stages.items()}
        headroom = means["ceiling"] - means["first_stage"]
        rows[name] = means | {
            "gain": float(gains.mean()),
            "gain_low": low,
            "gain_high": high,
            "wins": int((gains > 1e-9).sum()),
            "ties": int((abs(gains) <= 1e-9).sum()),
            "losses": int((gains < -1e-9).sum()),
            "gain_safeguarded": means["safeguarded"] - means["first_stage"],
            "decided": int(
                (abs(stages["safeguarded"][name] - stages["natural"][name]) > 1e-9).sum()
            ),
            "safeguards": sum(
                any(r["is_safeguard"] for r in rows) for rows in folder.ranked.values()
            ),
            "detectable": detectable(sums, sizes) if name == "nDCG@10" else None,
            "headroom_captured": gains.mean() / headroom if headroom >= 0.01 else None,
            "queries": queries,
            "calls_per_query": sum(row["calls"] for row in folder.usage) / queries,
            "rounds": sum(row["rounds"] for row in folder.usage) / queries,
            "prompt_tokens": sum(row["prompt_tokens"] for row in folder.usage),
            "output_tokens": sum(row["output_tokens"] for row in folder.usage),
        }
        fake = (folder.settings.get("engine") or {}).get("name") == "fake"
        real = folder.settings["reranker"].get("method") not in FLOORS and not fake
        if name == "nDCG@10" and real and not folder.manifest.get("invalid") and len(sums) >= 20:
            rows[name]["p"] = p_value(sums, sizes)
    return rows


def families(folders: dict[tuple[str, str, str], Folder], found: dict) -> None:
    """Adjust the p-values of each family by Holm."""
    tasks = defaultdict(set)
    for folder in folders.values():
        tasks[folder.data_set].add(folder.settings["task"])
    members = defaultdict(list)
    for key, folder in folders.items():
        if "p" in found[key]["nDCG@10"]:
            alone = len(tasks[folder.data_set]) == 1
            members[folder.data_set if alone else (folder.data_set, *key[1:])].append(key)
    for keys in members.values():
        adjusted = multipletests([found[key]["nDCG@10"]["p"] for key in keys], method="holm")[1]
        for key, p in zip(keys, adjusted, strict=True):
            found[key]["nDCG@10"] |= {"p_holm": float(p), "starred": bool(p <= 0.05)}


def differs(told: Any, own: Any) -> bool:
    if told is None or own is None or isinstance(own, bool):
        return told is not own and told != own
    return not math.isclose(told, own, rel_tol=1e-6, abs_tol=1e-9)


def check(runs: Path, report: list[dict[str, Any]]) -> tuple[int, list[str]]:
    """Return how many numbers were compared, and a line for each that differs.

    Of the means of a data set everything but p-values is compared. The floor `random` is left
    out: its numbers are means over shuffles that no folder holds.
    """
    read = (Folder(file.parent) for file in sorted(runs.rglob("manifest.json")))
    folders = {folder.key: folder for folder in read if folder.is_main}
    found = {key: expected(folder) for key, folder in folders.items()}
    families(folders, found)
    compared, lines = 0, []
    for row in report:
        key = row["task"], row["profile"], row["reranker"]
        if row["tasks"] > 1:
            own = [
                folders[k] for k in folders if folders[k].data_set == key[0] and k[1:] == key[1:]
            ]
            if own[0].settings["reranker"].get("method") != "random":
                compared += _compare(row, group(own, found, row["measure"]), lines)
            continue
        if key[2] is None or folders[key].settings["reranker"].get("method") == "random":
            continue
        compared += _compare(row, found[key][row["measure"]], lines)
    return compared, lines


def _compare(row: dict[str, Any], own: dict[str, Any], lines: list[str]) -> int:
    for name, value in own.items():
        if differs(row[name], value):
            told = f"reported {row[name]}, recomputed {value}"
            where = f"{row['task']} · {row['profile']} · {row['reranker']} · {row['measure']}"
            lines.append(f"{where} · {name}: {told}")
    return len(own)


def group(own: list[Folder], found: dict, measure: str) -> dict[str, Any]:
    """The plain means over tasks, and the interval: queries resampled within each task."""
    rows = [found[folder.key][measure] for folder in own]
    names = ("first_stage", "natural", "safeguarded", "ceiling", "gain")
    means = {name: sum(row[name] for row in rows) / len(rows) for name in names}
    drawn = np.zeros(DRAWS)
    for folder in own:
        values = folder.gains[measure]
        sums, sizes = units_of(folder, values)
        digest = hashlib.sha256(f"{SEED}\0{folder.settings['task']}".encode()).digest()
        order = np.random.default_rng(int.from_bytes(digest[:8], "big")).permutation(DRAWS)
        drawn += resampled(sums, sizes)[order]
    low, high = np.percentile(drawn / len(own), [2.5, 97.5])
    headroom = means["ceiling"] - means["first_stage"]
    return means | {
        "gain_low": float(low),
        "gain_high": float(high),
        "headroom_captured": means["gain"] / headroom if headroom >= 0.01 else None,
        "queries": sum(row["queries"] for row in rows),
        "wins": sum(row["wins"] for row in rows),
        "prompt_tokens": sum(row["prompt_tokens"] for row in rows),
    }


def main() -> int:
    runs, report = Path(sys.argv[1]), Path(sys.argv[2])
    compared, lines = check(runs, json.loads(report.read_text(encoding="utf-8")))
    print("\n".join([*lines, f"{compared} numbers compared, {len(lines)} differ"]))  # noqa: T201
    return 1 if lines or not compared else 0


if __name__ == "__main__":
    sys.exit(main())
