"""Tables of gains for a paper: LaTeX with booktabs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from ..evaluation import MEASURES, Evaluation, Row
from .notes import apart, named
from .text import NOTHING, bounds, number, plain, signed

MAIN = MEASURES[0]
_SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    **{character: "\\" + character for character in "&%$#_{}"},
    **{character: f"{{{character}}}" for character in "[]*"},  # no option of the \\ before them
    NOTHING: "--",
}  # fmt: skip
_SPECIALS = re.compile("|".join(map(re.escape, _SPECIAL)))
_HEAD = "% Needs \\usepackage{booktabs}, and \\usepackage[T1]{fontenc} for some characters.\n\n"


def to_latex(found: Evaluation) -> str:
    """Return a table for each data set's means, then one for each task: gains in nDCG@10.

    A line for each reranker, best first, and a column for each profile. The caption says over what
    a star was corrected.
    """
    means = [(f"{g.name}, mean of {len(g.tasks)} tasks", g.rows) for g in found.groups]
    by_task = groupby(sorted(found.rows, key=lambda row: row.task), key=lambda row: row.task)
    parts = [*means, *((task, tuple(rows)) for task, rows in by_task)]
    tables = [_table(title, [r for r in rows if r.measure == MAIN]) for title, rows in parts]
    return _HEAD + "\n".join(table for table in tables if table)


def tex(text: str) -> str:
    """Return `text` as LaTeX that shows just it, on one line."""
    return _SPECIALS.sub(lambda found: _SPECIAL[found[0]], plain(text))


def _table(title: str, rows: Sequence[Row]) -> str:
    """One table; nothing where no reranker ran."""
    if not rows:
        return ""
    profiles = sorted({row.profile for row in rows})
    lines = [
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{' '.join(_caption(title, rows))}}}",
        f"\\begin{{tabular}}{{l{'l' * len(profiles)}}}",
        "\\toprule",
        _line(["reranker", *map(tex, profiles)]),
        "\\midrule",
        *(_line([tex(name), *cells]) for name, cells in _cells(rows, profiles)),
        "\\bottomrule",
        "\\end{tabular}",
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _cells(rows: Sequence[Row], profiles: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Each reranker's name and its gain after each profile, the best on average first."""
    by_name: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_name.setdefault(named(row), {})[row.profile] = row
    for name, own in sorted(by_name.items(), key=lambda item: (-_mean(item[1]), item[0])):
        yield name, [_gain(own[p]) if p in own else "--" for p in profiles]


def _mean(own: dict[str, Row]) -> float:
    return sum(row.gain or 0.0 for row in own.values()) / len(own)


def _gain(row: Row) -> str:
    star = "^{*}" if row.starred else ""
    interval = bounds(row.gain_low, row.gain_high)
    told = "--" if interval == NOTHING else f"${interval}$"
    return f"${signed(row.gain)}{star}$ {{\\footnotesize {told}}}"


def _caption(title: str, rows: Sequence[Row]) -> Iterator[str]:
    most = max(row.queries for row in rows)
    before = {row.profile: row.first_stage for row in rows if not row.apart}
    told = "; ".join(f"{tex(name)} ${number(value)}$" for name, value in sorted(before.items()))
    yield f"{tex(title)}, {most} queries: gain in {MAIN} over each first stage (reranked minus"
    yield "first stage, without appended positives), with its 95\\,\\% confidence interval"
    yield "(Student's $t$)."
    yield f"First stages alone: {told}."
    families = dict.fromkeys(row.family for row in rows if row.family)
    if families:
        yield "$^{*}$: $p \\le 0.05$ in a paired $t$-test, after Holm over"
        yield f"{'; over '.join(map(tex, families))}."
    else:
        yield "No gain was tested: too few queries, equal gains, or nothing but floors."
    yield from map(tex, apart(rows))
    for row in rows:
        if row.failed:
            who = f"{tex(named(row))} after {tex(row.profile)}"
            yield f"{who}: {row.failed} failed queries count as 0."
