"""Recompute the gains of a report from its run folders, without the package's own code.

    rerank-bench report RUNS --json > report.json
    python tests/recompute/recompute.py RUNS report.json [COMPARISON.json …]

A comparison is what `compare ONE OTHER --json` printed of the same runs. Prints how many numbers
were compared and each one that differs; exits 1 if any does, or if a row is missing or one too
many. Recomputed are the means of all measures, gains, intervals, p-values, stars, wins, headrooms
and counts of queries: of tasks, of data sets and of comparisons.

Measures are those of ir_measures (pytrec_eval), t-tests those of scipy, clusters and Holm those of
statsmodels; the rest follows docs/numbers.md.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import pyarrow.parquet as pq
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.multitest import multipletests

Row = dict[str, Any]
Rows = dict[tuple[Any, ...], Row]
Key = tuple[str, str, str]

MAIN = "nDCG@10"
MEASURES = {
    MAIN: ir_measures.nDCG @ 10,
    "hit@10": ir_measures.Success @ 10,
    "MRR@10": ir_measures.RR @ 10,
    "MAP@100": ir_measures.AP @ 100,
}
STAGES = ("first_stage", "natural", "safeguarded", "ceiling", "ceiling_safeguarded")
SUMS = ("queries", "safeguards", "decided", "failed", "wins", "ties", "losses")
FLOORS = {"identity", "random", "reverse"}
SAME, SHUFFLES, FEWEST, MOST_FAILED, MOST_REPAIRED = 1e-9, 20, 20, 0.05, 0.20
NAMES = {"natural": "one", "first_stage": "other", "gain": "difference", "gain_low": "low",
         "gain_high": "high"}  # fmt: skip


@lru_cache(maxsize=8)  # the runs of one pool share its values
def measured(
    rankings: tuple[tuple[str, ...], ...], grades: tuple[tuple[tuple[str, int], ...], ...]
) -> dict[str, np.ndarray]:
    """Per-query values of each measure, in the order given; 0 where trec_eval has none."""
    run = {str(i): {d: -float(j) for j, d in enumerate(own)} for i, own in enumerate(rankings)}
    qrels = {str(i): dict(own) for i, own in enumerate(grades)}
    found = {name: np.zeros(len(rankings)) for name in MEASURES}
    names = {str(measure): name for name, measure in MEASURES.items()}
    for one in ir_measures.iter_calc(list(MEASURES.values()), qrels, run):
        found[names[str(one.measure)]][int(one.query_id)] = one.value
    return found


class Folder:
    """One run; a grade under the least that counts is worth 0."""

    def __init__(self, path: Path) -> None:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        self.settings = settings = manifest["settings"]
        self.usage = pq.read_table(path / "usage.parquet").to_pylist()
        self.ids = [row["query_id"] for row in self.usage]
        self.failed = {row["query_id"] for row in self.usage if row["failed"] is not None}
        self.least = max(settings.get("min_grade") or 1, 1)
        self.depth = settings.get("depth")
        self.cut = settings.get("max_doc_chars")
        self.method = str(settings["reranker"].get("method", ""))
        self.engine = settings.get("engine") or {}
        self.real = manifest.get("is_real", self.engine.get("name") != "fake")
        self.exact = manifest.get("exact_labels", self.engine.get("name") != "http")
        profile, reranker = settings["profile"]["asked"], settings["reranker"]["label"]
        self.key: Key = settings["task"], profile, reranker
        self.judged: dict[str, dict[str, int]] = {query_id: {} for query_id in self.ids}
        for row in pq.read_table(path / "qrels.parquet").to_pylist():
            self.judged[row["query_id"]][row["doc_id"]] = row["grade"]
        self.ranked: dict[str, list[Row]] = defaultdict(list)
        for row in pq.read_table(path / "rankings.parquet").to_pylist():
            self.ranked[row["query_id"]].append(row)

    @property
    def same_method(self) -> tuple[Any, ...]:
        """What must be the same in all tasks of a mean."""
        return self.engine.get("model", ""), self.depth, self.cut

    @property
    def bases(self) -> dict[str, str]:
        """The question that each query is a version of, which is the query itself by default."""
        return {row["query_id"]: row.get("base") or row["query_id"] for row in self.usage}

    @property
    def is_sound(self) -> bool:
        """Whether a real reranker worked as its method is meant to."""
        names = ("label_calls", "label_tokens", "labels", "missing_labels", "generations",
                 "repaired", "unparsable")  # fmt: skip
        n = {name: sum(row.get(f"counts.{name}") or 0 for row in self.usage) for name in names}
        lost = n["missing_labels"] > n["labels"] * (not self.exact) / 10
        bad = n["label_calls"] and (n["label_tokens"] != n["label_calls"] or lost)
        odd = n["repaired"] + n["unparsable"] > MOST_REPAIRED * n["generations"]
        fake = self.method in FLOORS or not self.real
        return not (fake or bad or (n["generations"] and odd))

    def guard(self, query_id: str) -> str | None:
        return next((r["doc_id"] for r in self.ranked[query_id] if r["is_safeguard"]), None)

    def grades(self, query_id: str) -> dict[str, int]:
        judged = sorted(self.judged[query_id].items())
        return {doc: grade if grade >= self.least else 0 for doc, grade in judged}

    def documents(self, query_id: str, by: str, *, guarded: bool = False) -> tuple[str, ...]:
        """Documents by `rank` or `first_stage_rank`; the safeguard only where `guarded`."""
        rows = [row for row in self.ranked[query_id] if guarded or not row["is_safeguard"]]
        return tuple(row["doc_id"] for row in sorted(rows, key=lambda row: row[by]))

    def moving(self, query_id: str, *, guarded: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What a reranker may move, and what stays behind it."""
        pool, guard = self.documents(query_id, "first_stage_rank"), self.guard(query_id)
        depth = len(pool) if self.depth is None else self.depth
        return pool[:depth] + ((guard,) if guarded and guard else ()), pool[depth:]

    def order(self, query_id: str, stage: str) -> tuple[str, ...]:
        if stage == "first_stage":
            return self.documents(query_id, "first_stage_rank")
        guarded = stage.endswith("safeguarded")
        if stage in {"natural", "safeguarded"}:
            failed = query_id in self.failed
            return () if failed else self.documents(query_id, "rank", guarded=guarded)
        grades = self.grades(query_id)
        moving, rest = self.moving(query_id, guarded=guarded)
        return (*sorted(moving, key=lambda doc: -grades.get(doc, 0)), *rest)

    def shuffles(self, query_id: str, stage: str) -> list[tuple[str, ...]]:
        """Twenty random orders; the safeguard is among what is drawn, and may be taken out."""
        moving, rest = self.moving(query_id, guarded=True)
        seed = int.from_bytes(hashlib.sha256(query_id.encode()).digest()[:8], "big")
        places = np.tile(np.arange(len(moving)), (SHUFFLES, 1))
        drawn = np.random.default_rng(seed).permuted(places, axis=1)
        out = {self.guard(query_id)} if stage == "natural" else set()
        docs = sorted(moving)
        return [(*(docs[i] for i in row if docs[i] not in out), *rest) for row in drawn]

    @cached_property
    def values(self) -> dict[str, dict[str, np.ndarray]]:
        """By stage and measure: per-query values in the order of the run."""
        grades = tuple(tuple(self.grades(query_id).items()) for query_id in self.ids)
        found = {s: measured(tuple(self.order(q, s) for q in self.ids), grades) for s in STAGES}
        seed = (self.settings["reranker"].get("options") or {}).get("seed")
        if self.method == "random" and not seed:
            each = tuple(own for own in grades for _ in range(SHUFFLES))
            for stage in ("natural", "safeguarded"):
                every = measured(tuple(o for q in self.ids for o in self.shuffles(q, stage)), each)
                found[stage] = {n: a.reshape(-1, SHUFFLES).mean(axis=1) for n, a in every.items()}
        return found


