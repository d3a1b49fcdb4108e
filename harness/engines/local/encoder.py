"""Hidden states of an encoder, for late interaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..checkpoint import Checkpoint
from ..prepare import Answer, Prepared, TokenVectors, sound
from .batches import pad


class Encoder:
    """Answers `Encode`; `model` is the network without any head."""

    def __init__(self, model: Any, checkpoint: Checkpoint, pad_id: int) -> None:
        self.model, self._pad_id = model, pad_id
        self._left, self._device = checkpoint.decoder, checkpoint.device

    def answer(self, batch: Sequence[Prepared]) -> list[Answer]:
        """Return the last hidden states of each sequence, padding cut off."""
        padded = pad(batch, left=self._left, device=self._device, pad_id=self._pad_id)
        where = {"position_ids": padded.positions} if self._left else {}
        hidden = self.model(padded.ids, attention_mask=padded.mask, **where).last_hidden_state
        answers = []
        for one, row in zip(batch, hidden.float(), strict=True):
            size = len(one.ids)
            states = row[-size:] if self._left else row[:size]
            vectors = TokenVectors(states.cpu().numpy(), prompt_tokens=size)
            answers.append(sound((states.sum().item(),), vectors))
        return answers
