"""The rows of `report --json` for recompute.py: tasks, recall, means over data sets, families."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from recompute_draws import NO_TEST, Units, adjust, of_mean, of_task
from recompute_folder import FLOORS, MAIN, MEASURES, RECALL, STAGES, Folder, Key

Row = dict[str, Any]
Rows = dict[tuple[Any, ...], Row]

SAME, LEAST_HEADROOM, MOST_FAILED, MOST_REPAIRED = 1e-9, 0.01, 0.05, 0.20
UNSTARRED: Row = {**NO_TEST, "p_holm": None, "starred": False, "family": 0}
SUMS = (
    "queries", "safeguards", "decided", "failed", "prompt_tokens", "output_tokens", "seconds",
    "from_cache", "cached_tokens", "wins", "ties", "losses", "rerankable", "repaired",
    "unparsable", "truncated", "startup_seconds", "documents",
)  # fmt: skip
MEANS = (
    *STAGES, "gain", "gain_safeguarded", "judged", "judged_first_stage", "published",
    "as_published",
)  # fmt: skip
FIXED = ("floor", "depth", "max_doc_chars", "max_doc_tokens")
PER_QUERY = ("calls_per_query", "rounds", "ideal_flops")
PER_MACHINE = ("seconds_per_query", "gpu_seconds")


def is_invalid(folder: Folder) -> bool:
    """Say whether the method did something else than it is meant to: docs/numbers.md."""
    counted = {name: folder.total(f"counts.{name}") for name in (
        "label_calls", "label_tokens", "missing_labels", "generations", "repaired", "unparsable",
    )}  # fmt: skip
    wrote_more = counted["label_tokens"] != counted["label_calls"]
    lost = counted["missing_labels"] > 0 and folder.engine.get("name") != "http"
    mended = counted["repaired"] + counted["unparsable"]
    labels, written = counted["label_calls"] > 0, counted["generations"] > 0
    return (labels and (wrote_more or lost)) or (
        written and mended > MOST_REPAIRED * counted["generations"]
    )


def is_sound(folder: Folder) -> bool:
    """Say whether a run is of a real reranker, and is valid."""
    real = folder.method not in FLOORS and folder.engine.get("name") != "fake"
    return real and not is_invalid(folder)


def is_tested(folder: Folder) -> bool:
    return is_sound(folder) and len(folder.failed) <= MOST_FAILED * len(folder.ids)


def method_of(folder: Folder) -> tuple[Any, ...]:
    """What is the same in all tasks of a mean: the model, and how much of what was reranked."""
    cut = folder.settings.get("max_doc_chars"), folder.settings.get("max_doc_tokens")
    options = folder.settings["reranker"].get("options") or {}
    return str(folder.engine.get("model", "")), folder.depth, cut, _budgets(options)


def task_rows(folder: Folder, repeats: Sequence[Folder]) -> dict[str, Row]:
    """Return everything that is told of one run, by measure; `repeats` are of the same run."""
    shared = _shared(folder)
    return {name: shared | _of_measure(folder, name, repeats) for name in MEASURES}


def _of_measure(folder: Folder, name: str, repeats: Sequence[Folder]) -> Row:
    means = {stage: float(folder.values[stage][name].mean()) for stage in STAGES}
    gains, bases = folder.gains(name), folder.bases()
    moved = folder.values["safeguarded"][name] - folder.values["natural"][name]
    gain, headroom = float(gains.mean()), means["ceiling"] - means["first_stage"]
    units = Units.of(folder.key[0], gains, bases)
    drawn = of_task(units, tested=name == MAIN and is_tested(folder))
    repeated = [float(one.values["natural"][name].mean()) for one in (folder, *repeats)]
    return {
        **means,
        **UNSTARRED,
        **drawn,
        "detectable": drawn["detectable"] if name == MAIN else None,
        "gain": gain,
        "gain_safeguarded": means["safeguarded"] - means["first_stage"],
        "decided": int((abs(moved) > SAME).sum()),
        **outcomes(gains),
        "headroom_captured": gain / headroom if headroom >= LEAST_HEADROOM else None,
        "noise": max(repeated) - min(repeated) if repeats else None,
        "repeats": len(repeated),
        "published": published(folder, name),
        "as_published": as_published(folder, name),
    }


def outcomes(gains: np.ndarray) -> Row:
    return {
        "wins": int((gains > SAME).sum()),
        "ties": int((abs(gains) <= SAME).sum()),
        "losses": int((gains < -SAME).sum()),
    }


def _shared(folder: Folder) -> Row:
    queries, total = len(folder.ids), folder.total
    seconds, cold = total("seconds") / queries, total("from_cache") == 0
    gpus = _gpus(folder)
    return {
        **profile(folder),
        "failed": len(folder.failed),
        "calls_per_query": total("calls") / queries,
        "rounds": total("rounds") / queries,
        **{n: total(n) for n in ("prompt_tokens", "output_tokens", "cached_tokens", "from_cache")},
        "seconds": total("seconds"),
        "seconds_per_query": seconds if cold else None,
        "gpu_seconds": seconds * gpus if cold and gpus else None,
        "startup_seconds": folder.manifest.get("startup_seconds"),
        "ideal_flops": folder.manifest.get("ideal_flops"),
        **{name: total(f"counts.{name}") for name in ("repaired", "unparsable", "truncated")},
        "invalid": is_invalid(folder),
        "rerankable": sum(_can_move(folder, query_id) for query_id in folder.ids),
        **_judged(folder),
        "floor": folder.method in FLOORS,
        "depth": folder.depth,
        "max_doc_chars": folder.settings.get("max_doc_chars"),
        "tasks": 1,
        **_read(folder),
    }


BUDGETS = ("max_doc_tokens", "max_pair_tokens", "max_window_tokens")


def _budgets(options: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(options.get(name) for name in BUDGETS)


def _read(folder: Folder) -> Row:
    """How much of how many documents the reranker was given; floors read none."""
    given = sum(len(folder.moving(query_id, guarded=True)[0]) for query_id in folder.ids)
    reads = bool(folder.settings["reranker"].get("asks"))
    return {
        "max_doc_tokens": folder.settings.get("max_doc_tokens"),
        "documents": given,
        "cut": folder.total("counts.truncated") / given if reads else None,
    }


def profile(folder: Folder) -> Row:
    """What is told of queries and pools alone."""
    questions = len(set(folder.bases()))
    return {
        "queries": len(folder.ids),
        "safeguards": sum(folder.guard(query_id) is not None for query_id in folder.ids),
        "clusters": questions if questions < len(folder.ids) else None,
    }


def _gpus(folder: Folder) -> int:
    if folder.engine.get("name") == "http" or "gpu" not in (folder.manifest.get("hardware") or {}):
        return 0
    told = folder.manifest.get("engine") or {}
    return int(told.get("data_parallel", 1)) * int(told.get("tensor_parallel_size", 1))


def _can_move(folder: Folder, query_id: str) -> bool:
    grades = folder.grades(query_id)
    return len({grades.get(doc, 0) for doc in folder.moving(query_id)[0]}) > 1


def _judged(folder: Folder) -> Row:
    """Judged@10 over the queries that have candidates; told where a judgement is no positive."""
    if not any(g < folder.least for judged in folder.judged.values() for g in judged.values()):
        return {"judged": None, "judged_first_stage": None}
    shares: dict[str, list[float]] = {"judged": [], "judged_first_stage": []}
    for query_id in folder.ids:
        for name, ranking in zip(
            shares, (folder.final(query_id), folder.pool(query_id)), strict=True
        ):
            known = [doc in folder.judged[query_id] for doc in ranking[:10]]
            shares[name] += [sum(known) / len(known)] if known else []
    return {name: sum(own) / len(own) if own else None for name, own in shares.items()}


def published(folder: Folder, name: str) -> float | None:
    if folder.settings.get("queries") is not None:
        return None
    tables = folder.manifest.get("published") or {}
    found: float | None = tables.get(folder.settings["profile"]["resolved"], {}).get(name)
    return found


def as_published(folder: Folder, name: str) -> float | None:
    """The first stage under the published figure's convention, if that is of equal gains."""
    if published(folder, name) is None:
        return None
    if name == "nDCG@10" and folder.manifest.get("convention") == "binary":
        found = [equal_gain(folder.pool(q), folder.grades(q)) for q in folder.ids]
        return sum(found) / len(found)
    return float(folder.values["first_stage"][name].mean())


