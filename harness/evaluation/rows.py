"""From a run to the rows of a report: what it says by itself."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from ..reranking import checks, invalid, label_probability, total
from ..runs import Variant
from . import orders
from .gains import SAME, binary_values
from .measures import MEASURES, MICRO, RECALL, recall_values
from .queries import bases_of
from .reading import reading
from .row import Row, captured

if TYPE_CHECKING:
    from ..runs import Run
    from .gains import QueryValues
    from .measures import Values

FLOORS = ("identity", "random", "reverse")
"""Methods that are there to be compared with; no gain of theirs is a finding."""

_STAGES = ("first_stage", "natural", "safeguarded", "ceiling", "ceiling_safeguarded")


def run_rows(run: Run, values: QueryValues) -> tuple[list[Row], list[Row]]:
    """Return the rows of a run, one per measure, and those of its profile's recall."""
    shared = {**_profile(run), **_method(run), **_cost(run), **_health(run), **_judged(run, values)}
    shared |= reading(run)
    binary = binary_values(run, values)
    ranked = [_row(run, values, name, shared, binary) for name in MEASURES]
    return ranked, _recall_rows(run, values)


def _row(
    run: Run,
    values: QueryValues,
    measure: str,
    shared: Mapping[str, Any],
    binary: Mapping[str, Values],
) -> Row:
    """Sum a run up under one measure."""
    mean: dict[str, Any] = {n: float(getattr(values, n)[measure].mean()) for n in _STAGES}
    gains = values.gain(measure)
    gain = float(gains.mean())
    row = Row(
        **shared,
        **mean,
        binary={stage: float(own[measure].mean()) for stage, own in binary.items()},
        measure=measure,
        gain=gain,
        gain_safeguarded=mean["safeguarded"] - mean["first_stage"],
        decided=values.decided(measure),
        wins=int((gains > SAME).sum()),
        ties=int((abs(gains) <= SAME).sum()),
        losses=int((gains < -SAME).sum()),
        headroom_captured=captured(gain, mean["ceiling"] - mean["first_stage"]),
        published=_published(run, measure),
        query_gains=gains,
        query_naturals=values.natural[measure],
    )
    return _compared(run, row)


def _compared(run: Run, row: Row) -> Row:
    """Add the first stage's value under the convention of what is published of it, if anything."""
    if row.published is None:
        return row
    return replace(row, as_published=row.under(run.manifest.get("convention") or "", "first_stage"))


def _profile(run: Run) -> dict[str, Any]:
    settings = run.manifest["settings"]
    bases = bases_of(run.results)
    pool, judgements = settings["profile"].get("sha256", ""), _judgements(run)
    query_ids = tuple(result.query_id for result in run.results)
    return {
        "task": settings["task"],
        "profile": settings["profile"]["asked"],
        "resolved": settings["profile"]["resolved"],
        "origin": settings["profile"]["origin"],
        "pool": pool,
        "depth": settings.get("depth"),
        "max_doc_chars": settings.get("max_doc_chars"),
        "judgements": judgements,
        "ground": (pool, query_ids, judgements),
        "queries": len(run.results),
        "safeguards": sum(result.safeguard is not None for result in run.results),
        "query_ids": query_ids,
        "query_bases": bases,
        "clusters": None if bases is None else len(set(bases)),
    }


def _method(run: Run) -> dict[str, Any]:
    settings = run.manifest["settings"]
    variant = Variant.of(settings)
    engine = settings.get("engine") or {}
    return {
        "reranker": settings["reranker"]["label"],
        "floor": settings["reranker"].get("method") in FLOORS,
        "engine": engine.get("name", ""),
        "model": str(engine.get("model", "")),
        "hardware": _hardware(run.manifest),
        "query_failed": frozenset(r.query_id for r in run.results if r.failed is not None),
        "settings": _fingerprint({k: v for k, v in settings.items() if k != "variant"}),
        "order": variant.order,
        "repeat": variant.repeat,
        "alone": variant.alone,
    }


def _judgements(run: Run) -> str:
    """Name the judgements by which a run is measured, where they are not the usual ones."""
    qrels, least = run.manifest["settings"].get("qrels") or "qrels", run.min_grade
    words = [qrels if qrels != "qrels" else "", f"grades from {least}" if least > 1 else ""]
    return ", ".join(word for word in words if word)


