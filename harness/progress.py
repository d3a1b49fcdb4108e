"""Progress bars with an estimate, on stderr; silent when stderr is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


@contextmanager
def bar(what: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Show a bar named `what` over `total` steps; call the yielded function with steps done.

    A second argument of that function changes the total. A bar within a bar stands under it: only
    one display can own a terminal.
    """
    if not sys.stderr.isatty():
        yield lambda steps, total=None: None
        return
    if _shown:
        task = _shown[-1].add_task(what, total=total)
        yield lambda steps, total=None: _shown[-1].update(task, advance=steps, total=total)
        _shown[-1].remove_task(task)
        return
    with _display() as progress:
        _shown.append(progress)
        task = progress.add_task(what, total=total)
        try:
            yield lambda steps, total=None: progress.update(task, advance=steps, total=total)
        finally:
            _shown.clear()


_shown: list[Progress] = []


def _display() -> Progress:
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
    return Progress(*columns, console=Console(stderr=True), transient=True)
