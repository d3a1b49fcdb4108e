"""Rows of a report: one per task, profile, reranker and measure, from run folders alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadData
from ..mechanism import checks, invalid
from ..runs import read_run
from ..usage import total
from .gains import query_values
from .measures import MEASURES, MICRO, RECALL, recall_values
from .statistics import interval

if TYPE_CHECKING:
    from ..runfiles import Run
    from .gains import QueryValues


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One number of a report with all that stands beside it.

    Measures, `calls_per_query` and `rounds` are means over `queries`; tokens, `seconds` (of the
    engine) and `from_cache` are totals of the run. `gain` = natural - first_stage, with its 95 %
    bootstrap interval; `gain_safeguarded` = safeguarded - first_stage. `safeguards`: queries that
    have one; `decided`: queries whose value it changes. `cached_tokens`: prompt tokens that the
    engine's prefix cache held. `invalid`: why the method did not work as it is meant to, so that
    the numbers mean nothing; None where it did. A row of a profile's recall has no reranker, and
    None wherever a reranker's numbers would stand.
    """

    task: str
    profile: str
    origin: str
    reranker: str | None
    measure: str
    queries: int
    first_stage: float
    natural: float | None = None
    safeguarded: float | None = None
    ceiling: float | None = None
    ceiling_safeguarded: float | None = None
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    gain_safeguarded: float | None = None
    safeguards: int = 0
    decided: int | None = None
    failed: int | None = None
    calls_per_query: float | None = None
    rounds: float | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    seconds: float | None = None
    from_cache: int | None = None
    cached_tokens: int | None = None
    invalid: str | None = None
    # Beside the numbers: how the profile resolved, what answered, what the first stage is known
    # for, and what was counted on the way (repaired, unparsable, truncated, …), over all queries
    resolved: str = ""
    engine: str = ""
    depth: int | None = None
    published: float | None = None
    query_gains: tuple[float, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)


JSON_FIELDS = (
    "task", "profile", "origin", "reranker", "measure", "queries", "first_stage", "natural",
    "safeguarded", "ceiling", "ceiling_safeguarded", "gain", "gain_low", "gain_high",
    "gain_safeguarded", "safeguards", "decided", "failed", "calls_per_query", "rounds",
    "prompt_tokens", "output_tokens", "seconds", "from_cache",
)  # fmt: skip
"""The fields of a row that `report --json` prints, in its order."""


def evaluate_runs(folders: Sequence[Path]) -> list[Row]:
    """Evaluate run folders: rows sorted by task, profile and reranker, a profile's recall first.

    Recall is told once per task and profile, by the run with the most queries. Raises BadData,
    naming the folder, for a run that cannot be read, holds no query, or stands there twice.
    """
    found: dict[tuple[str, str, str], Path] = {}
    rows: list[Row] = []
    recall: dict[tuple[str, str], list[Row]] = {}
    for folder in dict.fromkeys(folder.resolve() for folder in folders):
        ranked, profile = _rows(folder)
        first = found.setdefault(_key(ranked[0]), folder)
        if first != folder:
            raise BadData(f"{first} and {folder} are the same run; report one, or use --as")
        rows += ranked
        known = recall.get(_key(profile[0])[:2])
        if known is None or known[0].queries < profile[0].queries:
            recall[_key(profile[0])[:2]] = profile
    rows += [row for pair in recall.values() for row in pair]
    return sorted(rows, key=_key)


def _key(row: Row) -> tuple[str, str, str]:
    return row.task, row.profile, row.reranker or ""


def _rows(folder: Path) -> tuple[list[Row], list[Row]]:
    """Return the rows of a run and those of its profile."""
    run = read_run(folder)
    if not run.results:
        raise BadData(f"the run {folder} holds no query; remove that folder and run it again")
    try:
        values = query_values(run)
        return [_reranker_row(run, values, name) for name in MEASURES], _recall_rows(run, values)
    except (KeyError, TypeError, AttributeError) as error:
        why = f"its settings are not complete ({error})"
        raise BadData(f"cannot read {folder / 'manifest.json'}: {why}") from error


def _reranker_row(run: Run, values: QueryValues, measure: str) -> Row:
    """Sum a run up under one measure."""
    mean: dict[str, Any] = {n: float(getattr(values, n)[measure].mean()) for n in _STAGES}
    gains = values.gain(measure)
    low, high = interval(run.manifest["settings"]["task"], gains)
    return Row(
        **_profile(run),
        **mean,
        **_cost(run),
        reranker=run.manifest["settings"]["reranker"]["label"],
        measure=measure,
        gain=float(gains.mean()),
        gain_low=low,
        gain_high=high,
        gain_safeguarded=mean["safeguarded"] - mean["first_stage"],
        decided=values.decided(measure),
        failed=sum(result.failed is not None for result in run.results),
        published=_published(run, measure),
        query_gains=tuple(gains.tolist()),
    )


_STAGES = ("first_stage", "natural", "safeguarded", "ceiling", "ceiling_safeguarded")


def _profile(run: Run) -> dict[str, Any]:
    settings = run.manifest["settings"]
    return {
        "task": settings["task"],
        "profile": settings["profile"]["asked"],
        "resolved": settings["profile"]["resolved"],
        "origin": settings["profile"]["origin"],
        "depth": settings.get("depth"),
        "queries": len(run.results),
        "safeguards": sum(result.safeguard is not None for result in run.results),
    }


def _cost(run: Run) -> dict[str, Any]:
    spent, queries = total(result.usage for result in run.results), len(run.results)
    counts: Counter[str] = sum((Counter(result.counts) for result in run.results), Counter())
    engine = run.manifest["settings"].get("engine", {}).get("name", "")
    return {
        "engine": engine,
        "calls_per_query": spent.calls / queries,
        "rounds": spent.rounds / queries,
        "prompt_tokens": spent.prompt_tokens,
        "output_tokens": spent.output_tokens,
        "seconds": spent.seconds,
        "from_cache": spent.from_cache,
        "cached_tokens": spent.cached_tokens,
        "counts": dict(counts),
        "invalid": invalid(checks(counts, engine=engine)),
    }


def _recall_rows(run: Run, values: QueryValues) -> list[Row]:
    known = {MICRO: _published(run, RECALL)}
    found = recall_values(values.first_stage[RECALL], values.positives)
    return [
        Row(
            **_profile(run),
            reranker=None,
            measure=name,
            first_stage=value,
            published=known.get(name),
        )
        for name, value in found.items()
    ]


def _published(run: Run, measure: str) -> float | None:
    """What is known of the first stage, unless only a sample of the queries was run."""
    settings = run.manifest["settings"]
    tables: Mapping[str, Mapping[str, float]] = run.manifest.get("published") or {}
    if settings.get("queries") is not None:
        return None
    return tables.get(settings["profile"]["resolved"], {}).get(measure)
