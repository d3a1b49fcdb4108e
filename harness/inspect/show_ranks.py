"""The table of a query's candidates: rank before, rank after, score, judgement and text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from ..report import NOTHING, plain
from .replay import QueryView, ViewDocument

RANKS = 20  # of a finished ranking; below them only positives and the safeguard
LEGEND = (
    "● positive   S safeguard, put behind a pool without a positive   "
    f"{NOTHING} not reranked, not judged, not there"
)

_LEAST_TEXT = 20  # columns
_ID_WIDTH = (13, 40)  # columns after which an id is folded: a sixth of the width, within these
_WIDE = 120  # columns of a terminal that shows two runs with their scores
_CHARACTERS = 500  # more than a line holds

Row = tuple[ViewDocument | None, ...]
"""A document as each view has it, None where a view does not."""


def rows(views: Sequence[QueryView], *, whole: bool) -> Iterator[Row | int]:
    """Yield documents in the first view's finished order, then those that it does not have.

    A number stands for that many documents left out, unless `whole`.
    """
    by_id = [{document.doc_id: document for document in view.documents} for view in views]
    left_out = 0
    for doc_id in dict.fromkeys(doc_id for documents in by_id for doc_id in documents):
        row = tuple(documents.get(doc_id) for documents in by_id)
        if not whole and not any(d.after <= RANKS or d.positive or d.safeguard for d in row if d):
            left_out += 1
            continue
        if left_out:
            yield left_out
        left_out = 0
        yield row
    if left_out:
        yield left_out


def ranks(views: Sequence[QueryView], width: int, *, whole: bool) -> Table:
    """Return the table for a terminal of `width` columns; texts are cut, numbers never."""
    shown = list(rows(views, whole=whole))
    full = [row for row in shown if not isinstance(row, int)]
    documents = [next(document for document in row if document) for row in full]
    columns = [
        *_numbers(views, full, width),
        ("grade", [_or_nothing(document.grade) for document in documents]),
        ("", ["●" * document.positive + "S" * document.safeguard for document in documents]),
        ("document", [plain(document.doc_id) for document in documents]),
    ]
    table = _empty_table(columns, width)
    cells = zip(*(column for _, column in columns), documents, strict=True)
    for row in shown:
        if isinstance(row, int):
            more = Text(f"… {row} more; --whole shows them", style="dim")
            table.add_row(*[""] * len(columns), more)
        else:
            *words, document = next(cells)
            text = plain(" ".join(document.text.split())[:_CHARACTERS])
            style = "bold green" if document.positive else ""
            table.add_row(*map(Text, [*words, text]), style=style)
    return table


def _empty_table(columns: Sequence[tuple[str, list[str]]], width: int) -> Table:
    """Return a table with these columns, of which ids are folded, and one for the text."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    left = width
    for head, cells in columns:
        wide = max(map(len, [head, *cells]))
        if head == "document":
            wide = min(wide, max(width // 6, _ID_WIDTH[0]), _ID_WIDTH[1])
            table.add_column(head, overflow="fold", width=wide)
        else:
            table.add_column(head, justify="right", width=wide)
        left -= wide + 1  # one column between two
    table.add_column("text", no_wrap=True, overflow="ellipsis", width=max(left, _LEAST_TEXT))
    return table


def _numbers(
    views: Sequence[QueryView], shown: Sequence[Row], width: int
) -> Iterator[tuple[str, list[str]]]:
    """Yield head and cells of ranks, moves and scores; runs of one pool share the rank before."""
    several = len(views) > 1
    shared = all(len({document.before for document in row if document}) < 2 for row in shown)
    if shared:
        before = (next(document.before for document in row if document) for row in shown)
        yield "was", [str(rank) for rank in before]
    for place, letter in enumerate("AB"[: len(views)]):
        for head, cell in _CELLS.items():
            if (head == "was" and shared) or (head == "score" and several and width < _WIDE):
                continue
            documents = (row[place] for row in shown)
            name = letter if several and head == "rank" else head
            yield name, [NOTHING if d is None else cell(d) for d in documents]


def _or_nothing(value: int | None) -> str:
    return NOTHING if value is None else str(value)


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
