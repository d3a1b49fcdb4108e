"""Late interaction: how each side of a pair is read, and which of its positions are scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .tokens import Frame, Tokens

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Side:
    """How queries, or documents, are read.

    frame: the tokens around a text. framed: whether their positions are scored too.
    fill, length: the token after a text until it has `length` tokens; these are scored.
    seen: whether other tokens attend to those filled in. skipped: tokens that are not scored.
    """

    frame: Frame
    framed: bool = False
    fill: int = 0
    length: int = 0
    seen: bool = False
    skipped: frozenset[int] = frozenset()

    def read(self, ids: Sequence[int]) -> tuple[list[int], list[int], int]:
        """Return what is read for a text, the positions scored, and how many last ones are unseen.

        ids: the text's own tokens.
        """
        around = self.frame.around(ids)
        filled = max(self.length - len(around), 0)
        whole = [*around, *[self.fill] * filled]
        inside = range(len(self.frame.before), len(self.frame.before) + len(ids))
        scored = range(len(whole)) if self.framed else inside
        places = [place for place in scored if whole[place] not in self.skipped]
        return whole, places, 0 if self.seen else filled


@dataclass(frozen=True, slots=True)
class Encode:
    """Compute the token vectors of a text for late interaction; no reranker yields it.

    language: of the text, where the model has an adapter for each language.
    """

    text: str
    side: Side
    language: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TokenVectors:
    """The vectors of the positions that are scored, float32, shape (positions, dim)."""

    vectors: NDArray[np.float32]
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


def no_vectors() -> TokenVectors:
    """Return the vectors of a text without tokens: none."""
    import numpy as np

    return TokenVectors(np.zeros((0, 1), dtype=np.float32))


def plain(tokens: Tokens) -> Side:
    """Return the side of an encoder without markers: the text's own tokens are scored."""
    return Side(tokens.single)
