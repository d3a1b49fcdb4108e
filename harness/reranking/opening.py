"""A reranker and its engine from what a caller of the library names or has made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..engines import DEFAULT_ENGINE, NO_ENGINE, choose_engine, require_support
from ..errors import BadOption
from ..types import Engine, Reranker
from .cascade import is_cascade
from .choice import Choice
from .registry import Defaults, build, parse


@dataclass(frozen=True)
class OpenReranker:
    """A reranker and the engine that answers it; `is_own` where the engine was opened for it."""

    choice: Choice
    engine: Engine
    is_own: bool

    def close(self) -> None:
        """Close the engine, unless it was open before."""
        if self.is_own:
            self.engine.close()


def open_reranker(
    reranker: str | Reranker,
    engine: str | Engine | None = None,
    model: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> OpenReranker:
    """Return a reranker and the engine that answers it; an engine that is open is used as it is.

    reranker: a name as on the command line, or an object, whose label is then its class's name.
    options: the reranker's and the engine's. Raises BadOption for a cascade, and what `build` does.
    """
    opened = None if engine is None or isinstance(engine, str) else engine
    name = NO_ENGINE.name if opened is not None else engine if isinstance(engine, str) else None
    if isinstance(reranker, str):
        if is_cascade(reranker):
            raise BadOption(
                f"one reranker is needed here, not the cascade {reranker!r}; "
                "give each stage by itself, or use `rerank-bench run`"
            )
        given_name, given = parse(reranker)
        of_call = {k: v for k, v in {"model": model, "engine": name}.items() if v is not None}
        choice = build(given_name, {**given, **(options or {})}, Defaults(options=of_call))
    else:
        label = type(reranker).__name__
        usual = NO_ENGINE.name if model is None else DEFAULT_ENGINE
        chosen = choose_engine(name or usual, {} if model is None else {"model": model})
        choice = Choice(label, label, reranker, {}, chosen)
    opened = opened or choice.engine.open()
    asks = frozenset(choice.declared.asks or ())
    require_support(opened, asks, reranker=str(reranker))
    return OpenReranker(choice, opened, is_own=opened is not engine)
