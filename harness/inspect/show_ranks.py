"""The candidates of a query as a table: where each one stood, and where each run has put it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..report import NOTHING, plain
from .replay import QueryView, ViewDocument

if TYPE_CHECKING:
    from rich.console import JustifyMethod
    from rich.table import Table

RANKS = 20  # of a finished ranking; below them only positives and the safeguard
LEGEND = (
    "● positive   S safeguard, put behind a pool without a positive   "
    f"{NOTHING} not reranked, not judged, not there"
)

_GAP = 1  # column that the box puts between two
_LEAST_TEXT = 20  # columns
_LONGEST_ID = (13, 40)  # columns after which an id is folded: a sixth of the width, within these
_WIDE = 120  # columns of a terminal that holds two runs with their scores
_CHARACTERS = 500  # more than a line holds


@dataclass(frozen=True)
class Row:
    """A document as each view has it, None where one has not; `gap` others were left out before."""

    seen: tuple[ViewDocument | None, ...]
    gap: int = 0

    @property
    def document(self) -> ViewDocument:
        """The document in the first view that has it."""
        return next(document for document in self.seen if document is not None)


@dataclass(frozen=True)
class _Column:
    head: str
    cell: Callable[[Row], str]
    right: bool = True


def rows(views: Sequence[QueryView], *, whole: bool) -> Iterator[Row]:
    """Yield documents in the first view's finished order, then those that it does not have.

    A row without `seen` stands for what was left out at the end.
    """
    held = [{document.doc_id: document for document in view.documents} for view in views]
    gap = 0
    for doc_id in dict.fromkeys(doc_id for documents in held for doc_id in documents):
        seen = tuple(documents.get(doc_id) for documents in held)
        if whole or any(_matters(document) for document in seen if document is not None):
            yield Row(seen, gap)
            gap = 0
        else:
            gap += 1
    if gap:
        yield Row((), gap)


def _matters(document: ViewDocument) -> bool:
    return document.after <= RANKS or document.positive or document.safeguard


def ranks(views: Sequence[QueryView], width: int, *, whole: bool) -> Table:
    """Return the table for a terminal of `width` columns; numbers are never cut, texts are."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = list(rows(views, whole=whole))
    columns = [*_numbers(views, shown, width), *_ABOUT]
    widths = [_width(column, shown, width) for column in columns]
    left = width - sum(widths) - _GAP * len(columns)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    for column, wide in zip(columns, widths, strict=True):
        side: JustifyMethod = "right" if column.right else "left"
        table.add_column(column.head, justify=side, overflow="fold", width=wide)
    table.add_column("text", no_wrap=True, overflow="ellipsis", width=max(left, _LEAST_TEXT))
    for row in shown:
        if row.gap:
            more = Text(f"… {row.gap} more; --whole shows them", style="dim")
            table.add_row(*[""] * len(columns), more)
        if row.seen:
            cells = (Text(text) for text in [*(c.cell(row) for c in columns), _line(row)])
            table.add_row(*cells, style="bold green" if row.document.positive else "")
    return table


def _width(column: _Column, shown: Sequence[Row], width: int) -> int:
    longest = max(len(text) for text in [column.head, *(column.cell(r) for r in shown if r.seen)])
    return longest if column.right else min(longest, _id_width(width))


def _id_width(width: int) -> int:
    return min(max(width // 6, _LONGEST_ID[0]), _LONGEST_ID[1])


def _line(row: Row) -> str:
    return plain(" ".join(row.document.text.split())[:_CHARACTERS])


def _numbers(views: Sequence[QueryView], shown: Sequence[Row], width: int) -> Iterator[_Column]:
    """Ranks, moves and scores; runs of one pool share the rank before."""
    shared = all(len({d.before for d in row.seen if d is not None}) < 2 for row in shown)
    if shared:
        yield _Column("was", lambda row: str(row.document.before))
    for place, letter in enumerate("AB"[: len(views)]):
        for head, tell in _TOLD.items():
            several = len(views) > 1
            if (head == "was" and shared) or (head == "score" and several and width < _WIDE):
                continue
            name = letter if several and head == "rank" else head
            yield _Column(name, _of(place, tell))


def _of(place: int, tell: Callable[[ViewDocument], str]) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        document = row.seen[place]
        return NOTHING if document is None else tell(document)

    return cell


def _grade(document: ViewDocument) -> str:
    return NOTHING if document.grade is None else str(document.grade)


def _mark(document: ViewDocument) -> str:
    return ("●" if document.positive else "") + ("S" if document.safeguard else "")


def _move(document: ViewDocument) -> str:
    up = document.before - document.after
    return f"▲{up}" if up > 0 else f"▼{-up}" if up < 0 else "="


def _score(document: ViewDocument) -> str:
    if document.score is None:
        return NOTHING
    return f"{document.score:.0f}" if document.score.is_integer() else f"{document.score:.4f}"


_TOLD: dict[str, Callable[[ViewDocument], str]] = {
    "was": lambda document: str(document.before),
    "rank": lambda document: str(document.after),
    "move": _move,
    "score": _score,
}

_ABOUT = (
    _Column("grade", lambda row: _grade(row.document)),
    _Column("", lambda row: _mark(row.document)),
    _Column("document", lambda row: plain(row.document.doc_id), right=False),
)