def equal_gain(ranking: Sequence[str], grades: Mapping[str, int]) -> float:
    positive = {doc for doc, grade in grades.items() if grade > 0}
    discounts = [1 / math.log2(rank + 2) for rank in range(10)]
    gained = sum(d for d, doc in zip(discounts, ranking, strict=False) if doc in positive)
    return gained / sum(discounts[: len(positive)]) if positive else 0.0


def recall_rows(folders: Sequence[Folder]) -> Rows:
    """Recall of each first stage, by the run with the most queries."""
    most: dict[tuple[Any, ...], Folder] = {}
    for folder in folders:
        known = most.get(where := (folder.key[0], folder.key[1], folder.judgements))
        if known is None or len(known.ids) < len(folder.ids):
            most[where] = folder
    rows: Rows = {}
    for (task, asked, judgements), folder in most.items():
        share = folder.values["first_stage"][RECALL]
        there = np.array([sum(g > 0 for g in folder.grades(q).values()) for q in folder.ids])
        micro = float(share @ there) / max(int(there.sum()), 1)
        own = profile(folder) | {"starred": False}
        key = False, task, asked, None
        told = published(folder, RECALL)
        rows[*key, f"{RECALL} micro", judgements] = own | {
            "first_stage": micro,
            "published": told,
            "as_published": None if told is None else micro,
        }
        rows[*key, f"{RECALL} macro", judgements] = own | {
            "first_stage": float(share.mean()),
            "published": None,
            "as_published": None,
        }
    return rows


