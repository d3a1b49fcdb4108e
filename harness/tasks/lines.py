"""Lines of text files and their fields: what every format of lines has in common."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path

from ..errors import BadData

_WHOLE = re.compile(r"[+-]?[0-9]+(?:\.0*)?")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line number (from 1) and text of the lines that are not blank; `.gz` is unpacked."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line.rstrip("\r\n")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise BadData(f"{path} cannot be read: {error}") from error


def fields(line: str, sizes: Collection[int]) -> list[str]:
    """Split a line at its tabs if that gives one of `sizes` fields, else at white space."""
    tabbed = line.split("\t")
    return [part.strip() for part in tabbed] if len(tabbed) in sizes else line.split()


def whole_number(text: str, what: str, where: str) -> int:
    """Return a whole number, also one written `1.0`; raise BadData naming `what` and `where`."""
    if not _WHOLE.fullmatch(text.strip()):
        raise BadData(f"{where}: {what} {text!r} is no whole number")
    return int(text.strip().partition(".")[0])


def is_number(text: str) -> bool:
    """Say whether a field is a number of any kind; a header's field is none."""
    try:
        float(text)
    except ValueError:
        return False
    return True
