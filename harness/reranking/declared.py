"""What a reranker declares about itself."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ..types import Label, Reranker

MODEL_PAIR = 0
"""As `max_pair_tokens`: what the context of the model holds of a pair."""


@dataclass(frozen=True)
class Declared:
    """The optional attributes of a reranker, each with what its absence means.

    asks: request types it may yield; None where it does not say.
    fixed_labels: all labels it may ever ask for, so that an engine can load a head for them alone.
    head: how pairs are scored, by the names of an engine's option `head`.
    max_doc_tokens, max_query_tokens, max_pair_tokens, max_window_tokens, window: budgets of the
        texts it is given; max_window_tokens is that of `window` documents together, and a
        max_pair_tokens of 0 what the engine's model reads of a pair.
    prompt: the prompt file it fills.
    instruction: an instruction of its own, which comes before the task's.
    takes_instruction: whether it reads one; None where it does not say.
    """

    asks: frozenset[type] | None = None
    fixed_labels: tuple[Label, ...] = ()
    head: str | None = None
    max_doc_tokens: int | None = None
    max_query_tokens: int | None = None
    max_pair_tokens: int | None = None
    max_window_tokens: int | None = None
    window: int | None = None
    prompt: str | None = None
    instruction: str | None = None
    takes_instruction: bool | None = None

    @classmethod
    def of(cls, reranker: Reranker) -> Declared:
        """Read the attributes of a reranker; here and nowhere else.

        A class may use a name for something else: a `prompt` or `instruction` that is no text, such
        as a method, counts as absent.
        """
        values: dict[str, Any] = {f.name: getattr(reranker, f.name, f.default) for f in fields(cls)}
        if values["asks"] is not None:
            values["asks"] = frozenset(values["asks"])
        absent = [n for n in ("prompt", "instruction") if not isinstance(values[n], str)]
        return cls(**{**values, **dict.fromkeys(absent)})

    @property
    def yields_nothing(self) -> bool:
        """Whether it says that it yields no requests."""
        return self.asks is not None and not self.asks