def mean_rows(
    folders: Mapping[Key, Folder], rows: Mapping[Key, dict[str, Row]], repeats: Mapping[Key, Any]
) -> Rows:
    """The means of data sets of several tasks, of who ran on all of them as one method."""
    found: Rows = {}
    for name, tasks in data_sets(folders).items():
        for asked, label in {key[1:] for key in folders if key[0] in tasks}:
            keys = [(task, asked, label) for task in tasks if (task, asked, label) in folders]
            own = [folders[key] for key in keys]
            same = len(set(map(method_of, own))) == 1
            if len(tasks) > 1 and len(own) == len(tasks) and same:
                for measure in MEASURES:
                    parts = [rows[key][measure] for key in keys]
                    again = [repeats[key] for key in keys]
                    found[True, name, asked, label, measure, None] = _mean(
                        own, parts, again, measure
                    )
    return found


def data_sets(folders: Mapping[Key, Folder]) -> dict[str, list[str]]:
    tasks = defaultdict(set)
    for folder in folders.values():
        tasks[folder.data_set].add(folder.key[0])
    return {name: sorted(own) for name, own in tasks.items()}


def _mean(own: list[Folder], parts: list[Row], again: list[list[Folder]], measure: str) -> Row:
    plain, queries = [1.0] * len(own), [float(row["queries"]) for row in parts]
    mean = {name: weighted(parts, name, plain) for name in MEANS}
    headroom = mean["ceiling"] - mean["first_stage"]
    units = [Units.of(f.key[0], f.gains(measure), f.bases()) for f in own]
    drawn = of_mean(units, tested=measure == MAIN and all(map(is_tested, own)))
    read = all(row["cut"] is not None for row in parts)
    several = any(row["clusters"] is not None for row in parts)
    alike = len({str(_machine(folder)) for folder in own}) == 1
    return {
        **mean,
        **UNSTARRED,
        **drawn,
        "detectable": drawn["detectable"] if measure == MAIN else None,
        **{name: summed(parts, name) for name in SUMS},
        **{name: weighted(parts, name, queries) for name in PER_QUERY},
        **{name: weighted(parts, name, queries) if alike else None for name in PER_MACHINE},
        "headroom_captured": mean["gain"] / headroom if headroom >= LEAST_HEADROOM else None,
        "clusters": sum(len(one.sums) for one in units) if several else None,
        **_mean_noise(own, again, measure),
        "invalid": any(row["invalid"] for row in parts),
        **{name: parts[0][name] for name in FIXED},
        "cut": summed(parts, "truncated") / summed(parts, "documents") if read else None,
        "tasks": len(own),
    }


def _mean_noise(own: list[Folder], again: list[list[Folder]], measure: str) -> Row:
    """How far the means lie apart, repeat by repeat, of as many as every task has."""
    runs = [[folder, *others] for folder, others in zip(own, again, strict=True)]
    repeated = [
        sum(float(one.values["natural"][measure].mean()) for one in ones) / len(own)
        for ones in zip(*runs, strict=False)
    ]
    noise = max(repeated) - min(repeated) if len(repeated) > 1 else None
    return {"noise": noise, "repeats": len(repeated)}


def _machine(folder: Folder) -> Any:
    """What a run's seconds were spent on; of servers only where they are."""
    told = folder.manifest.get("hardware") or {}
    if folder.engine.get("name") == "http":
        return sorted(folder.manifest.get("engine") or {})
    if "gpu" in told:
        return told["gpu"], told.get("gpus", 1)
    return told.get("processor"), told.get("cores")


def weighted(rows: Sequence[Row], name: str, weights: Sequence[float]) -> Any:
    values = [row[name] for row in rows]
    if any(value is None for value in values):
        return None
    return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)


def summed(rows: Sequence[Row], name: str) -> Any:
    values = [row[name] for row in rows]
    return None if any(value is None for value in values) else sum(values)


def star(rows: Rows, tasks: Mapping[str, Sequence[str]]) -> None:
    """Adjust by Holm: the means of a data set (or its only task) together, tasks by column."""
    families = defaultdict(list)
    for (is_mean, task, asked, label, *_), row in rows.items():
        if row.get("p") is not None:
            name = task if is_mean else task.rpartition("/")[0] or task
            alone = is_mean or len(tasks[name]) == 1
            families[(name,) if alone else (name, asked, label)].append(row)
    adjust(families.values())
