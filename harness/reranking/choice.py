"""A reranker that a user chose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..engines import EngineChoice
from ..types import Reranker
from .declared import Declared


@dataclass(frozen=True)
class Choice:
    """A reranker as the user chose it, built and ready.

    options: those of the method that were set, by the user, the catalogue or the defaults.
    code: which code the method is: package and version, or the sha256 (hex) of a file.
    after: what comes before the last stage of a cascade, which the other fields describe.
    """

    label: str
    method: str
    reranker: Reranker
    options: Mapping[str, Any]
    engine: EngineChoice
    code: str = ""
    after: After | None = None

    @property
    def declared(self) -> Declared:
        """What the reranker declares about itself."""
        return Declared.of(self.reranker)


@dataclass(frozen=True)
class After:
    """The stages before the last one of a cascade, whose own label is `stage`.

    depth: how many documents of the order of `earlier` the last stage is given.
    """

    earlier: Choice
    stage: str
    depth: int
