"""Plotly specifications of the page's plots; the page only fills in rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "triangle-down")
"""Symbols of series, in turn."""

KINDS = {
    "significant": "circle",
    "invalid": "x-thin-open",
    "floor": "diamond-open",
    "fake engine": "hourglass-open",
    "not comparable": "square-open",
}
"""Symbols of results that differ from others, whatever their series."""

_LEGEND = (
    "Crosses are invalid, open diamonds floors, hourglasses the fake engine, open squares do not "
    "compare."
)


@dataclass(frozen=True)
class Plot:
    """A scatter plot of a frame's rows.

    x, y: columns, if no choice of that name replaces them.
    series: the column whose values are the traces.
    hover: columns that the label of a point shows.
    interval: the columns with the ends of a horizontal error bar.
    row_height: pixels for each category of y, added to the layout's height.
    has_front: whether a line joins the points that none at the same x or less exceeds, from 0 on.
    is_counted: whether equal points are one, whose size grows with their number.
    """

    caption: str
    x: str
    y: str
    series: str
    hover: tuple[str, ...]
    interval: tuple[str, ...] = ()
    row_height: int = 0
    has_front: bool = False
    is_counted: bool = False
    trace: Mapping[str, Any] = field(default_factory=dict)
    layout: Mapping[str, Any] = field(default_factory=dict)


def _layout(
    height: int, xaxis: Mapping[str, Any], yaxis: Mapping[str, Any], **more: Any
) -> dict[str, Any]:
    return {
        **more,
        "height": height,
        "margin": {"l": 60, "r": 15, "t": 15, "b": 45},
        "hovermode": "closest",
        "hoverlabel": {"align": "left", "namelength": -1},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "showlegend": True,
        "xaxis": {"automargin": True, **xaxis},
        "yaxis": {"automargin": True, **yaxis},
    }


_SIGNED = {"tickformat": "+~g"}
_NO_LINE = {"width": 1.4, "color": "rgba(0,0,0,0)"}
_POINTS = {"type": "scatter", "mode": "markers", "marker": {"size": 9, "line": _NO_LINE}}
_BARS = {
    **_POINTS,
    "orientation": "h",
    "marker": {"size": 9, "symbol": "circle-open", "line": _NO_LINE},
}
_RANKS = {"type": "log", "tickvals": [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000], "zeroline": False}

GAINS = Plot(
    "Gain over the first stage with its 95 % confidence interval (Student's t). Filled points are "
    f"significant at 5 % after Holm correction, open ones are not or were not tested. {_LEGEND}",
    x="gain",
    y="reranker",
    series="profile",
    hover=("reranker", "profile", "gain", "gain_low", "marks"),
    interval=("gain_low", "gain_high"),
    row_height=26,
    trace=_BARS,
    layout=_layout(110, _SIGNED, {"zeroline": False}, scattermode="group", scattergap=0.4),
)

COST = Plot(
    "What each reranker gains and what it costs, after one first stage and on one kind of "
    "hardware. The line joins those that no cheaper one exceeds. Floors are left out, and so is "
    f"what has no such cost. {_LEGEND}",
    x="seconds_per_query",
    y="gain",
    series="reranker",
    hover=("reranker", "gain", "gain_low", "seconds_per_query", "marks"),
    has_front=True,
    trace=_POINTS,
    layout=_layout(480, {"type": "log", "minorloglabels": "complete"}, _SIGNED),
)

QUALITY = Plot(
    "Each point is one task after one first stage: the better the first stage, the less is left to "
    "gain. " + _LEGEND,
    x="first_stage", y="gain", series="profile",
    hover=("task", "reranker", "profile", "first_stage", "gain", "marks"),
    trace=_POINTS, layout=_layout(460, {"zeroline": False}, _SIGNED),
)  # fmt: skip

RANKS = Plot(
    "Rank of a query's best positive in the pool and in the finished ranking, without the "
    "safeguard. Queries that failed or whose pool holds no positive are left out.",
    x="rank_before", y="rank_after", series="direction",
    hover=("rank_before", "rank_after"), is_counted=True,
    trace={**_POINTS, "opacity": 0.75}, layout=_layout(480, _RANKS, _RANKS),
)  # fmt: skip

ORDERS = Plot(
    "Share of each tenth of the input that ends among the first ten; a level line means that a "
    "document's place in the input does not matter.",
    x="tenth", y="promoted", series="reranker", hover=("reranker", "tenth", "promoted"),
    trace={**_POINTS, "mode": "lines+markers"},
    layout=_layout(400, {"dtick": 1, "zeroline": False},
                   {"tickformat": ".0%", "rangemode": "tozero"}),
)  # fmt: skip


def template(ink: str, grid: str, zero: str, colours: tuple[str, ...]) -> dict[str, Any]:
    """Return a Plotly template: colours of text, grid, zero line and series."""
    axis = {"gridcolor": grid, "zerolinecolor": zero, "linecolor": grid, "zerolinewidth": 1.5}
    return {
        "layout": {
            "font": {"family": "system-ui, sans-serif", "size": 12, "color": ink},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": list(colours),
            "modebar": {"color": ink, "bgcolor": "rgba(0,0,0,0)"},
            "xaxis": axis,
            "yaxis": axis,
        }
    }


TEMPLATES = {
    # Okabe and Ito's colours without black and yellow; in the dark the same hues, lighter, each
    # with a contrast of more than 4.5.
    "light": template(
        "#1b1f23", "#d9dde1", "#7a828a",
        ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"),
    ),
    "dark": template(
        "#e4e7ea", "#343a40", "#9ba5ae",
        ("#6cb8f0", "#ff9a57", "#3fd0a0", "#eba6cd", "#f2c14b", "#b9b4ff"),
    ),
}  # fmt: skip
