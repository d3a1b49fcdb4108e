"""How names and numbers are written in tables."""

from __future__ import annotations

NOTHING = "–"


def plain(text: str) -> str:
    """Return `text` on one line and with control characters visible: data drives no terminal."""
    return "".join(c if c.isprintable() else _visible(c) for c in text)


def _visible(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{{{code:x}}}"


def number(value: float | None) -> str:
    """Write a measure with the four decimals that are published."""
    return NOTHING if value is None else f"{value:.4f}"


def signed(value: float | None) -> str:
    """Write a difference of measures; one that would round to nothing has no minus."""
    return NOTHING if value is None else f"{_no_minus_zero(value, 4):+.4f}"


def bounds(low: float | None, high: float | None) -> str:
    """Write an interval of a difference."""
    if low is None or high is None:
        return NOTHING
    return f"[{_no_minus_zero(low, 3):+.3f}, {_no_minus_zero(high, 3):+.3f}]"


def _no_minus_zero(value: float, decimals: int) -> float:
    return round(value, decimals) or 0.0


def count(value: float | None) -> str:
    """Write a count or a mean of counts shortly: 0.027, 7, 9.5, 1234, 12.3k, 4.56M."""
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


def cost(value: float | None) -> str:
    """Write the price of a query as that of a thousand, with three digits."""
    return NOTHING if value is None else f"{1000 * value:.3g}"


def share(value: float | None) -> str:
    """Write a part of a whole in per cent; a part of nothing has no sign."""
    return NOTHING if value is None else f"{_no_minus_zero(100 * value, 0):.0f} %"
