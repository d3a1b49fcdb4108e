"""What the commands `report` and `compare` print, and tables on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from ..errors import BadData, RerankBenchError, unknown
from ..evaluation import Evaluation, compare, evaluate, parse_prices
from .compact import COMPACT, LEGEND, conclusions, matrices
from .comparison import comparison_json, comparison_tables
from .exports import to_csv, to_json
from .latex import to_latex
from .markdown import to_markdown
from .reference import reference_tables
from .tables import ReportTable, glossary, tables, variant_tables
from .text import plain

if TYPE_CHECKING:
    from .html.views import View

_PIPE = 500  # characters
_NAMES = (20, 60)  # columns after which a name is folded: a quarter of the width, within these
_GAP = 2


def report(
    folders: Sequence[Path],
    form: str,
    *,
    explain: bool = False,
    prices: Sequence[str] = (),
    measures: Sequence[str] = (),
    reference: Path | None = None,
) -> None:
    """Print the report of all runs below `folders`.

    form: `table`, `wide`, `json`, `csv`, `md` or `latex`. explain: also print what the columns
    mean. prices, measures: as in `--price`, `--measure`. reference: a leaderboard, whose figures
    tables show last.
    """
    found = evaluate(folders, prices=parse_prices(prices), measures=measures)
    beside = [] if reference is None else reference_tables(found, folders, reference)
    if form in ("table", "wide"):
        console = Console()
        (print_compact if form == "table" else print_tables)(found, console)
        for table in beside:
            print_table(table, console, width=COMPACT)
        if explain:
            print_glossary(console)
        return
    forms: dict[str, Callable[[Evaluation], str]] = {
        "json": to_json,
        "csv": to_csv,
        "md": partial(to_markdown, beside=beside),
        "latex": to_latex,
    }
    written = forms[form](found)
    click.echo(written, nl=not written.endswith("\n"))


def page(
    folders: Sequence[Path],
    file: Path,
    *,
    detail: Sequence[Path],
    views: Callable[[Path], Iterable[View]],
    prices: Sequence[str],
    measures: Sequence[str] = (),
) -> None:
    """Write the report of all runs below `folders` as one HTML file.

    `detail` are the run folders whose queries are shown with their texts; `views` reads them.
    """
    from .html import to_html

    found = evaluate(folders, detail=detail, prices=parse_prices(prices), measures=measures)
    shown = [view for folder in detail for view in views(folder)]
    try:
        file.write_text(to_html(found, shown), encoding="utf-8")
    except OSError as error:
        raise RerankBenchError(f"cannot write {file}: {error.strerror}") from error
    click.echo(f"wrote {file}", err=True)


def comparison(labels: tuple[str, str], runs: Path, *, queries: int, as_json: bool) -> None:
    """Print how two rerankers of the folder `runs` differ, and in which queries the most."""
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
    for table in comparison_tables(found, queries=queries):
        print_table(table, Console())


def print_compact(found: Evaluation, console: Console) -> None:
    """Print gains and costs in at most 100 columns, a conclusion, and what is not in the tables.

    Other input orders and single queries, which a user asked for, have tables here too.
    """
    for table in [*matrices(found), *variant_tables(found)]:
        print_table(table, console, width=COMPACT)
    console = _sized(console, COMPACT)
    for line in conclusions(found):
        console.print(Text(plain(line)))
    console.print(Text(LEGEND, style="dim"))


def print_tables(found: Evaluation, console: Console) -> None:
    """Print all tables of a report.

    Numbers are never cut: what a narrow terminal cannot show side by side follows as a further
    table with the same names. Names are folded.
    """
    for table in tables(found):
        print_table(table, console)


def print_glossary(console: Console) -> None:
    """Print what each column means."""
    for label, text in glossary():
        console.print(Text.assemble((label, "bold"), f": {text}"))


def print_table(table: ReportTable, console: Console, *, width: int = _PIPE) -> None:
    """Print one table with its title and notes, and an empty line after it.

    width: in characters, of a pipe or a file; a terminal's own width is kept.
    """
    console = _sized(console, width)
    console.print(Text(plain(table.title), style="bold"))
    if table.lead:
        console.print(Text(plain(table.lead)))
    widths = [_width(table, column, console.width) for column in range(len(table.columns))]
    for part in _parts(widths, table.names, console.width):
        console.print(_rich(table, part, widths))
    for note in table.notes:
        console.print(Text(plain(note), style="dim"))
    console.print()


def _sized(console: Console, width: int) -> Console:
    """Return a terminal as it is, and for a pipe or a file a console of that width."""
    if console.is_terminal:
        return console
    return Console(file=console.file, width=width, color_system=None)


def _width(table: ReportTable, column: int, width: int) -> int:
    """The longest cell or word of the head; a name's at most as long as is not folded."""
    texts = [*table.columns[column].split(), *(row[column] for row in table.rows)]
    longest = max(len(plain(text)) for text in texts)
    if column >= table.names:
        return longest
    room = table.room if width >= COMPACT else 0
    return min(longest, max(width // 4, _NAMES[0], room), _NAMES[1])


def _parts(widths: list[int], names: int, width: int) -> list[list[int]]:
    """Divide the columns of numbers into as few tables as fit `width`, each with all names."""
    room = width - sum(own + _GAP for own in widths[:names])
    parts = [list(range(names))]
    free = room
    for column in range(names, len(widths)):
        if widths[column] > free and len(parts[-1]) > names:
            parts.append(list(range(names)))
            free = room
        parts[-1].append(column)
        free -= widths[column] + _GAP
    return parts


def _rich(table: ReportTable, columns: list[int], widths: list[int]) -> RichTable:
    shown = RichTable(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    for column in columns:
        head, width = Text(table.columns[column]), widths[column]
        if column < table.names:
            shown.add_column(head, width=width, overflow="fold")
        else:
            shown.add_column(head, width=width, justify="right")
    for row in table.rows:
        # Text, not str: rich reads square brackets in a str as markup.
        shown.add_row(*(Text(plain(row[column])) for column in columns))
    return shown
