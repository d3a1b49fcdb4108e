"""The sections of the page: which frame each shows, with which columns and choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...evaluation import COLUMNS, Column
from .plots import COST, GAINS, ORDERS, QUALITY, RANKS, Plot


@dataclass(frozen=True)
class Selector:
    """A select over a section.

    key: `x` or `y` of a plot, `value` of a matrix, else the column whose rows are chosen.
    columns: the columns to choose from; a column of that name is chosen by value if empty.
    has_all: whether all rows may be chosen.
    by_number: whether the value of most rows comes first, not that of the first row.
    """

    key: str
    label: str
    columns: tuple[str, ...] = ()
    has_all: bool = False
    by_number: bool = False


@dataclass(frozen=True)
class Section:
    """A table, a matrix, a plot or the view of one query.

    tab: the tab it is on; kind: `table`, `matrix`, `plot` or `query`.
    frame: the frame whose rows it shows; `means` and `tasks` are the parts of `results`.
    columns: of a table, in their order, all of results if empty; of a matrix the one that names its
        rows.
    has_search: whether a table has a search box, which takes long over many rows.
    """

    id: str
    tab: str
    kind: str
    frame: str
    title: str
    caption: str
    columns: tuple[str, ...] = ()
    choices: tuple[Selector, ...] = ()
    has_search: bool = True
    plot: Plot | None = None


_RUN = ("reranker", "task", "profile")
_LEAD = (
    *_RUN, "gain", "gain_low", "first_stage", "natural", "calls_per_query", "prompt_tokens",
    "seconds_per_query", "gpu_seconds", "price", "queries",
)  # fmt: skip
_MATRIX = Selector(
    "value", "Number", ("gain", "headroom_captured", "natural", "gain_safeguarded", "safeguarded")
)
_SCOPE = Selector("scope", "Of")
_PROFILE = Selector("profile", "After")

SECTIONS = (
    Section(
        "profiles", "Overview", "matrix", "results", "Rerankers after each first stage",
        "Gain over the first stage; ★: significant at 5 % after Holm correction; ✕: invalid, from "
        "the fake engine or not comparable. The tooltip has the interval and the reason.",
        ("profile",), (_SCOPE, _MATRIX), has_search=False,
    ),
    Section(
        "means", "Results", "table", "means", "Means over data sets",
        "Means over all tasks of a data set, whatever the filters leave of them; the interval "
        "takes the tasks as fixed.",
        has_search=False,
    ),
    Section(
        "tasks", "Results", "table", "tasks", "Tasks",
        "One row for each task, first stage and reranker.", has_search=False,
    ),
    Section(
        "matrix", "Matrix", "matrix", "tasks", "Tasks and rerankers",
        "One column for each reranker, real ones first, the best mean gain first.",
        ("task",), (_PROFILE, _MATRIX), has_search=False,
    ),
    Section(
        "cost", "Plots", "plot", "results", "Gain against cost", COST.caption,
        choices=(
            _SCOPE, _PROFILE, Selector("hardware", "On", by_number=True),
            Selector("x", "Cost", ("seconds_per_query", "tokens_per_query", "ideal_flops",
                                 "gpu_seconds", "price")),
            Selector("y", "Number", ("gain", "gain_safeguarded", "natural")),
        ),
        plot=COST,
    ),
    Section("gains", "Plots", "plot", "results", "Gains", GAINS.caption, choices=(_SCOPE,),
            plot=GAINS),
    Section("quality", "Plots", "plot", "tasks", "Gain against first-stage quality",
            QUALITY.caption, choices=(Selector("reranker", "Reranker", has_all=True),),
            plot=QUALITY),
    Section(
        "recall", "First stages", "table", "first_stages", "First stages",
        "Each first stage by itself. Recall at 100 is over all positives (micro) and as a mean "
        "over queries (macro); a published value is for the same queries.",
        ("task", "profile", "origin", "measure", "first_stage", "published", "as_published",
         "queries", "safeguards"),
    ),
    Section(
        "strata", "Queries", "table", "strata", "Languages, lengths and ranks",
        "Gain (nDCG@10) of the queries of one language, of one length, or with the best positive "
        "in one range of ranks.",
        (*_RUN, "stratum_kind", "stratum", "gain", "gain_low", "first_stage", "natural",
         "queries"),
    ),
    Section("ranks", "Queries", "plot", "queries", "Rank of the best positive", RANKS.caption,
            choices=(Selector("reranker", "Reranker"), Selector("profile", "After", has_all=True)),
            plot=RANKS),
    Section(
        "queries", "Queries", "table", "queries", "Queries",
        "One row for each query of each run (nDCG@10); ranks are those of the best positive "
        "without the safeguard.",
        (*_RUN, "query_id", "query_gain", "first_stage", "natural", "safeguarded", "rank_before",
         "rank_after", "moved", "language", "health"),
    ),
    Section(
        "query", "One query", "query", "texts", "One query",
        "The candidates of a query in finished order, how far each moved, and the requests and "
        "replies behind it; of the two best rerankers, or of all that the filter picks.",
        choices=(Selector("task", "Task"), _PROFILE, Selector("query_id", "Query")),
    ),
    Section("promotions", "Robustness", "plot", "promotions", "Place in the input", ORDERS.caption,
            choices=(_SCOPE,), plot=ORDERS),
    Section(
        "orders", "Robustness", "table", "orders", "Other input orders",
        "Mean and standard deviation of nDCG@10 over the orders; Kendall's tau between the outputs "
        "of two orders.",
        (*_RUN, "mean", "sd", "tau", "orders"),
    ),
    Section(
        "latencies", "Robustness", "table", "latencies", "One query at a time",
        "Engine seconds of one query when nothing else is served; they do not compare with seconds "
        "at full load.",
        (*_RUN, "p50", "p95", "queries", "hardware"),
    ),
    Section(
        "calibrations", "Robustness", "table", "calibrations", "Calibration",
        "nAUC: how well scores tell which queries are ranked well (1: perfectly, 0: not at all).",
        (*_RUN, "measure", "highest", "deviation", "margin"),
    ),
    Section(
        "claims", "Published", "table", "claims", "Published figures",
        "Measured values and published ones for the same pool.",
        (*_RUN, "measure", "measured", "claimed", "difference", "tolerance", "why", "verdict",
         "source"),
    ),
)  # fmt: skip

OTHERS = tuple(
    Column(name, label, text, format=form)
    for name, label, text, form in (
        ("health", "health", "Failed queries; repaired and unusable replies.", "text"),
        ("scope", "data", "A task, or a data set whose mean this is.", "text"),
        ("tokens_per_query", "tokens per query", "Tokens read and written per query.", "count"),
        ("stratum_kind", "by", "What the queries have in common.", "text"),
        ("stratum", "queries of", "Which queries.", "text"),
        ("query_id", "query", "The id of the query.", "text"),
        ("query_gain", "gain", "Natural minus first stage of one query.", "signed"),
        ("language", "language", "The language of the query.", "text"),
        ("rank_before", "rank before", "Rank of the best positive in the pool.", "whole"),
        ("rank_after", "rank after", "Rank of the best positive in the finished ranking.", "whole"),
        ("moved", "moved up", "Rank before minus rank after.", "whole"),
        ("direction", "direction", "Whether the best positive rose, stayed or fell.", "text"),
        ("mean", "mean", "Mean nDCG@10 over the orders.", "number"),
        ("sd", "sd", "Standard deviation over the orders.", "number"),
        ("tau", "tau", "Kendall's tau between the outputs of two orders.", "number"),
        ("orders", "orders", "The orders in which the candidates were given.", "text"),
        ("tenth", "tenth of the input, from its top", "A tenth of the input.", "whole"),
        ("promoted", "share among the first ten", "Share that ends among the first ten.", "share"),
        ("p50", "median seconds", "Median of the engine seconds of a query.", "seconds"),
        ("p95", "95 % seconds", "95th percentile of the engine seconds of a query.", "seconds"),
        ("highest", "by highest score", "nAUC by the highest score of a query.", "number"),
        ("deviation", "by deviation", "nAUC by the scores' standard deviation.", "number"),
        ("margin", "by margin", "nAUC by the margin of the highest score.", "number"),
        ("measured", "measured", "The value of the run.", "number"),
        ("claimed", "published", "The published value.", "number"),
        ("difference", "difference", "Measured minus published.", "signed"),
        ("tolerance", "tolerance", "How far two runs of the same may lie apart.", "number"),
        ("verdict", "verdict", "Whether the difference is within the tolerance.", "text"),
        ("why", "because", "What the tolerance is for.", "text"),
        ("source", "source", "Where the figure is published.", "text"),
    )
)
"""Columns that are not in frames of results."""


def shown_columns() -> list[Column]:
    """Return the columns of results with a label: the others are not for readers."""
    return [column for column in COLUMNS if column.label]


def column_list() -> list[dict[str, Any]]:
    """Return all columns of the page; a cell shows the values of `fields` together."""
    return [
        {
            "name": column.name,
            "label": column.label,
            "help": column.help,
            "format": column.format,
            "fields": column.fields or (column.name,),
        }
        for column in (*shown_columns(), *OTHERS)
    ]


def sections(filled: Mapping[str, set[str]]) -> list[dict[str, Any]]:
    """Return the sections whose frame has rows, with the columns that have values.

    filled: for each frame that has rows, the columns with a value other than 0.
    """
    return [
        _section(own, filled.get(own.frame, set())) for own in SECTIONS if filled.get(own.frame)
    ]


def _section(section: Section, filled: set[str]) -> dict[str, Any]:
    """Return a section for the page; columns without any value are left to be asked for."""
    columns = section.columns or (_results() if section.kind == "table" else ())
    more = {c.name for c in COLUMNS if c.show == "more"}
    hidden = [n for n in columns if n in more or (n not in filled and n not in _LEAD[:7])]
    return {**asdict(section), "columns": columns, "hidden": hidden}


def _results() -> tuple[str, ...]:
    """Return the columns of results: the first ones, and then all others in their order."""
    first = {*_LEAD, "failed"}  # which is part of `health`
    others = (c.name for c in COLUMNS if c.show != "never" and c.name not in first)
    return (*_LEAD, *others, "health")


def tabs(shown: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the tabs of sections, in order."""
    return list(dict.fromkeys(["Overview", *(section["tab"] for section in shown), "Glossary"]))
