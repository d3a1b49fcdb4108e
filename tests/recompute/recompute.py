"""Recompute the numbers of a report from its run folders, without the package's own code.

    rerank-bench report RUNS --json > report.json
    python tests/recompute/recompute.py RUNS report.json [MORE.json …]

MORE are what `compare ONE OTHER --json` printed of the same runs, and frames of `load_runs(RUNS)`:
an object that holds lists of records by the frames' names, `orders`, `latencies`, `strata` and
`queries`, as pandas' `to_json(orient="records", double_precision=15)` writes each. Prints how many
numbers were compared, and every one that differs; exits 1 if any does, or if a row is missing or
one too many.

Measures are those of ir_measures (pytrec_eval), Student's t and Kendall's tau those of scipy; what
is drawn, and what is tested, follows docs/numbers.md. Covered is every number, star and mark
`invalid` of the report: of tasks, of recall, of the means of data sets, of comparisons, and of the
four frames. Not covered: words (names, hardware, which judgements, why a run is invalid; of a
family its size is compared), the mark `apart`, `price` (it is not in the run folders), published
claims, and what engines measured: tokens, seconds, loading and operations are summed and shared out
here, but taken as they are stored.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from recompute_compare import compare_rows
from recompute_folder import Folder, Key
from recompute_rows import Rows, data_sets, mean_rows, recall_rows, star, task_rows
from recompute_sides import (
    latency_rows,
    order_rows,
    query_rows,
    same_run,
    strata_rows,
)

WORDS = frozenset({
    "task", "profile", "origin", "reranker", "measure", "model", "engine", "hardware", "resolved",
    "judgements", "budget", "instruction",
})  # fmt: skip
NOT_COVERED = frozenset({"apart", "price", "tied_at_10", "label_probability"})


class Read:
    """All runs of a folder, read and recomputed once: those of rerankers, and variants of them."""

    def __init__(self, runs: Path) -> None:
        read = [Folder(file.parent) for file in sorted(runs.rglob("manifest.json"))]
        self.mains: dict[Key, Folder] = {f.key: f for f in read if not f.variant}
        self.variants = [f for f in read if f.variant]

    def repeats(self, key: Key) -> list[Folder]:
        own = [f for f in self.variants if f.key == key and f.variant.get("repeat", 1) > 1]
        return [f for f in own if same_run(f, self.mains[key])]

    @cached_property
    def rows(self) -> Rows:
        repeats = {key: self.repeats(key) for key in self.mains}
        by_key = {key: task_rows(f, repeats[key]) for key, f in self.mains.items()}
        rows: Rows = {
            (False, *key, measure, None): row
            for key, own in by_key.items()
            for measure, row in own.items()
        }
        rows |= mean_rows(self.mains, by_key, repeats)
        star(rows, data_sets(self.mains))
        return rows | recall_rows(list(self.mains.values()))

    @cached_property
    def frames(self) -> dict[str, Rows]:
        mains = self.mains.values()
        return {
            "orders": order_rows(self.mains, self.variants),
            "latencies": latency_rows(self.variants),
            "strata": {key: row for f in mains for key, row in strata_rows(f).items()},
            "queries": {
                (*f.key, query_id): row
                for f in mains
                for query_id, row in zip(f.ids, query_rows(f), strict=True)
            },
        }


class Tally:
    """What was compared so far, and a line for each number that differs."""

    def __init__(self) -> None:
        self.compared = 0
        self.lines: list[str] = []

    def table(self, what: str, told: Mapping[Any, Mapping[str, Any]], own: Rows) -> None:
        """Compare rows by their keys; each is to be in both."""
        for key in told.keys() ^ own.keys():
            where = "is not told" if key in own else "is told, and there is no such row"
            self.lines.append(f"{what}: {_words(key)} {where}")
        for key in told.keys() & own.keys():
            for name, value in own[key].items():
                self._one(f"{what}: {_words(key)} · {name}", name, told[key][name], value)

    def _one(self, where: str, name: str, told: Any, own: Any) -> None:
        if isinstance(own, (list, tuple)):
            if len(told or ()) != len(own):
                self.lines.append(f"{where}: reported {told}, recomputed {own}")
            for place, pair in enumerate(zip(told or (), own, strict=False)):
                self._one(f"{where} {place}", name, *pair)
            return
        self.compared += 1
        if differs(name, told, own):
            self.lines.append(f"{where}: reported {told}, recomputed {own}")


def _words(key: Iterable[Any]) -> str:
    return " · ".join(str(part) for part in key if part not in (None, False, True))


def differs(name: str, told: Any, own: Any) -> bool:
    """Say whether two numbers differ by more than rounding, be a p-value as small as it likes."""
    if name == "family":
        return bool(size_of(told) != own)
    if name == "orders":
        return bool(len(told) != own)
    if name == "invalid":
        return bool(told) is not own
    if isinstance(told, float) and math.isnan(told):
        told = None
    if told is None or own is None or isinstance(own, (bool, str)):
        return bool(told != own)
    least = 0.0 if name in {"p", "p_holm"} else 1e-12
    return not math.isclose(told, own, rel_tol=1e-9, abs_tol=least)


def size_of(family: str) -> int:
    """How many rows a family has, from its name: 'the 12 tasks of …' or '… only one of the …'."""
    number = re.match(r"the (\d+) ", family)
    return int(number[1]) if number else int("only one of" in family)


def by_key(report: Iterable[Mapping[str, Any]], own: Rows) -> dict[Any, Mapping[str, Any]]:
    """Rows of a report by the keys used here; a recall's judgements are told by a word alone."""
    found: dict[Any, Mapping[str, Any]] = {}
    judged = {(*key[:5], _word(*key[5])): key for key in own if key[5] is not None}
    for row in report:
        key = row["tasks"] > 1, row["task"], row["profile"], row["reranker"], row["measure"]
        last = row["judgements"] if row["reranker"] is None else None
        found[judged.get((*key, last), (*key, last))] = row
    return found


