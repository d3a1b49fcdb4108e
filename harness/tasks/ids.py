"""Parse ids and whole numbers, and check that two sources use the same ids."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from ..errors import BadData

UNREADABLE = re.compile("[\x00\ud800-\udfff]")
"""NUL and lone surrogates: no tokenizer, UTF-8 file or C string can hold them."""

_WHOLE = re.compile(r"([+-]?[0-9]{1,9})(?:\.0*)?")

MISMATCH_LIMIT = 0.2
"""Largest share of queries that may be lost to ids that do not match."""

_CURE = "write the ids alike, or pass --keep-going to go on without these"


def parse_id(value: object) -> str:
    """Return an id as a string without white space around it.

    Whole numbers are cast. Raises ValueError for any other type, an empty string, and a string with
    NUL or a lone surrogate.
    """
    if isinstance(value, str):
        text = value.strip()
        if text and not UNREADABLE.search(text):
            return text
    elif isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"{value!r} is not an id; an id is a non-empty string or a whole number")


def parse_whole_number(value: object, what: str) -> int:
    """Return a whole number of up to nine digits, also `True` and one written `1.0`.

    Raises ValueError naming `what` for anything else.
    """
    text = str(int(value) if isinstance(value, bool) else value).strip()
    match = _WHOLE.fullmatch(text)
    if match is None:
        shown = repr(value if len(text) <= 40 else f"{text[:40]}…")
        raise ValueError(f"{what} {shown} is not a whole number of up to nine digits")
    return int(match[1])


def is_number(text: str) -> bool:
    """Return whether a field is a number of any kind, which a field of a header is not."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def first_duplicate(names: Iterable[str]) -> str | None:
    """Return the first name that occurs a second time, None if there is none."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def check_query_ids(
    what: str, ids: Collection[str], known: Collection[str], where: str, *, limit: float
) -> None:
    """Raise BadData if too many query ids of two sources match nothing in the other.

    Extra ids on one side alone are not a mismatch: only the smaller of the two counts is.

    what: the source of `ids`.
    where: the source of `known`.
    limit: largest number of ids that may be unmatched on both sides.
    """
    extra = [query_id for query_id in ids if query_id not in known]
    missing = [query_id for query_id in known if query_id not in ids]
    if min(len(extra), len(missing)) > limit:
        counts = f"{len(extra)} of {len(ids)} query ids are not in {where}"
        others = f"{len(missing)} of its {len(known)} are not here"
        raise mismatch(f"{what}: {counts}, and {others}", extra, missing)


def mismatch(what: str, ids: Iterable[str], known: Iterable[str], *, cure: str = _CURE) -> BadData:
    """Return the error for ids that do not match, with one id of each side as an example.

    The example is of two ids that differ in spelling alone, if there are any.
    """
    ours, theirs = list(ids), list(known)
    by_key = {id_key(name): name for name in reversed(theirs)}
    one = next((name for name in ours if id_key(name) in by_key), ours[0])
    pair = f"{one!r} against {by_key.get(id_key(one), theirs[0])!r}"
    return BadData(f"{what} ({pair}); {cure}")


def id_key(name: str) -> str:
    """Return what the spellings of an id share: its only number, or else its letters and digits."""
    digits = re.findall(r"[0-9]+", name)
    if len(digits) == 1:
        return str(digits[0]).lstrip("0")
    return re.sub(r"[\W_]|(?<![0-9])0+(?=[0-9])", "", name).casefold()
