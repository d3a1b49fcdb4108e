"""How much of the texts a reranker read, and by which instruction: from a run alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import orders

if TYPE_CHECKING:
    from ..runs import Run


def reading(run: Run) -> dict[str, Any]:
    """Return the fields of a row that say what of its texts a run's reranker was given."""
    settings = run.manifest["settings"]
    documents = _documents(run, settings.get("depth"))
    truncated = sum(result.counts.get("truncated", 0) for result in run.results)
    reads = bool(settings["reranker"].get("asks"))
    return {
        "budget": _budget(settings) if reads else None,
        "max_doc_tokens": settings.get("max_doc_tokens"),
        "documents": documents,
        "cut": truncated / documents if reads and documents else None,
        "instruction": _instruction(settings["reranker"]),
    }


def _documents(run: Run, depth: int | None) -> int:
    """How many documents were given, over all queries."""
    pools = ((orders.first_stage(result)[:depth], result.safeguard) for result in run.results)
    return sum(len(pool) + (safeguard is not None) for pool, safeguard in pools)


def _budget(settings: Mapping[str, Any]) -> str:
    """Write the tokens of a document: `128`, `509 with query`, `450, 3000 a window` or `all`."""
    options = settings["reranker"].get("options") or {}
    limits = [options.get("max_doc_tokens"), settings.get("max_doc_tokens")]
    own = min((limit for limit in limits if limit is not None), default=None)
    pair, window = options.get("max_pair_tokens"), options.get("max_window_tokens")
    told = [] if own is None or own == pair else [str(own)]
    told += [] if pair is None else [f"{pair} with query"]
    told += [] if window is None else [f"{window} a window"]
    return ", ".join(told) or "all"


def _instruction(reranker: Mapping[str, Any]) -> str | None:
    """Name whose instruction it was; None for a run that did not record it."""
    if "instruction" not in reranker:
        return None
    return str((reranker["instruction"] or {}).get("source", "none"))