def _fingerprint(settings: Mapping[str, Any]) -> str:
    return sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _hardware(manifest: Mapping[str, Any]) -> str:
    """Name what the engine ran on, as far as is known: of a server only where it is."""
    machine = manifest.get("hardware") or {}
    if "servers" in machine:
        places = sorted(machine["servers"])
        return f"server {', '.join(places)}" if places else "a server"
    gpus = machine.get("gpus", 1)
    if "gpu" in machine:
        return f"{machine['gpu']}{f' x {gpus}' if gpus > 1 else ''}"
    return f"{machine.get('processor') or 'processor'}, {machine.get('cores', '?')} cores"


def _cost(run: Run) -> dict[str, Any]:
    spent, queries = total(result.usage for result in run.results), len(run.results)
    each, gpus = spent.seconds / queries, _gpus(run.manifest)
    return {
        "calls_per_query": spent.calls / queries,
        "rounds": spent.rounds / queries,
        "prompt_tokens": spent.prompt_tokens,
        "output_tokens": spent.output_tokens,
        "seconds": spent.seconds,
        "seconds_per_query": None if spent.from_cache else each,
        "gpu_seconds": None if spent.from_cache or not gpus else each * gpus,
        "startup_seconds": run.manifest.get("startup_seconds"),
        "ideal_flops": run.manifest.get("ideal_flops"),
        "from_cache": spent.from_cache,
        "cached_tokens": spent.cached_tokens,
    }


def _gpus(manifest: Mapping[str, Any]) -> int:
    """How many GPUs were at work; 0 where there was none, or a server answered."""
    engine = manifest.get("engine") or {}
    if "gpu" not in (manifest.get("hardware") or {}):
        return 0
    return int(engine.get("data_parallel", 1)) * int(engine.get("tensor_parallel_size", 1))


def _health(run: Run) -> dict[str, Any]:
    counts: Counter[str] = sum((Counter(result.counts) for result in run.results), Counter())
    exact = run.manifest["exact_labels"]
    return {
        "failed": sum(result.failed is not None for result in run.results),
        "counts": dict(counts),
        **{name: counts[name] for name in ("repaired", "unparsable", "truncated")},
        "invalid": invalid(checks(counts, exact_labels=exact)),
        "label_probability": label_probability(counts),
        "tied_at_10": sum(map(orders.top_tied, run.results)) / len(run.results),
    }


def _judged(run: Run, values: QueryValues) -> dict[str, Any]:
    """Judged@10 and queries that could gain; the first only where something was judged and bad."""
    depth = run.manifest["settings"].get("depth")
    pairs = zip(values.pools, values.grades, strict=True)
    open_ = (_is_open(pool[:depth], grades) for pool, grades in pairs)
    found: dict[str, Any] = {"rerankable": sum(open_)}
    if any(grade < run.min_grade for judged in run.qrels.values() for grade in judged.values()):
        final = [orders.natural(r.doc_ids, r.safeguard) for r in run.results]
        found["judged"] = _judged_at_10(run, final)
        found["judged_first_stage"] = _judged_at_10(run, values.pools)
    return found


def _is_open(moving: Sequence[str], grades: Mapping[str, int]) -> bool:
    """Say whether the order of what is reranked can change nDCG at all."""
    return len({grades.get(doc_id, 0) for doc_id in moving}) > 1


def _judged_at_10(run: Run, rankings: Sequence[Sequence[str]]) -> float | None:
    """The mean share of the first ten that was judged, over queries that have candidates."""
    shares = [
        sum(doc_id in run.qrels.get(result.query_id, {}) for doc_id in top[:10]) / len(top[:10])
        for result, top in zip(run.results, rankings, strict=True)
        if top
    ]
    return sum(shares) / len(shares) if shares else None


def _recall_rows(run: Run, values: QueryValues) -> list[Row]:
    known = {MICRO: _published(run, RECALL)}
    found = recall_values(values.first_stage[RECALL], values.positives)
    shared = _profile(run)
    rows = (
        Row(**shared, reranker=None, measure=name, first_stage=value, published=known.get(name))
        for name, value in found.items()
    )
    return [_compared(run, row) for row in rows]


def _published(run: Run, measure: str) -> float | None:
    """What is known of the first stage, unless only a sample of the queries was run."""
    settings = run.manifest["settings"]
    tables: Mapping[str, Mapping[str, float]] = run.manifest.get("published") or {}
    if settings.get("queries") is not None:
        return None
    return tables.get(settings["profile"]["resolved"], {}).get(measure)
