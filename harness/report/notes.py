"""The sentences above and below a table of rerankers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .text import NOTHING, bounds, count, number, signed

Record = Mapping[str, Any]
"""The values of a row by column; what is missing is None."""

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


def named(row: Record) -> str:
    """Return a reranker's label, with what a reader must know before its numbers."""
    words = {
        f"first {row.get('depth')}": row.get("depth") is not None,
        f"{row.get('judgements')}": bool(row.get("judgements")),
        "fake engine": not row["is_real"],
        "invalid": row["invalid"] is not None,
    }
    marks = ", ".join(word for word, is_so in words.items() if is_so)
    return f"{row['reranker']} ({marks})" if marks else str(row["reranker"])


def queries(number: int) -> str:
    """Write a number of queries."""
    return f"{number} {'query' if number == 1 else 'queries'}"


def is_real(row: Record) -> bool:
    """Return whether a row is of a reranker that is to be judged by its numbers."""
    return not row["floor"] and row["is_real"] and row["invalid"] is None


def significant(rows: Sequence[Record]) -> tuple[int, int]:
    """Return how many gains are significant: those above 0, and those below."""
    gains = [row["gain"] for row in rows if row["starred"]]
    return sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)


def sentence(rows: Sequence[Record]) -> str:
    """Say in one sentence what a table of one profile's rerankers shows, given best first."""
    real = [row for row in rows if is_real(row)]
    if not real:
        return "No reranker here is to be compared: only floors, fake engines or invalid runs."
    best = real[0]
    interval = bounds(best["gain_low"], best["gain_high"])
    who = "Best is" if best["gain"] > 0 else "None gained; best is"
    words = f"{who} {named(best)} with {signed(best['gain'])} {interval}"
    words = words.removesuffix(f" {NOTHING}")
    tested = [row for row in real if row["family"]]
    if not tested:
        return f"{words}; no gain was tested: too few queries, or all gains are equal."
    up, down = significant(tested)
    return f"{words}; of {len(tested)} tested, {up} gained and {down} lost significantly."


def notes_of(rows: Sequence[Record]) -> list[str]:
    """Return what a reader of a table of rerankers must know."""
    notes = [*statistics(rows), *_seconds(rows), *_cut(rows)]
    if any(not row["is_real"] for row in rows):
        notes.append("Fake engine: answered from word overlap, by no model.")
    if any(row["queries"] == 1 for row in rows):
        notes.append("A gain over one query has no interval.")
    notes += [
        f"{row['reranker']} after {row['profile']}: invalid by {row['invalid']}."
        for row in rows
        if row["invalid"]
    ]
    notes += [f"{reranker}: {words}." for reranker, words in _counted(rows).items()]
    failed = sum(row["failed"] or 0 for row in rows)
    if failed:
        notes.append(f"Failed, so 0 after reranking: {queries(failed)}.")
    return notes


def statistics(rows: Sequence[Record]) -> Iterable[str]:
    """Say what the stars of a table mean, and which gains it could have shown."""
    families = dict.fromkeys(row["family"] for row in rows if row["family"])
    if families:
        yield f"*: after Holm over {'; over '.join(families)}."
    seen = [row["detectable"] for row in rows if row["family"] and row["detectable"]]
    if seen:
        least, most = number(min(seen)), number(max(seen))
        between = least if least == most else f"{least} to {most}"
        yield f"Detectable 4 times out of 5, before Holm: a true gain of {between}."
    clusters = {(row["queries"], row["clusters"]) for row in rows if row["clusters"]}
    for number_, units in sorted(clusters):
        yield f"{number_} queries are versions of {units} questions: each is one cluster."


def _seconds(rows: Sequence[Record]) -> Iterable[str]:
    """Say on which hardware a table's seconds were spent, and what is not in them."""
    machines = dict.fromkeys(row["hardware"] for row in rows if row["seconds_per_query"])
    if len(machines) > 1:
        yield f"Seconds do not compare: ran on {', and on '.join(machines)}."
    elif any(machines):
        yield f"Seconds on {next(iter(machines))}."
    loaded = [
        f"{row['reranker']} {count(row['startup_seconds'])}"
        for row in rows
        if row["startup_seconds"]
    ]
    if loaded:
        yield f"Seconds of loading, not included: {', '.join(loaded)}."


def _cut(rows: Sequence[Record]) -> Iterable[str]:
    """Say where rerankers saw less of the documents than their own budgets allow."""
    for field, unit in (("max_doc_chars", "characters"), ("max_doc_tokens", "tokens")):
        limits = {row[field] for row in rows} - {None}
        for limit in sorted(limits):
            own = [named(row) for row in rows if row[field] == limit]
            who = "all" if len(own) == len(rows) else ", ".join(own)
            yield f"Documents were cut to {limit} {unit} for {who}."


def _counted(rows: Iterable[Record]) -> dict[str, str]:
    """Return what was repaired, cut or missing, by reranker."""
    sums: dict[str, Counter[str]] = {}
    for row in rows:
        if row["counts"] and not row["floor"]:  # what reads no text is not harmed by a cut
            sums.setdefault(row["reranker"], Counter()).update(row["counts"])
    words = {reranker: counted(counts) for reranker, counts in sums.items()}
    return {reranker: own for reranker, own in words.items() if own}


def counted(counts: Mapping[str, int]) -> str:
    """Write `3 of 40 answers repaired` for each count that is not a whole of others."""
    words = []
    for name, found in sorted(counts.items()):
        if name not in _WHOLES:
            whole = counts.get(_PARTS.get(name, ""))
            of = f" of {count(whole)}" if whole else ""
            words.append(f"{count(found)}{of} {_NAMED.get(name, name.replace('_', ' '))}")
    return ", ".join(words)