def _word(qrels: str, least: int) -> str:
    words = [qrels] if qrels != "qrels" else []
    return ", ".join([*words, f"grades from {least}"] if least > 1 else words)


def check(runs: Path | Read, report: list[dict[str, Any]], *more: Any) -> tuple[int, list[str]]:
    """Return how many numbers were compared, and a line for each that differs."""
    read = runs if isinstance(runs, Read) else Read(runs)
    tally = Tally()
    rows = by_key(report, read.rows)
    tally.table("report", rows, read.rows)
    if len(rows) < len(report):
        tally.lines.append(f"report: {len(report) - len(rows)} rows are told twice")
    for told in more:
        if "one" in told:
            _check_comparison(read, told, tally)
        else:
            _check_frames(read, told, tally)
    return tally.compared, sorted(tally.lines)


def by_place(told: Mapping[str, Any]) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """The rows and the queries of a comparison by the keys used here."""
    rows = {(True, row["task"], row["profile"]): row for row in told["groups"]}
    rows |= {(False, row["task"], row["profile"]): row for row in told["tasks"]}
    return rows, {(row["task"], row["profile"], row["query_id"]): row for row in told["queries"]}


def _check_comparison(read: Read, told: Mapping[str, Any], tally: Tally) -> None:
    own = compare_rows(read.mains, told["one"], told["other"])
    for rows, recomputed in zip(by_place(told), own, strict=True):
        tally.table(f"compare {told['one']} {told['other']}", rows, recomputed)


def by_name(frame: str, records: Iterable[Mapping[str, Any]]) -> dict[Any, Mapping[str, Any]]:
    """Records of a frame by the keys used here."""
    last = {"strata": ("kind", "value"), "queries": ("query_id",)}.get(frame, ())
    return {tuple(row[n] for n in ("task", "profile", "reranker", *last)): row for row in records}


def _check_frames(read: Read, told: Mapping[str, Any], tally: Tally) -> None:
    for name, rows in read.frames.items():
        tally.table(name, by_name(name, told[name]), rows)


def main() -> int:
    runs, *files = map(Path, sys.argv[1:])
    told = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    compared, lines = check(runs, *told)
    print("\n".join([*lines, f"{compared} numbers compared, {len(lines)} differ"]))  # noqa: T201
    return 1 if lines or not compared else 0


if __name__ == "__main__":
    sys.exit(main())
