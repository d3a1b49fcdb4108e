"""Tables on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..evaluation import Evaluation
from .compact import LEGEND, conclusions, matrices
from .tables import Table, glossary, tables
from .text import plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

_PIPE = 500  # characters
_COMPACT = 100
_NAMES = (20, 60)  # columns after which a name is folded: a quarter of the width, within these
_GAP = 2


def print_compact(found: Evaluation, console: Console) -> None:
    """Print gains and costs in at most 100 columns, a conclusion, and what is not in the tables."""
    from rich.text import Text

    console = console if console.is_terminal else _wide(console, _COMPACT)
    for table in matrices(found):
        print_table(table, console, width=_COMPACT)
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
    from rich.text import Text

    for label, text in glossary():
        console.print(Text.assemble((label, "bold"), f": {text}"))


def print_table(table: Table, console: Console, *, width: int = _PIPE) -> None:
    """Print one table with its title and notes, and an empty line behind it.

    width: in characters, of a pipe or a file; a terminal's own width is kept.
    """
    from rich.text import Text

    console = console if console.is_terminal else _wide(console, width)
    console.print(Text(plain(table.title), style="bold"))
    if table.lead:
        console.print(Text(plain(table.lead)))
    for numbers in _parts(table, console.width):
        console.print(_rich(table, numbers, width=console.width))
    for note in table.notes:
        console.print(Text(plain(note), style="dim"))
    console.print()


def _wide(console: Console, width: int) -> Console:
    """Return a console of that width for a pipe or a file."""
    from rich.console import Console

    return Console(file=console.file, width=width, color_system=None)


def _width(table: Table, column: int, *, width: int) -> int:
    """The longest cell or word of the head; a name's at most as long as is not folded."""
    texts = [*table.columns[column].split(), *(row[column] for row in table.rows)]
    longest = max(len(plain(text)) for text in texts)
    return longest if column >= table.names else min(longest, max(width // 4, _NAMES[0]), _NAMES[1])


def _parts(table: Table, width: int) -> list[list[int]]:
    """Deal the columns of numbers out to as few tables as fit `width`."""
    room = width - sum(_width(table, i, width=width) + _GAP for i in range(table.names))
    parts: list[list[int]] = [[]]
    free = room
    for i in range(table.names, len(table.columns)):
        if _width(table, i, width=width) > free and parts[-1]:
            parts.append([])
            free = room
        parts[-1].append(i)
        free -= _width(table, i, width=width) + _GAP
    return parts


def _rich(table: Table, numbers: Sequence[int], *, width: int) -> RichTable:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    for i in range(table.names):
        shown.add_column(
            Text(table.columns[i]), overflow="fold", width=_width(table, i, width=width)
        )
    for i in numbers:
        shown.add_column(
            Text(table.columns[i]), justify="right", width=_width(table, i, width=width)
        )
    for row in table.rows:
        # Text, not str: rich reads square brackets in a str as markup.
        shown.add_row(*(Text(plain(row[i])) for i in (*range(table.names), *numbers)))
    return shown
