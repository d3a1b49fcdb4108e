"""Lines of text files and their fields: what every format of lines has in common."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from ..errors import BadData

_NO_UTF8 = re.compile("[\udc80-\udcff]")
_WHOLE = re.compile(r"([+-]?[0-9]{1,9})(?:\.0*)?")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line number (from 1) and text of the lines that are not blank; `.gz` is unpacked."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        # what is no UTF-8 becomes surrogates here, so that the error can name its line
        with opener(path, "rt", encoding="utf-8-sig", errors="surrogateescape") as file:
            for number, line in enumerate(file, start=1):
                if _NO_UTF8.search(line):
                    raise BadData(f"{path}, line {number} cannot be read: convert it to UTF-8")
                if line.strip():
                    yield number, line.rstrip("\r\n")
    except (OSError, EOFError, zlib.error) as error:
        raise BadData(f"{path} cannot be read: {error}") from error


def parse_json(text: str, where: str) -> Any:
    """Return a JSON value.

    Raises ValueError where `text` is none, BadData naming `where` at a key that is there twice.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        again = repeated(key for key, _ in pairs)
        if again is not None:
            raise BadData(f"{where}: {again!r} is there twice in one JSON object; keep one")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=once)
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None


def repeated(names: Iterable[str]) -> str | None:
    """Return the first name that is there twice, None where there is none."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def fields(line: str, sizes: Collection[int]) -> list[str]:
    """Split a line at its tabs if that gives one of `sizes` fields, else at white space."""
    tabbed = line.split("\t")
    return [part.strip() for part in tabbed] if len(tabbed) in sizes else line.split()


def whole_number(value: object, what: str, where: str) -> int:
    """Return a whole number of up to nine digits, also `True` and one written `1.0`.

    Raises BadData naming `what` and `where`.
    """
    found = _WHOLE.fullmatch(str(int(value) if isinstance(value, bool) else value).strip())
    if not found:
        shown = repr(value if len(str(value)) <= 40 else f"{str(value)[:40]}…")
        raise BadData(f"{where}: {what} {shown} is no whole number of up to nine digits")
    return int(found[1])


def is_number(text: str) -> bool:
    """Say whether a field is a number of any kind; a header's field is none."""
    try:
        float(text)
    except ValueError:
        return False
    return True
