"""What tables, conclusions and the page say of rows in words, and how they group them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from .text import NOTHING, bounds, count, number, signed

if TYPE_CHECKING:
    from ..evaluation import Comparison, Evaluation

Record = Mapping[str, Any]
"""The values of a row by column; what is missing is None."""

_COUNTED = {
    "repaired": ("answers repaired", "generations"),
    "unparsable": ("answers unusable", "generations"),
    "unfinished": ("answers unfinished", "generations"),
    "thoughts": ("answers with unasked thoughts", "generations"),
    "missing_labels": ("labels missing", "labels"),
    "unpaid_queries": ("queries whose budget paid for nothing", "budgeted_queries"),
    "equal_scores": ("queries with all scores equal", "scored_queries"),
}
"""The words for a count, and the name of the total that it is a part of."""

_TOTALS = {
    "label_calls", "label_tokens", "labels", "generations", "scored_queries", "label_probability",
    "label_probability_calls", "budgeted_queries",
}  # fmt: skip


def display_name(row: Record) -> str:
    """Return a reranker's label, with what a reader must know before its numbers."""
    return f"{row['reranker']}{in_brackets(marks(row))}"


def in_brackets(words: Iterable[str]) -> str:
    """Write marks after a name: ` (first 20, fake engine)`, or nothing where there are none."""
    joined = ", ".join(words)
    return f" ({joined})" if joined else ""


def marks(row: Record) -> list[str]:
    """Return what a reader must know before a row's numbers: how it was cut, what is wrong."""
    words = {
        f"first {row.get('depth')}": row.get("depth") is not None,
        f"{row.get('judgements')}": bool(row.get("judgements")),
        "fake engine": not row["is_real"],
        "invalid": row["invalid"] is not None,
    }
    return [word for word, is_so in words.items() if is_so]


def queries(number: int) -> str:
    """Write a number of queries."""
    return f"{number} {'query' if number == 1 else 'queries'}"


def group_rows(rows: Iterable[Record], *names: str) -> dict[Any, list[Record]]:
    """Return rows by the value of a column, or by the tuple of the values of several."""
    key = itemgetter(*names)
    found: dict[Any, list[Record]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


def by_reranker(
    rows: Iterable[Record], name: Callable[[Record], str] = itemgetter("reranker")
) -> dict[str, list[Record]]:
    """Return the rows of each reranker by its name, the best on average first."""
    found: dict[str, list[Record]] = {}
    for row in rows:
        found.setdefault(name(row), []).append(row)
    return dict(sorted(found.items(), key=lambda item: (-mean(item[1], "gain"), item[0])))


def mean(rows: Sequence[Record], column: str) -> float:
    """Return the mean of a column that has a value in each row."""
    return float(sum(row[column] for row in rows) / len(rows))


def headline(found: Evaluation | Comparison) -> list[Record]:
    """Return the rows of data sets' means, then those of the tasks that are in no data set."""
    in_means = {task for group in found.groups for task in group.tasks}
    return [*found.means.main, *(row for row in found.results.main if row["task"] not in in_means)]


def is_valid_result(row: Record) -> bool:
    """Return whether a row is of a reranker that is to be judged by its numbers."""
    return not row["floor"] and row["is_real"] and row["invalid"] is None


def significant(rows: Sequence[Record]) -> tuple[int, int]:
    """Return how many gains are significant: those above 0, and those below."""
    gains = [row["gain"] for row in rows if row["starred"]]
    return sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)


def sentence(rows: Sequence[Record]) -> str:
    """Say in one sentence what a table of one profile's rerankers shows, given best first."""
    real = [row for row in rows if is_valid_result(row)]
    if not real:
        return "No reranker here is to be compared: only floors, fake engines or invalid runs."
    best = real[0]
    interval = bounds(best["gain_low"], best["gain_high"])
    who = "Best is" if best["gain"] > 0 else "None gained; best is"
    words = f"{who} {display_name(best)} with {signed(best['gain'])} {interval}"
    return f"{words.removesuffix(f' {NOTHING}')}; {significance(real)}"


def significance(rows: Sequence[Record]) -> str:
    """Say how many of the rows' gains were tested, and how many are significant."""
    tested = [row for row in rows if row["family"]]
    if not tested:
        return "no gain was tested: too few queries, or all gains are equal."
    up, down = significant(tested)
    return f"of {len(tested)} tested, {up} gained and {down} lost significantly."


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
    notes += _counts(rows)
    failed = sum(row["failed"] or 0 for row in rows)
    if failed:
        notes.append(f"Failed, so 0 after reranking: {queries(failed)}.")
    return notes


def statistics(rows: Sequence[Record]) -> Iterator[str]:
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


def _seconds(rows: Sequence[Record]) -> Iterator[str]:
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


def _cut(rows: Sequence[Record]) -> Iterator[str]:
    """Say where rerankers saw less of the documents than their own budgets allow."""
    for field, unit in (("max_doc_chars", "characters"), ("max_doc_tokens", "tokens")):
        limits = {row[field] for row in rows} - {None}
        for limit in sorted(limits):
            own = [display_name(row) for row in rows if row[field] == limit]
            who = "all" if len(own) == len(rows) else ", ".join(own)
            yield f"Documents were cut to {limit} {unit} for {who}."


def _counts(rows: Iterable[Record]) -> Iterator[str]:
    """Say what was repaired, cut or missing, by reranker; a cut does not harm a floor."""
    real = [row for row in rows if row["counts"] and not row["floor"]]
    for reranker, own in group_rows(real, "reranker").items():
        sums: Counter[str] = Counter()
        for row in own:
            sums.update(row["counts"])
        words = format_counts(sums)
        if words:
            yield f"{reranker}: {words}."


def format_counts(counts: Mapping[str, int]) -> str:
    """Write `3 of 40 answers repaired` for each count that is not a total of others."""
    words = []
    for name in sorted(counts.keys() - _TOTALS):
        what, total = _COUNTED.get(name, (name.replace("_", " "), ""))
        of = f" of {count(counts[total])}" if counts.get(total) else ""
        words.append(f"{count(counts[name])}{of} {what}")
    return ", ".join(words)
