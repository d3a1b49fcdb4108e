"""What a manifest says of each part of a run: the stages of a cascade, the runs that were fused.

A run that is not composed is its own only part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..reranking import checks
from ..reranking import invalid as broken
from ..runs import invalid_parts

Manifest = Mapping[str, Any]


def rerankers(described: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield each reranker that is part of the one that a run's settings describe."""
    if "stages" not in described:
        yield described
        return
    for stage in described["stages"].values():
        yield from rerankers(stage)


def budget(reranker: Mapping[str, Any], most: int | None) -> str:
    """Write the tokens of a document: `128`, `509 with query`, `450, 3000 a window` or `all`.

    most: the limit that all rerankers of a suite have.
    """
    options = reranker.get("options") or {}
    limits = [options.get("max_doc_tokens"), most]
    own = min((limit for limit in limits if limit is not None), default=None)
    pair = reranker.get("pair_tokens", options.get("max_pair_tokens"))
    window = options.get("max_window_tokens")
    words = [] if own is None or own == pair else [str(own)]
    words += [] if pair is None else [f"{pair} with query"]
    words += [] if window is None else [f"{window} a window"]
    return ", ".join(words) or "all"


def hardware(manifest: Manifest) -> str:
    """Name what the engines ran on; of a server only where it is."""
    stages = manifest.get("stages") or ()
    places = [_machine(stage) for stage in stages if stage["calls"]] or [_machine(manifest)]
    return " + ".join(dict.fromkeys(places))


def _machine(part: Manifest) -> str:
    machine = part.get("hardware") or {}
    if "servers" in machine:
        places = sorted(machine["servers"])
        return f"server {', '.join(places)}" if places else "a server"
    number = machine.get("gpus", 1)
    if "gpu" in machine:
        return f"{machine['gpu']}{f' x {number}' if number > 1 else ''}"
    nodes = machine.get("nodes", 1)
    found = f"{machine.get('processor') or 'processor'}, {machine.get('cores', '?')} cores"
    return f"{found} x {nodes}" if nodes > 1 else found


def gpu_seconds(manifest: Manifest, seconds: float) -> float | None:
    """Return engine seconds times the GPUs at work, over all queries.

    None where a part ran on no GPU of its own: the seconds of the others are not its cost.

    seconds: those of the whole run.
    """
    stages = manifest.get("stages") or ({**manifest, "seconds": seconds},)
    at_work = [stage for stage in stages if stage.get("calls", 1)]
    if not at_work or not all(map(_gpus, at_work)):
        return None
    return float(sum(stage["seconds"] * _gpus(stage) for stage in at_work))


def _gpus(part: Manifest) -> int:
    """Return how many GPUs were at work; 0 without any, or where a server answered."""
    machine = part.get("hardware") or {}
    return int(machine.get("gpus", 1)) if "gpu" in machine else 0


def invalid(manifest: Manifest, counts: Mapping[str, int]) -> str | None:
    """Return why a method did not work as it is meant to; None where all did.

    counts: those of the whole run.
    """
    if "stages" not in manifest:
        return broken(checks(counts, exact_labels=manifest["exact_labels"]))
    return invalid_parts(manifest["stages"])
