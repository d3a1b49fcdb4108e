"""Print one query of one run, or of two runs side by side, on a terminal.

All text from data and models passes through `plain`, so that it cannot control the terminal, and
is a rich `Text`, so that its square brackets are not read as markup.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby, takewhile
from pathlib import Path

import click
from rich import box
from rich.console import Console, Group, RenderableType
from rich.rule import Rule
from rich.table import Column, Table
from rich.text import Text

from ..errors import BadData
from ..report import NOTHING, number, plain, signed
from ..runs import named_run
from .replay import Exchange, QueryView, ViewDocument, replay

_RANKS = 20  # of a finished ranking; below them only positives and the safeguard
_LEGEND = f"""● positive   S safeguard, put behind a pool without a positive   \
{NOTHING} not reranked, not judged, not there"""
_LEAST_TEXT = 20  # columns
_ID_WIDTH = (13, 40)  # columns after which an id is folded: a sixth of the width, within these
_WIDE = 120  # columns of a terminal that shows two runs with their scores
_LINE = 500  # characters, more than a line holds

_EXCHANGES = 20  # of a round
_FIRST_LINES, _LAST_LINES = 11, 5  # of a prompt
_CHARACTERS = 1_000  # of a reply
_SIDE_BY_SIDE = 140  # columns of a terminal that shows two runs' exchanges side by side


def show(
    run: str,
    query_id: str,
    *,
    against: str | None = None,
    cache: Path | None = None,
    whole: bool = False,
    as_json: bool = False,
    root: Path = Path("runs"),
) -> None:
    """Print one query of `run`, and the same query of the run `against` if one is named.

    run, against: a folder, or `TASK/PROFILE/LABEL` below `root`. whole: leave nothing out, as JSON
    never does. Raises UnknownName for a run or query that does not exist, BadData for two runs of
    different tasks.
    """
    folders = [named_run(name, root) for name in (run, against) if name is not None]
    views = [view for folder in folders for view in replay(folder, [query_id], cache=cache)]
    if len({view.task for view in views}) > 1:
        raise BadData(f"{run} and {against} are runs of different tasks")
    if as_json:  # in ASCII, as even quoted text could control the terminal
        click.echo(json.dumps([asdict(view) for view in views], indent=2))
    else:
        print_views(views, Console(), whole=whole)


def print_views(views: Sequence[QueryView], console: Console, *, whole: bool = False) -> None:
    """Print one view, or two of the same query."""
    first, several = views[0], len(views) > 1
    console.print(_text(f"{first.task} · query {first.query_id}", "bold"))
    console.print(_text(first.query))
    console.print()
    for letter, view in zip("AB", views, strict=False):
        console.print(Group(*_heading(view, f"{letter}: " if several else "")))
    console.print(_ranks(views, console.width, whole=whole))
    console.print(Text(_LEGEND, style="dim"))
    parts = [Group(*_exchanges(view, whole=whole)) for view in views if view.exchanges]
    if several and parts and console.width >= _SIDE_BY_SIDE:
        grid = Table.grid(*(Column(ratio=1) for _ in parts), expand=True, padding=(0, 1))
        grid.add_row(*parts)
        parts = [Group(grid)]
    for part in parts:
        console.print(part)


def _text(text: str, style: str = "") -> Text:
    return Text(plain(text), style=style)


def _more(number: int, what: str = "more") -> str:
    return f"… {number} {what}; --whole shows them"


def _heading(view: QueryView, letter: str) -> Iterator[RenderableType]:
    gain = signed(view.natural - view.first_stage)
    change = f"nDCG@10 {number(view.first_stage)} → {number(view.natural)} ({gain})"
    yield _text(f"{letter}{view.profile} · {view.reranker}   {change}", "bold")
    if view.failed is not None:
        yield _text(f"failed, so in first-stage order: {view.failed}", "bold red")
    if view.counts:
        counts = ", ".join(f"{name} {count}" for name, count in sorted(view.counts.items()))
        yield _text(f"counted: {counts}", "dim")
    for note in view.notes:
        yield _text(f"note: {note}", "yellow")


# The list of documents

_Row = tuple[ViewDocument | None, ...]
"""A document as each view has it, None where a view does not."""


def _rows(views: Sequence[QueryView], *, whole: bool) -> Iterator[_Row | int]:
    """Yield documents in the first view's finished order, then those that it does not have.

    A number means that many documents left out.
    """
    by_id = [{document.doc_id: document for document in view.documents} for view in views]
    every = (
        tuple(documents.get(doc_id) for documents in by_id)
        for doc_id in dict.fromkeys(doc_id for documents in by_id for doc_id in documents)
    )
    for shown, group in groupby(every, key=lambda row: whole or _is_shown(row)):
        if shown:
            yield from group
        else:
            yield sum(1 for _ in group)


def _is_shown(row: _Row) -> bool:
    return any(d.after <= _RANKS or d.positive or d.safeguard for d in row if d)


def _document(row: _Row) -> ViewDocument:
    return next(document for document in row if document)


def _ranks(views: Sequence[QueryView], width: int, *, whole: bool) -> Table:
    """Return the table for a terminal of `width` columns; ids are folded, texts cut."""
    rows = list(_rows(views, whole=whole))
    full = [row for row in rows if not isinstance(row, int)]
    columns = list(_columns(views, full, width))
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    left = width
    for head, cell in columns:
        wide = max(map(len, [head, *map(cell, full)]))
        if head == "document":
            wide = min(wide, max(width // 6, _ID_WIDTH[0]), _ID_WIDTH[1])
            table.add_column(head, overflow="fold", width=wide)
        else:
            table.add_column(head, justify="right", width=wide)
        left -= wide + 1  # one column between two
    table.add_column("text", no_wrap=True, overflow="ellipsis", width=max(left, _LEAST_TEXT))
    for row in rows:
        if isinstance(row, int):
            table.add_row(*[""] * len(columns), Text(_more(row), style="dim"))
            continue
        text = _text(" ".join(_document(row).text.split())[:_LINE])
        style = "bold green" if _document(row).positive else ""
        table.add_row(*(Text(cell(row)) for _, cell in columns), text, style=style)
    return table


def _columns(
    views: Sequence[QueryView], rows: Sequence[_Row], width: int
) -> Iterator[tuple[str, Callable[[_Row], str]]]:
    """Yield head and cell of each column but the text; runs of one pool share the rank before."""
    several = len(views) > 1
    shared = all(len({document.before for document in row if document}) < 2 for row in rows)
    if shared:
        yield "was", lambda row: str(_document(row).before)
    for place, letter in enumerate("AB"[: len(views)]):
        for head, cell in _CELLS.items():
            if (head == "was" and shared) or (head == "score" and several and width < _WIDE):
                continue
            yield letter if several and head == "rank" else head, _cell(place, cell)
    yield "grade", lambda row: str(NOTHING if (g := _document(row).grade) is None else g)
    yield "", lambda row: "●" * _document(row).positive + "S" * _document(row).safeguard
    yield "document", lambda row: plain(_document(row).doc_id)


def _cell(place: int, cell: Callable[[ViewDocument], str]) -> Callable[[_Row], str]:
    return lambda row: NOTHING if (document := row[place]) is None else cell(document)


def _move(document: ViewDocument) -> str:
    up = document.before - document.after
    return f"▲{up}" if up > 0 else f"▼{-up}" if up < 0 else "="


def _score(document: ViewDocument) -> str:
    if document.score is None:
        return NOTHING
    return f"{document.score:.0f}" if document.score.is_integer() else f"{document.score:.4f}"


_CELLS: dict[str, Callable[[ViewDocument], str]] = {
    "was": lambda document: str(document.before),
    "rank": lambda document: str(document.after),
    "move": _move,
    "score": _score,
}


# Requests and replies


def _exchanges(view: QueryView, *, whole: bool) -> Iterator[RenderableType]:
    yield Text()
    title = _text(f"{view.reranker}: {len(view.exchanges)} requests and replies", "bold")
    yield Rule(title, align="left", characters="═")
    for _, exchanges in groupby(view.exchanges, key=lambda exchange: exchange.round):
        yield from _round(list(exchanges), whole=whole)


def _round(exchanges: Sequence[Exchange], *, whole: bool) -> Iterator[RenderableType]:
    """Yield the first exchange of a round, and where the others differ from it; or all of them."""
    several = len(exchanges) > 1
    kinds = ", ".join(dict.fromkeys(exchange.request for exchange in exchanges))
    title = f"{len(exchanges)} × {kinds}, the first:" if several else kinds
    of_stage = f" of {exchanges[0].stage}" if exchanges[0].stage else ""
    head = f"round {exchanges[0].round}{of_stage} · {title}"
    yield Rule(_text(head), align="left", style="dim")
    for exchange in exchanges if whole else exchanges[:1]:
        yield _prompt(exchange.prompt, whole=whole)
        yield _reply(exchange, whole=whole)
    if several and not whole:
        yield Text(f"all {len(exchanges)}, where they differ:")
        yield _differences(exchanges)


def _prompt(text: str, *, whole: bool) -> Text:
    """Return all lines of a prompt, or its first and last lines, each cut at the width."""
    lines = _lines(text)
    if whole:
        return Text("\n".join(lines))
    left_out = len(lines) - _FIRST_LINES - _LAST_LINES
    if left_out > 1:
        more = _more(left_out, "lines more")
        lines = [*lines[:_FIRST_LINES], more, *lines[-_LAST_LINES:]]
    shown = "\n".join(line[:_CHARACTERS] for line in lines)
    return Text(shown, no_wrap=True, overflow="ellipsis")


def _lines(text: str) -> list[str]:
    return [plain(line.expandtabs(4)) for line in text.split("\n")]


def _reply(exchange: Exchange, *, whole: bool) -> Text:
    text = exchange.reply
    left_out = 0 if whole else len(text) - _CHARACTERS
    if left_out > 0:
        text = f"{text[:_CHARACTERS]}\n{_more(left_out, 'characters more')}"
    shown = Text("→ ", style="bold")
    if exchange.repaired:
        shown.append("REPAIRED OR UNUSABLE", style="bold black on yellow").append("\n")
    return shown.append("\n".join(_lines(text)), style=f"not bold {_colour(exchange)}")


def _colour(exchange: Exchange) -> str:
    return "cyan" if exchange.known else "red"


def _differences(exchanges: Sequence[Exchange]) -> Table:
    """Return a table of the part of each prompt that the others do not share, and its reply."""
    table = Table.grid(
        Column(justify="right", no_wrap=True, style="dim"),
        *(Column(no_wrap=True, overflow="ellipsis", ratio=ratio) for ratio in (2, 1)),
        padding=(0, 1),
        expand=True,
    )
    parts = _differing([exchange.prompt for exchange in exchanges])
    for place, (exchange, part) in enumerate(zip(exchanges[:_EXCHANGES], parts, strict=False), 1):
        reply = ("REPAIRED " if exchange.repaired else "") + exchange.reply
        cells = _text(part[:_CHARACTERS]), _text(reply[:_CHARACTERS], _colour(exchange))
        table.add_row(str(place), *cells)
    if len(exchanges) > _EXCHANGES:
        table.add_row("", Text(_more(len(exchanges) - _EXCHANGES), style="dim"))
    return table


def _differing(prompts: Sequence[str]) -> list[str]:
    """Return each prompt without the words that all begin with, and those that all end with."""
    start = _shared_words(prompts)
    tails = [prompt[start:][::-1] for prompt in prompts]
    end = _shared_words(tails)
    return [tail[end:][::-1].strip() for tail in tails]


def _shared_words(texts: Sequence[str]) -> int:
    """Return the length of the common beginning, up to its last white space."""
    least, most = min(texts), max(texts)
    shared = takewhile(lambda pair: pair[0] == pair[1], zip(least, most, strict=False))
    return max((i for i, (character, _) in enumerate(shared, 1) if character in " \n"), default=0)
