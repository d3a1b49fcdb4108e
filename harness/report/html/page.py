"""One file that holds everything: data, style, script and the plotting library.

Data and library stand in the page as gzip in base64. That keeps the file small, costs nothing until
a block is needed, and leaves no way for a document's text to be read as markup. The page's policy
lets only the two scripts run whose hashes it names, and lets nothing be loaded.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from ...evaluation import Evaluation
from .payload import blocks
from .views import View, views_block

_SCRIPTS = (
    "data.js", "format.js", "theme.js", "table.js", "columns.js", "filters.js", "figure.js",
    "labels.js", "plot_gains.js", "plot_costs.js", "plot_tasks.js", "plot_ranks.js", "exchanges.js",
    "query.js", "summary.js", "main.js",
)  # fmt: skip
_STYLES = ("page.css", "controls.css", "tables.css", "query.css", "print.css")


def to_html(found: Evaluation, views: Sequence[View] = ()) -> str:
    """Return a page of all of `found`, and of the queries in `views` their texts and replies.

    It opens from disk, asks for nothing, and says the same for the same input, byte by byte.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    library = get_plotlyjs()
    script = "\n".join(_text(name) for name in _SCRIPTS)
    data = {**blocks(found), "views": views_block(views)}
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return page.from_string(_text("page.html.jinja")).render(
        style=Markup("\n".join(_text(name) for name in _STYLES)),  # noqa: S704  our own file
        script=Markup(script),  # noqa: S704  our own files
        allowed=[_hash(script), _hash(library)],
        library=packed(library),
        blocks={name: packed(_json(block)) for name, block in data.items()},
    )


def packed(text: str) -> str:
    """Return `text` as gzip in base64."""
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


def _json(block: Any) -> str:
    return json.dumps(block, separators=(",", ":"), allow_nan=False)


def _hash(script: str) -> str:
    """What a policy calls an inline script by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _text(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")
