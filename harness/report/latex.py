"""Tables of gains for a paper: LaTeX with booktabs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from ..evaluation import MAIN, Evaluation
from ..pools import NO_ORDER
from .notes import Record, by_reranker, display_name, group_rows
from .text import NOTHING, bounds, number, plain, signed

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

    A line for each reranker, best first, and a column for each profile. The caption names the
    family of a star. What does not compare is left out, and named in the caption.
    """
    sizes = {group.name: len(group.tasks) for group in found.groups}
    means = group_rows(found.means.main, "task")
    titled = [(f"{name}, mean of {sizes[name]} tasks", rows) for name, rows in means.items()]
    titled += group_rows(found.results.main, "task").items()
    return _HEAD + "\n".join(_table(title, rows) for title, rows in titled)


def escape_latex(text: str) -> str:
    """Return `text` as LaTeX that shows just it, on one line."""
    return _SPECIALS.sub(lambda found: _SPECIAL[found[0]], plain(text))


def _table(title: str, rows: Sequence[Record]) -> str:
    apart = [row for row in rows if row["apart"]]
    rows = [row for row in rows if not row["apart"]]
    profiles = sorted({row["profile"] for row in rows})
    rerankers = by_reranker(rows, display_name)
    lines = [
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{' '.join(_caption(title, rows, apart))}}}",
        f"\\begin{{tabular}}{{l{'l' * len(profiles)}}}",
        "\\toprule",
        _line(["reranker", *map(escape_latex, profiles)]),
        "\\midrule",
        *(_line([escape_latex(name), *_gains(own, profiles)]) for name, own in rerankers.items()),
        "\\bottomrule",
        "\\end{tabular}",
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _gains(rows: Iterable[Record], profiles: Sequence[str]) -> list[str]:
    gains = {row["profile"]: _gain(row) for row in rows}
    return [gains.get(profile, "--") for profile in profiles]


def _gain(row: Record) -> str:
    star = "^{*}" if row["starred"] else ""
    interval = bounds(row["gain_low"], row["gain_high"])
    words = "--" if interval == NOTHING else f"${interval}$"
    return f"${signed(row['gain'])}{star}$ {{\\footnotesize {words}}}"


def _caption(title: str, rows: Sequence[Record], apart: Sequence[Record]) -> Iterator[str]:
    most = max(row["queries"] for row in rows)
    before = {row["profile"]: f"${number(row['first_stage'])}$" for row in rows}
    before |= {row["profile"]: NO_ORDER for row in rows if row["origin"] == NO_ORDER}
    alone = "; ".join(f"{escape_latex(name)} {value}" for name, value in sorted(before.items()))
    yield f"{escape_latex(title)}, {most} queries: gain in {MAIN} over each first stage (reranked"
    yield "minus first stage, without appended positives), with its 95\\,\\% confidence interval"
    yield "(Student's $t$)."
    yield f"First stages alone: {alone}."
    families = dict.fromkeys(row["family"] for row in rows if row["family"])
    if families:
        yield "$^{*}$: $p \\le 0.05$ in a paired $t$-test, after Holm over"
        yield f"{'; over '.join(map(escape_latex, families))}."
    else:
        yield "No gain was tested: too few queries, equal gains, or nothing but floors."
    if apart:
        names = dict.fromkeys(f"{display_name(row)} ({row['queries']} queries)" for row in apart)
        yield f"Left out, for other queries, pools or judgements: {escape_latex(', '.join(names))}."
    for row in rows:
        if row["failed"]:
            who = f"{escape_latex(display_name(row))} after {escape_latex(row['profile'])}"
            yield f"{who}: {row['failed']} failed queries count as 0."
