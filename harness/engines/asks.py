"""What a served model is asked and what it told: plain values that can cross a process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["labels", "text", "likelihood", "logits", "vectors"]

MOST_LABELS = 128
"""Labels that vLLM reads at one position: MAX_LOGPROB_TOKEN_IDS of its 0.32."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One sequence and what is to be read off the model.

    ids: the whole sequence. labels: the token ids to look at. ending: how many of the last tokens
    are the continuation. second: where the second segment begins, for models with segment ids.
    """

    kind: Kind
    ids: Sequence[int]
    labels: tuple[int, ...] = ()
    ending: int = 0
    second: int | None = None
    max_tokens: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()
    pattern: str | None = None
    pooling: str = "tokens"


@dataclass(frozen=True, slots=True)
class Told:
    """Natural-log probabilities, logits, or a sum as `values`; generated `tokens`; `vectors`."""

    values: tuple[float, ...] = ()
    tokens: tuple[int, ...] = ()
    finished: bool = True
    vectors: Any = None
    cached: int = 0
