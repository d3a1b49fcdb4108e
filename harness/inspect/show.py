"""`show`: one query on a terminal, before and after, of one run or of two side by side.

Everything that comes from data or models is written through `plain`, line by line: a document
cannot move the cursor, and square brackets are not read as markup.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import BadData
from ..report import number, plain, signed
from ..runs import named_run
from .replay import Exchange, QueryView, replay
from .show_ranks import LEGEND, ranks

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

_ROWS = 20  # of a round's exchanges
_LINES = 16  # of a prompt: what it begins with, and its end
_LAST_LINES = 5
_CHARACTERS = 1_000  # of a reply
_SIDE_BY_SIDE = 140  # columns of a terminal that holds two conversations


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
    """Print one query of `run`, beside the same query of `against` if that is named.

    A run is a folder, or `TASK/PROFILE/LABEL` below `root`. `whole` leaves nothing out; JSON never
    does. Raises UnknownName for a run or query that does not exist, BadData for two runs of
    different tasks.
    """
    folders = [named_run(name, root) for name in (run, against) if name is not None]
    views = [view for folder in folders for view in replay(folder, [query_id], cache=cache)]
    if len({view.task for view in views}) > 1:
        raise BadData(f"{run} and {against} are runs of different tasks")
    if as_json:
        # Escaped to ASCII, as even quoted text could drive the terminal.
        click.echo(json.dumps([asdict(view) for view in views], indent=2))
        return
    from rich.console import Console

    print_views(views, Console(), whole=whole)


def print_views(views: Sequence[QueryView], console: Console, *, whole: bool = False) -> None:
    """Print one view, or two of the same query."""
    from rich.table import Table
    from rich.text import Text

    console.print(Text(plain(f"{views[0].task} · query {views[0].query_id}"), style="bold"))
    console.print(Text(plain(views[0].query)))
    console.print()
    for letter, view in zip("AB", views, strict=False):
        for part in _heading(view, f"{letter}: " if len(views) > 1 else ""):
            console.print(part)
    console.print(ranks(views, console.width, whole=whole))
    console.print(Text(LEGEND, style="dim"))
    talks = [list(_conversation(view, whole=whole)) for view in views]
    if len(views) > 1 and console.width >= _SIDE_BY_SIDE and any(talks):
        grid = Table.grid(expand=True, padding=(0, 1))
        for _ in views:
            grid.add_column(ratio=1)
        grid.add_row(*(_stacked(talk) for talk in talks))
        console.print(grid)
        return
    for talk in talks:
        console.print(_stacked(talk))


def _stacked(parts: Sequence[RenderableType]) -> RenderableType:
    from rich.console import Group

    return Group(*parts)


def _heading(view: QueryView, letter: str) -> Iterator[RenderableType]:
    from rich.text import Text

    gain = f"{number(view.first_stage)} → {number(view.natural)} ({signed(_gain(view))})"
    yield Text(plain(f"{letter}{view.profile} · {view.reranker}   nDCG@10 {gain}"), style="bold")
    if view.failed is not None:
        yield Text(plain(f"failed, so in first-stage order: {view.failed}"), style="bold red")
    if view.counts:
        counted = ", ".join(f"{name} {count}" for name, count in sorted(view.counts.items()))
        yield Text(plain(f"counted: {counted}"), style="dim")
    for note in view.notes:
        yield Text(plain(f"note: {note}"), style="yellow")


def _gain(view: QueryView) -> float:
    return view.natural - view.first_stage


# Requests and replies


def _conversation(view: QueryView, *, whole: bool) -> Iterator[RenderableType]:
    from rich.rule import Rule
    from rich.text import Text

    if not view.exchanges:
        return
    yield Text()
    title = plain(f"{view.reranker}: {len(view.exchanges)} requests and replies")
    yield Rule(Text(title, style="bold"), align="left", characters="═")
    rounds: dict[int, list[Exchange]] = defaultdict(list)
    for exchange in view.exchanges:
        rounds[exchange.round].append(exchange)
    for exchanges in rounds.values():
        yield from _round(exchanges, whole=whole)


def _round(exchanges: Sequence[Exchange], *, whole: bool) -> Iterator[RenderableType]:
    """Show one exchange as it is, and of several the first, and then how the others differ."""
    from rich.rule import Rule
    from rich.text import Text

    first = exchanges[0]
    kinds = ", ".join(dict.fromkeys(exchange.request for exchange in exchanges))
    several = f"{len(exchanges)} × {kinds}, the first:" if len(exchanges) > 1 else kinds
    yield Rule(Text(plain(f"round {first.round} · {several}")), align="left", style="dim")
    for exchange in exchanges if whole else exchanges[:1]:
        yield _lines(exchange.prompt, whole=whole)
        yield _reply(exchange, whole=whole)
    if len(exchanges) > 1 and not whole:
        yield Text(f"all {len(exchanges)}, by what sets them apart:")
        yield _others(exchanges)


def _lines(text: str, *, whole: bool) -> RenderableType:
    """A prompt by its lines, each cut at the width, the middle left out; or the whole."""
    from rich.text import Text

    lines = [plain(line.expandtabs(4)) for line in text.split("\n")]
    if whole:
        return Text("\n".join(lines))
    out = len(lines) - _LINES
    if out > 1:
        told = f"… {out} lines more; --whole shows them"
        lines = [*lines[: _LINES - _LAST_LINES], told, *lines[-_LAST_LINES:]]
    shown = "\n".join(line[:_CHARACTERS] for line in lines)
    return Text(shown, no_wrap=True, overflow="ellipsis")


def _reply(exchange: Exchange, *, whole: bool) -> Text:
    """A reply behind an arrow; one that was repaired says so in words, not in colour alone."""
    from rich.text import Text

    text, style = exchange.reply, "cyan" if exchange.known else "red"
    if not whole and len(text) > _CHARACTERS:
        left = len(text) - _CHARACTERS
        text = f"{text[:_CHARACTERS]}\n… {left} characters more; --whole shows them"
    lines = "\n".join(plain(line.expandtabs(4)) for line in text.split("\n"))
    shown = Text("→ ", style="bold")
    if exchange.repaired:
        shown.append("REPAIRED OR UNUSABLE", style="bold black on yellow").append("\n")
    return shown.append(lines, style=f"not bold {style}")


def _others(exchanges: Sequence[Exchange]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=2)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    shown = exchanges[:_ROWS]
    for place, (exchange, part) in enumerate(zip(shown, _differing(exchanges), strict=False), 1):
        repaired = "REPAIRED " if exchange.repaired else ""
        style = "cyan" if exchange.known else "red"
        reply = Text(plain(repaired + exchange.reply)[:_CHARACTERS], style=style)
        table.add_row(Text(str(place), style="dim"), Text(plain(part)[:_CHARACTERS]), reply)
    if len(exchanges) > _ROWS:
        more = f"… {len(exchanges) - _ROWS} more; --whole shows them"
        table.add_row("", Text(more, style="dim"), "")
    return table


def _differing(exchanges: Iterable[Exchange]) -> list[str]:
    """What remains of each prompt without the beginning and the end that all share.

    Both end at white space, so that no word is cut.
    """
    prompts = [exchange.prompt for exchange in exchanges]
    least, most = min(prompts), max(prompts)
    start = _shared(least, most)
    start = max((least.rfind(space, 0, start) + 1 for space in " \n"), default=0)
    tails = [prompt[start:][::-1] for prompt in prompts]
    end = _shared(min(tails), max(tails))
    end = max((min(tails).rfind(space, 0, end) + 1 for space in " \n"), default=0)
    return [tail[end:][::-1].strip() for tail in tails]


def _shared(one: str, other: str) -> int:
    """Length of the common beginning; of a sorted list's ends, that of the whole list."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