@dataclass(frozen=True)
class Gain:
    """A mean gain: its standard error, degrees of freedom and units; no error without spread."""

    mean: float
    error: float | None
    freedom: float
    units: int

    def row(self, *, tested: bool) -> Row:
        row: Row = dict.fromkeys(("gain_low", "gain_high", "p", "p_holm", "detectable"))
        row |= {"gain": self.mean, "starred": False, "family": 0}
        if self.error is not None:
            half = float(stats.t.ppf(0.975, self.freedom)) * self.error
            row |= {"gain_low": self.mean - half, "gain_high": self.mean + half}
            row["detectable"] = 2.8 * self.error
            if tested and self.units >= FEWEST:
                row["p"] = float(2 * stats.t.sf(abs(self.mean) / self.error, self.freedom))
        return row


def of_task(gains: np.ndarray, bases: Sequence[str]) -> Gain:
    """Estimate by scipy, or where queries share a question, by statsmodels with clusters."""
    units, mean = len(set(bases)), float(gains.mean())
    if units == 1:
        return Gain(mean, None, 0, 1)
    if units == len(gains):
        error = float(stats.sem(gains))
    else:
        groups = np.unique(bases, return_inverse=True)[1]
        how = {"cov_type": "cluster", "cov_kwds": {"groups": groups}}
        fit = sm.OLS(gains, np.ones(len(gains))).fit(**how)
        error = float(fit.bse[0])
    return Gain(mean, error if error > 1e-12 else None, units - 1, units)


