"""Progress bars with an estimate, on stderr; silent when stderr is not a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


@contextmanager
def bar(what: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Show a bar named `what` over `total` steps; call the yielded function with steps done.

    A second argument of that function changes the total. A bar within a bar is shown below it: only
    one display can own a terminal.
    """
    if not sys.stderr.isatty():
        yield lambda steps, total=None: None
        return
    with nullcontext(_shown[0]) if _shown else _display() as progress:
        task = progress.add_task(what, total=total)
        yield lambda steps, total=None: progress.update(task, advance=steps, total=total)
        progress.remove_task(task)


_shown: list[Progress] = []
"""The display that owns the terminal, if there is one."""


@contextmanager
def _display() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        _shown.append(progress)
        try:
            yield progress
        finally:
            _shown.clear()
