"""How names and numbers are written in tables."""

from __future__ import annotations

from collections.abc import Callable

NOTHING = "–"


def plain(text: str) -> str:
    """Return `text` on one line with control characters visible, which a terminal would obey."""
    return "".join(c if c.isprintable() else _visible(c) for c in text)


def crop(text: str, most: int) -> str:
    """Return `text` as `plain` does, with its middle left out where it is longer than `most`."""
    shown = plain(text)
    if len(shown) <= most:
        return shown
    tail = (most - 1) // 2
    return f"{shown[: most - 1 - tail]}…{shown[-tail:]}"


def _visible(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{{{code:x}}}"


def number(value: float | None) -> str:
    """Write a measure with the four decimals that are published."""
    return NOTHING if value is None else f"{value:.4f}"


def signed(value: float | None, digits: int = 4) -> str:
    """Write a difference of measures; one that rounds to 0 has no minus."""
    return NOTHING if value is None else f"{_no_minus_zero(value, digits):+.{digits}f}"


def gain(value: float | None, starred: bool | None) -> str:
    """Write a gain with its star."""
    return f"{signed(value)}{' *' if starred else ''}"


def bounds(low: float | None, high: float | None) -> str:
    """Write an interval of a difference."""
    return NOTHING if low is None or high is None else f"[{signed(low, 3)}, {signed(high, 3)}]"


def _no_minus_zero(value: float, decimals: int) -> float:
    return round(value, decimals) or 0.0


def count(value: float | None) -> str:
    """Write a count or a mean of counts in short form: 0.027, 7, 9.5, 1234, 12.3k, 4.56M."""
    if value is None:
        return NOTHING
    if 0 < value < 1:
        return f"{value:.2g}"
    if value < 1000:
        return f"{value:.1f}".removesuffix(".0")
    for unit, letter in ((1e9, "G"), (1e6, "M")):
        if value >= unit:
            return f"{value / unit:.2f}{letter}"
    return f"{value / 1e3:.1f}k" if value >= 10_000 else f"{value:.0f}"


def ratio(*values: float | None) -> str:
    """Write several counts in one cell."""
    return NOTHING if values[0] is None else " / ".join(map(count, values))


def cost(value: float | None) -> str:
    """Write the price of a query as that of a thousand, with three digits."""
    return NOTHING if value is None else f"{1000 * value:.3g}"


def share(value: float | None) -> str:
    """Write a part of a whole in per cent; a part that rounds to 0 has no sign."""
    return NOTHING if value is None else f"{_no_minus_zero(100 * value, 0):.0f} %"


def probability(value: float | None) -> str:
    """Write a p-value with two digits."""
    return NOTHING if value is None else f"{value:.2g}"


def text(value: str | None) -> str:
    """Write a name or words."""
    return value or NOTHING


FORMATS: dict[str, Callable[..., str]] = {
    "bounds": bounds,
    "cost": cost,
    "count": count,
    "flag": lambda value: "yes" if value else NOTHING,
    "gain": gain,
    "giga": lambda value: count(None if value is None else value / 1e9),
    "number": number,
    "probability": probability,
    "ratio": ratio,
    "share": share,
    "signed": signed,
    "some": lambda value: count(value or None),
    "some_share": lambda value: share(value or None),
    "text": text,
    "whole": lambda value: NOTHING if value is None else str(value),
}
"""The formats that columns name; each takes the values of the column's `fields`."""