def of_tasks(tasks: Sequence[Gain]) -> Gain:
    """The plain mean over tasks, with Welch and Satterthwaite's degrees of freedom."""
    squares = [(task.error or 0.0) ** 2 / len(tasks) ** 2 for task in tasks]
    mean, units = float(np.mean([t.mean for t in tasks])), sum(t.units for t in tasks)
    if not sum(squares) or min(task.units for task in tasks) == 1:
        return Gain(mean, None, 0, units)
    parts = sum(s**2 / task.freedom for s, task in zip(squares, tasks, strict=True))
    return Gain(mean, sum(squares) ** 0.5, sum(squares) ** 2 / parts, units)


def is_tested(failed: int, queries: int, *folders: Folder) -> bool:
    return failed <= MOST_FAILED * queries and all(folder.is_sound for folder in folders)


def outcomes(gains: np.ndarray) -> Row:
    moved = {"wins": gains > SAME, "ties": abs(gains) <= SAME, "losses": gains < -SAME}
    return {name: int(where.sum()) for name, where in moved.items()}


def finished(row: Row, measure: str) -> Row:
    headroom = row["ceiling"] - row["first_stage"]
    row["headroom_captured"] = row["gain"] / headroom if headroom >= 0.01 else None
    return row if measure == MAIN else row | {"detectable": None}


def task_rows(folder: Folder) -> tuple[dict[str, Row], dict[str, Gain]]:
    bases = list(folder.bases.values())
    shared = {
        "queries": len(bases),
        "safeguards": sum(folder.guard(query_id) is not None for query_id in folder.ids),
        "clusters": len(set(bases)) if len(set(bases)) < len(bases) else None,
        "failed": len(folder.failed),
        "tasks": 1,
    }
    rows, gained = {}, {}
    for name in MEASURES:
        values = {stage: folder.values[stage][name] for stage in STAGES}
        gains = values["natural"] - values["first_stage"]
        gained[name] = of_task(gains, bases)
        row = {stage: float(array.mean()) for stage, array in values.items()}
        tested = name == MAIN and is_tested(len(folder.failed), len(folder.ids), folder)
        row |= gained[name].row(tested=tested) | outcomes(gains) | shared
        row["gain_safeguarded"] = row["safeguarded"] - row["first_stage"]
        row["decided"] = int((abs(values["safeguarded"] - values["natural"]) > SAME).sum())
        rows[name] = finished(row, name)
    return rows, gained


