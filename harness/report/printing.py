"""What the commands `report` and `compare` print."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import BadData, RerankBenchError, unknown

if TYPE_CHECKING:
    from .html.views import View


def report(
    folders: Sequence[Path], form: str, *, explain: bool = False, prices: Sequence[str] = ()
) -> None:
    """Print the report of all runs below `folders`.

    form: `table`, `wide`, `json`, `csv`, `md` or `latex`. explain: also print what the columns
    mean. prices: as in `--price`.
    """
    from rich.console import Console

    from ..evaluation import evaluate, parse_prices
    from . import to_csv, to_json, to_latex, to_markdown
    from .terminal import print_compact, print_glossary, print_tables

    found = evaluate(folders, prices=parse_prices(prices))
    if form in ("table", "wide"):
        console = Console()
        (print_compact if form == "table" else print_tables)(found, console)
        if explain:
            print_glossary(console)
        return
    forms = {"json": to_json, "csv": to_csv, "md": to_markdown, "latex": to_latex}
    written = forms[form](found)
    click.echo(written, nl=not written.endswith("\n"))


def page(
    folders: Sequence[Path],
    file: Path,
    *,
    detail: Sequence[Path],
    views: Callable[[Path], Iterable[View]],
    prices: Sequence[str],
) -> None:
    """Write the report of all runs below `folders` as one HTML file.

    `detail` are the run folders whose queries are shown with their texts; `views` reads them.
    """
    from ..evaluation import evaluate, parse_prices
    from .html import to_html

    found = evaluate(folders, detail=detail, prices=parse_prices(prices))
    shown = [view for folder in detail for view in views(folder)]
    try:
        file.write_text(to_html(found, shown), encoding="utf-8")
    except OSError as error:
        raise RerankBenchError(f"cannot write {file}: {error.strerror}") from error
    click.echo(f"wrote {file}", err=True)


def comparison(labels: tuple[str, str], runs: Path, *, queries: int, as_json: bool) -> None:
    """Print how two rerankers of the folder `runs` differ, and in which queries the most."""
    from ..evaluation import compare, evaluate
    from . import comparison_json, comparison_tables, print_table

    evaluation = evaluate([runs])
    known = list(evaluation.runs["reranker"].unique())
    for label in labels:
        if label not in known and Path(label).is_dir():
            raise BadData(f"{label} is a folder; compare takes labels: {', '.join(known)}")
        if label not in known:
            raise unknown(f"reranker in {runs}", label, known)
    found = compare(evaluation, *labels)
    if as_json:
        click.echo(comparison_json(found))
        return
    from rich.console import Console

    for table in comparison_tables(found, queries=queries):
        print_table(table, Console())
