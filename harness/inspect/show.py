"""Print one query of one run, or of two runs side by side, on a terminal.

All text from data and models passes through `plain`, so that it cannot control the terminal, and
is a rich `Text`, so that its square brackets are not read as markup.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby, takewhile
from pathlib import Path

import click
from rich.console import Console, Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from ..errors import BadData
from ..report import number, plain, signed
from ..runs import named_run
from .replay import Exchange, QueryView, replay
from .show_ranks import LEGEND, ranks

_ROWS = 20  # exchanges of a round
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
    """Print one query of `run`, beside the same query of the run `against` if one is named.

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
    console.print(ranks(views, console.width, whole=whole))
    console.print(Text(LEGEND, style="dim"))
    parts = [Group(*_exchanges(view, whole=whole)) for view in views if view.exchanges]
    if several and parts and console.width >= _SIDE_BY_SIDE:
        grid = Table.grid(expand=True, padding=(0, 1))
        for _ in parts:
            grid.add_column(ratio=1)
        grid.add_row(*parts)
        parts = [Group(grid)]
    for part in parts:
        console.print(part)


def _text(text: str, style: str = "") -> Text:
    return Text(plain(text), style=style)


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
    yield Rule(_text(f"round {exchanges[0].round} · {title}"), align="left", style="dim")
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
        more = f"… {left_out} lines more; --whole shows them"
        lines = [*lines[:_FIRST_LINES], more, *lines[-_LAST_LINES:]]
    shown = "\n".join(line[:_CHARACTERS] for line in lines)
    return Text(shown, no_wrap=True, overflow="ellipsis")


def _lines(text: str) -> list[str]:
    return [plain(line.expandtabs(4)) for line in text.split("\n")]


def _reply(exchange: Exchange, *, whole: bool) -> Text:
    text = exchange.reply
    left_out = 0 if whole else len(text) - _CHARACTERS
    if left_out > 0:
        text = f"{text[:_CHARACTERS]}\n… {left_out} characters more; --whole shows them"
    shown = Text("→ ", style="bold")
    if exchange.repaired:
        shown.append("REPAIRED OR UNUSABLE", style="bold black on yellow").append("\n")
    return shown.append("\n".join(_lines(text)), style=f"not bold {_colour(exchange)}")


def _colour(exchange: Exchange) -> str:
    return "cyan" if exchange.known else "red"


def _differences(exchanges: Sequence[Exchange]) -> Table:
    """Return a table of the part of each prompt that the others do not share, and its reply."""
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(justify="right", no_wrap=True, style="dim")
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=2)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    parts = _differing([exchange.prompt for exchange in exchanges])
    for place, (exchange, part) in enumerate(zip(exchanges[:_ROWS], parts, strict=False), 1):
        reply = ("REPAIRED " if exchange.repaired else "") + exchange.reply
        cells = _text(part[:_CHARACTERS]), _text(reply[:_CHARACTERS], _colour(exchange))
        table.add_row(str(place), *cells)
    if len(exchanges) > _ROWS:
        table.add_row("", Text(f"… {len(exchanges) - _ROWS} more; --whole shows them", style="dim"))
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