def mean_row(parts: Sequence[Row], gained: Sequence[Gain], *, tested: bool) -> Row:
    names = set(parts[0]) & {*STAGES, "gain", "gain_safeguarded"}
    row: Row = {name: float(np.mean([part[name] for part in parts])) for name in names}
    row |= {name: sum(part[name] for part in parts) for name in SUMS if name in parts[0]}
    return row | of_tasks(gained).row(tested=tested)


def report_rows(mains: Mapping[Key, Folder]) -> Rows:
    found = {key: task_rows(folder) for key, folder in mains.items()}
    rows: Rows = {(False, *k, n): row for k, (own, _) in found.items() for n, row in own.items()}
    for name_of_set, tasks in data_sets(mains.values()).items():
        for asked, label in {key[1:] for key in mains if key[0] in tasks}:
            keys = [(task, asked, label) for task in tasks if (task, asked, label) in mains]
            own = [mains[key] for key in keys]
            if len(keys) < len(tasks) or len(tasks) == 1 or len({f.same_method for f in own}) > 1:
                continue
            sound = all(is_tested(len(f.failed), len(f.ids), f) for f in own)
            for name in found[keys[0]][0]:
                parts, gained = ([found[key][i][name] for key in keys] for i in (0, 1))
                row = mean_row(parts, gained, tested=sound and name == MAIN)
                clusters = any(part["clusters"] for part in parts)
                units = sum(gain.units for gain in gained) if clusters else None
                row |= {"clusters": units, "tasks": len(tasks)}
                rows[True, name_of_set, asked, label, name] = finished(row, name)
    star(rows, data_sets(mains.values()))
    return rows


def data_set(task: str) -> str:
    return task.rpartition("/")[0] or task


def data_sets(folders: Iterable[Folder]) -> dict[str, set[str]]:
    tasks = defaultdict(set)
    for folder in folders:
        tasks[data_set(folder.key[0])].add(folder.key[0])
    return tasks


def star(rows: Rows, tasks: Mapping[str, set[str]]) -> None:
    """Adjust after Holm: the means of a data set (or its only task) together, tasks by column."""
    families = defaultdict(list)
    for (is_mean, task, asked, label, *_), row in rows.items():
        if row["p"] is not None:
            name = task if is_mean else data_set(task)
            alone = is_mean or len(tasks[name]) == 1
            families[(name,) if alone else (name, asked, label)].append(row)
    for family in families.values():
        stars, adjusted, *_ = multipletests([row["p"] for row in family], 0.05, "holm")
        for row, starred, p in zip(family, stars, adjusted, strict=True):
            row |= {"starred": bool(starred), "p_holm": float(p), "family": len(family)}


def compare_rows(mains: Mapping[Key, Folder], one: str, other: str) -> Rows:
    """The rows of `compare ONE OTHER --json`."""
    rows, gained, sound = {}, {}, {}
    for key, first in mains.items():
        second = mains.get((*key[:2], other))
        if key[2] != one or second is None or len({_ground(first), _ground(second)}) > 1:
            continue
        a, b = (dict(zip(f.ids, f.values["natural"][MAIN], strict=True)) for f in (first, second))
        ids = [query_id for query_id in first.ids if query_id in b]
        x, y = np.array([a[q] for q in ids]), np.array([b[q] for q in ids])
        gain = gained[key[:2]] = of_task(x - y, [first.bases[query_id] for query_id in ids])
        failed = len((first.failed | second.failed) & set(ids))
        sound[key[:2]] = is_tested(failed, len(ids), first, second)
        rows[False, *key[:2], one] = {
            "queries": len(ids), "natural": float(x.mean()), "first_stage": float(y.mean()),
            **gain.row(tested=sound[key[:2]]), **outcomes(x - y),
        }  # fmt: skip
    sets = data_sets(mains[*key[1:3], one] for key in list(rows))
    for name, tasks in sets.items():
        for asked in {key[2] for key in rows if key[1] in tasks}:
            keys = [(task, asked) for task in tasks if (task, asked) in gained]
            methods = {mains[*key, one].same_method for key in keys}
            if len(keys) == len(tasks) > 1 and len(methods) == 1:
                parts = [rows[False, *key, one] for key in keys]
                tested = all(sound[key] for key in keys)
                own = mean_row(parts, [gained[key] for key in keys], tested=tested)
                rows[True, name, asked, one] = own
    star(rows, sets)
    return {
        key[:3]: {NAMES.get(n, n): value for n, value in row.items()} for key, row in rows.items()
    }


