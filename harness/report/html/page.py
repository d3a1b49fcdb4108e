"""One file with all data, styles and scripts, which opens from disk and loads nothing.

Data and the libraries are gzip in base64: that is small, costs nothing before a block is read, and
no text of a document can be read as markup. The content security policy allows the scripts whose
hashes it names and no other source. The libraries come from the installed packages itables
(DataTables) and plotly.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from ...errors import RerankBenchError
from ...evaluation import Evaluation
from ..compact import conclusions, matrices
from ..notes import group_rows, headline, notes_of, sentence
from ..text import plain
from .payload import blocks
from .sections import tabs
from .views import View

_SCRIPTS = ("data.js", "format.js", "state.js", "tables.js", "plots.js", "query.js", "main.js")
_FEW = 9
"""Conclusions that are shown at once."""


def to_html(found: Evaluation, views: Sequence[View] = ()) -> str:
    """Return the page of an evaluation; the same input gives the same bytes.

    found: what all tables and plots are of.
    views: the queries that are shown with their texts, requests and replies.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    script = "\n".join(_text(name) for name in _SCRIPTS)
    libraries, hashes = _libraries()
    data = blocks(found, views)
    report = data["report"]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["plain"] = plain
    return environment.from_string(_text("page.html.jinja")).render(
        style=Markup(_text("page.css")),  # noqa: S704  our own file
        script=Markup(script),  # noqa: S704  our own files
        hashes=[_hash(script), *hashes],
        blocks=libraries | {name: _packed(_json(block)) for name, block in data.items()},
        tabs=tabs(report["sections"]),
        sections=report["sections"],
        columns=report["columns"],
        conclusions=list(conclusions(found)),
        few=_FEW,
        sentences=sentences(found),
        left_out=left_out(found),
        tables=matrices(found),
    )


@cache
def _libraries() -> tuple[dict[str, str], list[str]]:
    """Return the blocks that are the same in every page, and the hashes of their scripts."""
    from plotly.offline import get_plotlyjs

    scripts = {"datatables": datatables(), "plotly": get_plotlyjs()}
    texts = {**scripts, "style": _bundle("dt_bundle.css")}
    packed = {name: _packed(text) for name, text in texts.items()}
    return packed, [_hash(text) for text in scripts.values()]


def sentences(found: Evaluation) -> list[dict[str, Any]]:
    """Return a sentence with notes for each first stage of each data set, or task in none."""
    rows = [row for row in headline(found) if not row["apart"]]
    rows.sort(key=lambda row: (row["tasks"] == 1, row["task"], row["profile"], -row["natural"]))
    return [
        {"task": task, "profile": profile, "sentence": sentence(own), "notes": notes_of(own)}
        for (task, profile), own in group_rows(rows, "task", "profile").items()
    ]


def left_out(found: Evaluation) -> list[str]:
    """Return what is in no table or has no mean, and why."""
    without = (reason for group in found.groups for reason in group.reasons)
    return list(dict.fromkeys([*found.left_out, *without]))


def datatables() -> str:
    """Return DataTables as a script that sets `DataTable`, made from the module in itables.

    A policy of hashes lets a script run, but no module be imported from a text.
    """
    module = _bundle("dt_bundle.js")
    exports = re.search(r"export\s*\{([^}]*)\};?", module)
    name = re.search(r"([\w$]+) as default", exports[1]) if exports else None
    if exports is None or name is None:
        raise RerankBenchError(
            "the package itables has no DataTables module; install another version of itables"
        )
    body = f"{module[: exports.start()]}\n{module[exports.end() :]}"
    return f'(() => {{ "use strict";\n{body}\nglobalThis.DataTable = {name[1]};\n}})();'


def _bundle(name: str) -> str:
    return (files("itables") / "html" / name).read_text(encoding="utf-8")


def _text(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _packed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


def _json(block: Any) -> str:
    return json.dumps(block, separators=(",", ":"), allow_nan=False)


def _hash(script: str) -> str:
    """Return the name of an inline script in a content security policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"
