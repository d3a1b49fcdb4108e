"""What the numbers of a server say about those that it left out, and whether they are raw."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from ...errors import EngineFault

_ROUNDING = 1e-7
"""How far off 1 the sum of float32 probabilities is that make a whole."""

_COARSE_ROUNDING = 4e-3
"""The same for probabilities in bfloat16, looked for in several rows at once."""


def unreported(logprobs: Collection[float]) -> float:
    """Return the most that the log-probability of an unreported token can be.

    logprobs: those of the most probable tokens, as the server reported them. A token that is not
    among them is at most as probable as the last of them, and as what they leave of the whole. The
    bound lies just below the last of them, so that a reported token comes first.
    """
    known = [value for value in logprobs if not math.isnan(value)]
    rest = 1 - math.fsum(map(math.exp, known))
    bound = min([*known, math.log(max(rest, _ROUNDING))])
    return math.nextafter(bound, -math.inf)


def require_raw(rows: Sequence[Sequence[float]]) -> None:
    """Raise EngineFault where the outputs of a head, a row for each text, are probabilities.

    Raw outputs may sum to 1 by chance, so a sum that is only nearly 1 must be found in all of
    several rows.
    """
    tolerance = _COARSE_ROUNDING if len(rows) > 1 else 2 * _ROUNDING
    if rows and all(_are_shares(row, tolerance) for row in rows):
        raise EngineFault(
            "the server's /classify returns probabilities instead of raw outputs: it ignored "
            "use_activation=false; serve the model with vLLM 0.31 or later"
        )


def _are_shares(outputs: Sequence[float], tolerance: float) -> bool:
    shares = len(outputs) > 1 and all(0 <= value <= 1 for value in outputs)
    return shares and abs(math.fsum(outputs) - 1) <= tolerance