def _ground(folder: Folder) -> tuple[Any, ...]:
    """What must be the same in two runs that are compared."""
    judgements = folder.settings.get("qrels") or "qrels", folder.least
    return folder.settings["profile"].get("sha256"), folder.depth, folder.cut, judgements


def differs(name: str, reported: Any, own: Any) -> bool:
    """Return whether two numbers differ by more than rounding, however small a p-value is."""
    if name == "family":
        size = re.match(r"the (\d+) ", reported)
        return bool((int(size[1]) if size else int("only one of" in reported)) != own)
    if reported is None or own is None or isinstance(own, bool):
        return bool(reported is not own)
    least = 0.0 if name in {"p", "p_holm"} else 1e-12
    return not math.isclose(reported, own, rel_tol=1e-9, abs_tol=least)


def read(runs: Path) -> dict[Key, Folder]:
    """The runs of a folder; variants of a run are left out."""
    found = [Folder(file.parent) for file in sorted(runs.rglob("manifest.json"))]
    return {folder.key: folder for folder in found if not folder.settings.get("variant")}


def check(mains: Mapping[Key, Folder], *reported: Any) -> tuple[int, list[str]]:
    """Return how many numbers of reports and comparisons were compared, and lines that differ."""
    found = [differences(*tables(mains, one)) for one in reported]
    return sum(count for count, _ in found), sorted(line for _, lines in found for line in lines)


def differences(rows: Rows, own: Rows) -> tuple[int, list[str]]:
    """Return how many numbers were compared, and a line for each row or number that differs."""
    pairs = [(key, name) for key in rows.keys() & own.keys() for name in own[key]]
    lines = [f"{key}: not in both" for key in rows.keys() ^ own.keys()]
    lines += [
        f"{key} {name}: reported {rows[key][name]}, recomputed {own[key][name]}"
        for key, name in pairs
        if differs(name, rows[key][name], own[key][name])
    ]
    return len(pairs), sorted(lines)


def tables(mains: Mapping[Key, Folder], reported: Any) -> tuple[Rows, Rows]:
    """Return the rows of a report or a comparison by their keys, as reported and recomputed."""
    if isinstance(reported, dict):
        kinds = {True: reported["groups"], False: reported["tasks"]}
        rows = {(m, row["task"], row["profile"]): row for m in kinds for row in kinds[m]}
        return rows, compare_rows(mains, reported["one"], reported["other"])
    names = "task", "profile", "reranker", "measure"
    ranked = [row for row in reported if row["reranker"]]
    return {(r["tasks"] > 1, *(r[n] for n in names)): r for r in ranked}, report_rows(mains)


def main() -> int:
    runs, *files = map(Path, sys.argv[1:])
    reported = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    compared, lines = check(read(runs), *reported)
    print("\n".join([*lines, f"{compared} numbers compared, {len(lines)} differ"]))  # noqa: T201
    return 1 if lines or not compared else 0


if __name__ == "__main__":
    sys.exit(main())
