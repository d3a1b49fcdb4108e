"""Runs that are made of several: the stages of a cascade, and runs that are fused.

Their settings hold those of each part, and their manifest holds what each part cost and counted,
so that a report can check every part by its own engine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from typing import TYPE_CHECKING, Any

from ..reranking import Check, checks, invalid, total
from .manifest import to_json_values
from .results import Run

if TYPE_CHECKING:
    from .results import QueryResult

CASCADE, FUSION = "cascade", "fusion"
"""The methods of composed runs, as their settings name them."""


def after_stage(earlier: QueryResult, own: QueryResult) -> QueryResult:
    """Return the result of a cascade: what a stage ranked, then the rest as `earlier` left it.

    `own` is what the stage did by itself. The costs and counts of both are added. A query that
    failed in a stage has failed, and keeps first-stage order.
    """
    if earlier.failed is not None:
        return earlier
    spent: dict[str, Any] = {
        "usage": earlier.usage + own.usage,
        "counts": dict(Counter(earlier.counts) + Counter(own.counts)),
    }
    pairs = zip(own.doc_ids, own.scores, strict=True)
    ranked = {doc_id: score for doc_id, score in pairs if score is not None}
    if own.failed is not None:
        return own.ranked(own.doc_ids, own.scores, **spent)
    doc_ids = [*ranked, *(doc_id for doc_id in earlier.doc_ids if doc_id not in ranked)]
    return own.ranked(doc_ids, [ranked.get(doc_id) for doc_id in doc_ids], **spent)


def run_after(earlier: Run, own: Run, settings: Mapping[str, Any]) -> Run:
    """Return the run of a cascade with `settings`: `own` is what its last stage did by itself."""
    before = {result.query_id: result for result in earlier.results}
    results = tuple(after_stage(before[result.query_id], result) for result in own.results)
    parts = [*costs_of(earlier), *costs_of(own)]
    return Run(composed_manifest(own.manifest, settings, parts), results, own.qrels)


def cascade_settings(
    own: Mapping[str, Any], earlier: Mapping[str, Any], *, label: str, depth: int
) -> dict[str, Any]:
    """Return the settings of a cascade from those of its last stage and of what is before it.

    depth: how many documents the last stage is given.
    """
    last = {**own["reranker"], "engine": own["engine"], "at": depth}
    parts = [*parts_of(earlier), last]
    return composed_settings(own, label, CASCADE, {}, parts)


def parts_of(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the parts of a run by its settings: of one that is not composed, the run itself."""
    reranker = settings["reranker"]
    if "stages" in reranker:
        return list(reranker["stages"].values())
    return [{**reranker, "engine": settings["engine"]}]


def composed_settings(
    base: Mapping[str, Any],
    label: str,
    method: str,
    options: Mapping[str, Any],
    parts: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return `base` with the reranker that `parts` make up.

    parts: the `reranker` of each part's settings, with its `engine`, in order.
    """
    reranker = {
        "label": label,
        "method": method,
        "options": options,
        "code": f"rerank-bench {metadata.version('rerank-bench')}",
        "asks": sorted({kind for part in parts for kind in part["asks"]}),
        "prompt": None,
        "instruction": None,
        "stages": {str(number): part for number, part in enumerate(parts, start=1)},
    }
    names = [part["engine"]["name"] for part in parts if part["asks"]]
    models = [part["engine"]["model"] for part in parts if "model" in part["engine"]]
    engine = {"name": _joined(names) or "none", **({"model": _joined(models)} if models else {})}
    return to_json_values({**base, "reranker": reranker, "engine": engine})


def _joined(names: Sequence[str]) -> str:
    return " + ".join(dict.fromkeys(names))


def costs_of(run: Run) -> list[dict[str, Any]]:
    """Return what each part of a run cost and counted; of a run that is not composed, all of it.

    documents: how many were given to a model.
    """
    made = run.manifest
    if "stages" in made:
        return list(made["stages"])
    usage = total(result.usage for result in run.results)
    given = sum(score is not None for result in run.results for score in result.scores)
    counts: Counter[str] = sum((Counter(result.counts) for result in run.results), Counter())
    return [
        {
            "label": made["settings"]["reranker"]["label"],
            **asdict(usage),
            "counts": dict(counts),
            "documents": given if usage.calls else 0,
            **{name: made[name] for name in ("exact_labels", "is_real")},
            **{name: made.get(name) or {} for name in ("hardware", "engine")},
            "ideal_flops": made.get("ideal_flops") if usage.calls else 0.0,
        }
    ]


def invalid_parts(parts: Sequence[Mapping[str, Any]]) -> str | None:
    """Return which parts of a composed run did not work as meant, and why; None where all did.

    A stage that several fused cascades begin with is named once.
    """
    broken = [f"{label}: {why}" for label, own in _checks(parts) if (why := invalid(own))]
    return "; ".join(dict.fromkeys(broken)) or None


def _checks(parts: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[Check]]]:
    """Yield the label of each part and the checks of what it counted."""
    for part in parts:
        yield part["label"], checks(part["counts"], exact_labels=part["exact_labels"])


def composed_manifest(
    base: Mapping[str, Any], settings: Mapping[str, Any], parts: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the manifest of a composed run: `base` with the costs and the checks of its `parts`.

    base: the manifest of the last part, or one with what all parts share.
    """
    flops = [part["ideal_flops"] for part in parts]
    last = next((part for part in reversed(parts) if part["calls"]), parts[-1])
    composed = {
        "settings": settings,
        "mechanism": [
            {**asdict(check), "name": f"{label}: {check.name}"}
            for label, own in _checks(parts)
            for check in own
        ],
        "invalid": invalid_parts(parts),
        "seconds": sum(part["seconds"] for part in parts),
        "ideal_flops": None if None in flops else sum(flops) or None,
        "engine": {},
        "hardware": last["hardware"],
        "is_real": all(part["is_real"] for part in parts),
        "exact_labels": all(part["exact_labels"] for part in parts),
        "stages": parts,
    }
    return to_json_values({**base, **composed})
