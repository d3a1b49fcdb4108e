"""Runs in the result files of HAKARI-Bench (https://github.com/hakari-bench/hakari-bench).

    OUT/MODEL/DATA_SET/TASK.json.xz

As there, every positive gains 1, the values are those with the safeguard, and the first 100
documents of each ranking are kept, from which its database computes those without. The database has
a place for rerankers after `reranking_hybrid` alone; the model's name says what else a run is.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import BadData
from ..evaluation import MAIN, RECALL, measure, positives_of
from ..runs import Run, find_all_runs, read_run
from .experiments import experiment_name, experiment_of

HYBRID = "reranking_hybrid"
SCORE = "reranker"
METRIC = MAIN.lower()
DEPTH = 100

_POLICY = "RRF top-100 plus optional safeguard positive at rank 101"


def to_hakari(roots: Sequence[Path], out: Path) -> list[Path]:
    """Write a file for each run.

    Raises BadData where two have one place, also one that is there, or there is no run.
    """
    sources: dict[Path, Path] = {}
    for folder in find_all_runs(roots):
        content = task_file(read_run(folder))
        target = content["target"]
        parts = (content["model"]["id"], target["dataset_id"], f"{target['task_name']}.json.xz")
        file = out.joinpath(*map(_path_part, parts))
        if file in sources:
            raise BadData(f"{sources[file]} and {folder} are the same result; export one")
        if file.exists() and _config_in(file) != content["config"]:
            raise BadData(f"{file} has a run with other settings; use --as, or another folder")
        sources[file] = folder
        file.parent.mkdir(parents=True, exist_ok=True)
        with lzma.open(file, "wt", encoding="utf-8") as stream:
            json.dump(content, stream, ensure_ascii=False, allow_nan=False)
    return list(sources)


def _config_in(file: Path) -> Any:
    try:
        with lzma.open(file, "rt", encoding="utf-8") as stream:
            return json.load(stream)["config"]
    except (EOFError, KeyError, TypeError, ValueError, lzma.LZMAError) as error:
        raise BadData(f"{file} is no file of an export; remove it ({error})") from error


def _path_part(name: str) -> str:
    """Return a name as HAKARI-Bench writes it in a path."""
    found = re.sub(r"[^A-Za-z0-9._-]+", "_", name.strip("/").replace("/", "__"))
    return found.strip("._") or "value"


def task_file(run: Run) -> dict[str, Any]:
    """Return the content of a result file."""
    model, target = _model(run), _target(run)
    created = run.manifest.get("created")
    versions = run.manifest.get("versions") or {}
    content: dict[str, Any] = {
        "generated_at_utc": created,
        "model": model,
        "environment": {
            "package_versions": versions,
            "hardware": run.manifest.get("hardware") or {},
        },
        "target": target,
        "config": _config(run),
    }
    undated = content | {"generated_at_utc": None}
    canonical = json.dumps(undated, ensure_ascii=False, sort_keys=True).encode()
    metrics = _metrics(run, target["task_name"])
    value = metrics[f"{target['task_name']}_{SCORE}_{METRIC}"]
    seconds = run.manifest.get("seconds", 0.0)
    return content | {
        "evaluation": {
            "finished_at_utc": created,
            "evaluated_at_utc": created,
            "duration_seconds_excluding_dataset_load": seconds,
            "aggregate_metric": METRIC,
            "aggregate_metric_value": value,
            "cache_hit": False,
            "timing": {"pure_compute_seconds": seconds},
            "embedding_evaluations": [],
            "rerank_aggregate_metric_value": value,
            "reranking_evaluations": [_reranking(run, value)],
        },
        "metrics": metrics,
        "rerank_metrics": metrics,
        "artifacts": {"top_rankings": _rankings(run, model, target)},
        "experiment_manifest": {
            "schema_version": 2,
            "fingerprint_sha256": hashlib.sha256(canonical).hexdigest(),
        },
    }


def _profile(run: Run) -> str:
    name: str = run.manifest["settings"]["profile"]["resolved"]
    return name


def _model(run: Run) -> dict[str, Any]:
    """Name the reranker, and what sets a run apart from one of all queries after the hybrid."""
    settings = run.manifest["settings"]
    engine = settings.get("engine") or {}
    apart = experiment_of(run)
    if _profile(run) == HYBRID:
        del apart["first_stage"]
    suffix = f"@{experiment_name(apart)}" if apart else ""
    return {
        "method": "reranker",
        "id": f"rerank-bench/{settings['reranker']['label']}{suffix}",
        "source": {"name": engine.get("model"), "revision": engine.get("revision")},
        "dtype": engine.get("dtype"),
        "backend_library": "rerank-bench",
    }


def _target(run: Run) -> dict[str, Any]:
    settings = run.manifest["settings"]
    set_name, _, task = settings["task"].rpartition("/")
    source = settings.get("source") or {}
    return {
        "dataset_name": set_name or task,
        "dataset_id": run.manifest.get("dataset") or set_name or task,
        "dataset_revision": {"requested": None, "resolved": source.get("revision")},
        "split_name": run.manifest.get("split") or task,
        "task_name": task,
        "corpus_config": "corpus",
        "queries_config": "queries",
        "qrels_config": settings.get("qrels", "qrels"),
    }


def _config(run: Run) -> dict[str, Any]:
    settings = run.manifest["settings"]
    return {
        "primary_metric": METRIC,
        "candidate_ranking": _profile(run),
        "rerank_top_k": settings.get("depth"),
        "reranker_init_kwargs": settings["reranker"],
        "reranker_document_max_chars": settings.get("max_doc_chars"),
    }


def _grades(run: Run) -> dict[str, dict[str, int]]:
    """Return the positives of each query, each with gain 1."""
    judged = {result.query_id: run.qrels.get(result.query_id, {}) for result in run.results}
    found = {q: positives_of(own, min_grade=run.min_grade) for q, own in judged.items()}
    return {query_id: dict.fromkeys(own, 1) for query_id, own in found.items()}


def _orders(run: Run) -> dict[str, Sequence[str]]:
    return {r.query_id: r.doc_ids if r.failed is None else () for r in run.results}


def _metrics(run: Run, task: str) -> dict[str, float]:
    values = measure([*_orders(run).values()], [*_grades(run).values()])
    return {
        f"{task}_{SCORE}_acc@{DEPTH}": float((values[RECALL] > 0).mean()),
        f"{task}_{SCORE}_{METRIC}": float(values[MAIN].mean()),
    }


def _reranking(run: Run, value: float) -> dict[str, Any]:
    settings = run.manifest["settings"]
    guards, sizes = _safeguards(run), [len(result.doc_ids) for result in run.results]
    top = max(sizes, default=0)
    found = {
        "name": f"{_profile(run)}_top_{top}",
        "source": "dataset_candidate_subset",
        "status": "available",
        "rerank_top_n": settings.get("depth") or top,
        "aggregate_metric": METRIC,
        "aggregate_metric_value": value,
        "best_score": value,
        "best_distance": SCORE,
        "best_score_name": SCORE,
        "candidate_coverage": _coverage(run, top),
        "candidate_order": {"policy": "first_stage_order", "seed": None},
    }
    return found | {
        "safeguard": {
            "policy": _POLICY,
            "rrf_top_k": DEPTH,
            "safeguard_rank": DEPTH + 1,
            "candidate_count_100": sizes.count(DEPTH),
            "candidate_count_101": sizes.count(DEPTH + 1),
            "safeguard_query_count": len(guards),
            "safeguard_corpus_ids_by_query": guards,
        }
    }


def _safeguards(run: Run) -> dict[str, str]:
    return {r.query_id: r.safeguard for r in run.results if r.safeguard is not None}


def _coverage(run: Run, top: int) -> dict[str, Any]:
    """Count the positives that are candidates, safeguards included."""
    grades = _grades(run)
    covered = [len(set(r.doc_ids) & grades[r.query_id].keys()) for r in run.results]
    queries, known = len(covered), sum(map(len, grades.values()))
    return {
        "top_k": top,
        "query_count": queries,
        "query_with_relevance_count": queries,
        "covered_query_count": sum(map(bool, covered)),
        "query_coverage": sum(map(bool, covered)) / max(queries, 1),
        "relevant_count": known,
        "covered_relevant_count": sum(covered),
        "relevant_coverage": sum(covered) / max(known, 1),
    }


def _rankings(run: Run, model: Mapping[str, Any], target: Mapping[str, Any]) -> dict[str, Any]:
    """Return the judgements, and the first hundred documents of each query."""
    guards = _safeguards(run)
    rows = []
    for query_id, doc_ids in _orders(run).items():
        row: dict[str, Any] = {
            "name": SCORE,
            "ranking_kind": "candidate_rerank",
            "embedding_variant_name": None,
            "distance": SCORE,
            "score_name": SCORE,
            "query_id": query_id,
            "corpus_ids": list(doc_ids[:DEPTH]),
            "safeguard_policy": _POLICY,
        }
        guard = {"safeguard_corpus_id": guards[query_id]} if query_id in guards else {}
        rows.append(row | guard)
    return {
        "schema_version": 2,
        "generated_at_utc": run.manifest.get("created"),
        "top_k": DEPTH,
        "model": model,
        "target": target,
        "qrels": [
            {"query_id": query_id, "relevant_corpus_ids": sorted(own)}
            for query_id, own in sorted(_grades(run).items())
        ],
        "rankings": rows,
    }
