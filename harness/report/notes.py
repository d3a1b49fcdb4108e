"""The words under a table: what it shows, how sure that is, and what was odd on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ..evaluation import Row
from .text import NOTHING, bounds, count, number, signed

_ANSWERS = {
    "repaired": "answers repaired",
    "unparsable": "answers unusable",
    "unfinished": "answers unfinished",
    "thoughts": "answers with unasked thoughts",
}
_NAMED = {
    **_ANSWERS,
    "missing_labels": "labels missing",
    "equal_scores": "queries with all scores equal",
}
_WHOLES = {
    "label_calls", "label_tokens", "labels", "generations", "scored_queries", "label_probability",
    "label_probability_calls",
}  # fmt: skip
_PARTS = {
    "missing_labels": "labels",
    "equal_scores": "scored_queries",
    **dict.fromkeys(_ANSWERS, "generations"),
}


def named(row: Row) -> str:
    """Return a reranker's label, and what makes its row another than those around it."""
    told = {
        f"first {row.depth}": row.depth is not None,
        row.judgements: bool(row.judgements),
        "not comparable": row.apart,
        "fake engine": row.engine == "fake",
        "invalid": row.invalid is not None,
    }
    words = ", ".join(word for word, is_so in told.items() if is_so)
    return f"{row.reranker} ({words})" if words else f"{row.reranker}"


def _queries(number: int) -> str:
    return f"{number} {'query' if number == 1 else 'queries'}"


def sentence(rows: Sequence[Row]) -> str:
    """Say in one sentence what a table of one profile's rerankers shows, given best first."""
    whole = (row for row in rows if not row.apart and row.invalid is None)
    real = [row for row in whole if not row.floor and row.engine != "fake" and row.gain is not None]
    if not real:
        return "No reranker here that could be compared: only floors, fake engines or invalid runs."
    best = real[0]
    interval = bounds(best.gain_low, best.gain_high)
    who = "Best is" if (best.gain or 0.0) > 0 else "None gained; best is"
    told = f"{who} {named(best)} with {signed(best.gain)} {interval}".removesuffix(f" {NOTHING}")
    tested = [row for row in real if row.family]
    if not tested:
        return f"{told}; no gain was tested: too few queries, or all gains are equal."
    up = sum(row.starred and (row.gain or 0.0) > 0 for row in tested)
    down = sum(row.starred and (row.gain or 0.0) < 0 for row in tested)
    return f"{told}; of {len(tested)} tested, {up} gained and {down} lost beyond chance."


def notes_of(rows: Sequence[Row]) -> list[str]:
    """What is to be known when reading a table of rerankers."""
    notes = [*statistics(rows)]
    notes += apart(rows)
    notes += [*_seconds(rows), *_cut(rows)]
    if any(row.engine == "fake" for row in rows):
        notes.append("Fake engine: answered from word overlap, by no model.")
    if any(row.queries == 1 for row in rows):
        notes.append("A gain over one query has no interval.")
    notes += [
        f"{row.reranker} after {row.profile}: invalid by {row.invalid}."
        for row in rows
        if row.invalid
    ]
    notes += [f"{reranker}: {told}." for reranker, told in _counted(rows).items()]
    failed = sum(row.failed or 0 for row in rows)
    if failed:
        notes.append(f"Failed, so 0 after reranking: {_queries(failed)}.")
    return notes


def statistics(rows: Sequence[Row]) -> Iterable[str]:
    """Say what the stars of a table mean, and what it could have shown."""
    families = dict.fromkeys(row.family for row in rows if row.family)
    if families:
        yield f"*: after Holm over {'; over '.join(families)}."
    seen = [row.detectable for row in rows if row.family and row.detectable]
    if seen:
        least, most = number(min(seen)), number(max(seen))
        between = least if least == most else f"{least} to {most}"
        yield f"Detectable 4 times out of 5, before Holm: a true gain of {between}."
    clusters = {(row.queries, row.clusters) for row in rows if row.clusters}
    for queries, units in sorted(clusters):
        yield f"{queries} queries are versions of {units} questions: each is one cluster."


def apart(rows: Sequence[Row]) -> Iterable[str]:
    """Say what does not compare with the rest of a table, if anything does not."""
    names = dict.fromkeys(f"{r.reranker} ({_queries(r.queries)})" for r in rows if r.apart)
    if names:
        why = "for other queries, pools or judgements than the rest"
        yield f"Not comparable, {why}: {', '.join(names)}."


def _seconds(rows: Sequence[Row]) -> Iterable[str]:
    """Say whose seconds a table tells, and what is not in them."""
    machines = dict.fromkeys(row.hardware for row in rows if row.seconds_per_query)
    if len(machines) > 1:
        yield f"Seconds do not compare: ran on {', and on '.join(machines)}."
    elif any(machines):
        yield f"Seconds on {next(iter(machines))}."
    loaded = [f"{row.reranker} {count(row.startup_seconds)}" for row in rows if row.startup_seconds]
    if loaded:
        yield f"Seconds of loading, which are apart: {', '.join(loaded)}."


def _cut(rows: Sequence[Row]) -> Iterable[str]:
    """Say where rerankers saw less of the documents than their own budgets allow."""
    for field, unit in (("max_doc_chars", "characters"), ("max_doc_tokens", "tokens")):
        limits = {getattr(row, field) for row in rows} - {None}
        for limit in sorted(limits):
            own = [named(row) for row in rows if getattr(row, field) == limit]
            who = "all" if len(own) == len(rows) else ", ".join(own)
            yield f"Documents were cut to {limit} {unit} for {who}."


def _counted(rows: Iterable[Row]) -> dict[str, str]:
    """What was repaired, cut or missing, by reranker."""
    sums: dict[str, Counter[str]] = {}
    for row in rows:
        if row.counts and not row.floor:  # what reads no text is not harmed by a cut
            sums.setdefault(row.reranker or "", Counter()).update(row.counts)
    told = {reranker: _told(counts) for reranker, counts in sums.items()}
    return {reranker: words for reranker, words in told.items() if words}


def _told(counts: Mapping[str, int]) -> str:
    """`3 of 40 answers repaired`, for all that is worth knowing, as wholes alone are not."""
    words = []
    for name, found in sorted(counts.items()):
        if name not in _WHOLES:
            whole = counts.get(_PARTS.get(name, ""))
            of = f" of {count(whole)}" if whole else ""
            words.append(f"{count(found)}{of} {_NAMED.get(name, name.replace('_', ' '))}")
    return ", ".join(words)
