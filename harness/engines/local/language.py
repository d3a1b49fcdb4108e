"""A causal language model in this process: label probabilities and likelihoods."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...errors import EngineFault
from ...types import ContinuationScore, LabelScores
from ..checkpoint import Checkpoint
from ..prepare import Answer, Prepared, sound
from .batches import pad

if TYPE_CHECKING:
    import torch


class LanguageModel:
    """A causal language model with its language head, and how to run it on `device`."""

    def __init__(self, model: Any, checkpoint: Checkpoint, pad_id: int) -> None:
        if checkpoint.config.is_encoder_decoder:
            raise EngineFault(f"model {checkpoint.name} is an encoder-decoder, which is not served")
        self.model, self.device, self.pad_id = model, checkpoint.device, pad_id
        self._selects_logits = "logits_to_keep" in inspect.signature(model.forward).parameters

    def logits(self, batch: Sequence[Prepared], keep: int) -> torch.Tensor:
        """Return the logits of the last `keep` positions, shape (rows, keep, vocabulary).

        Padding is on the left, so every sequence ends at the same place and the language head runs
        on no position that is not needed.
        """
        padded = pad(batch, left=True, device=self.device, pad_id=self.pad_id)
        return self.step(padded.ids, padded.mask, padded.positions, keep=keep)[0]

    def step(
        self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, *, keep: int,
        use_cache: bool = False, past_key_values: Any = None,
    ) -> tuple[torch.Tensor, Any]:  # fmt: skip
        """Run one forward pass over `ids`, behind what `past_key_values` already holds."""
        output = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=past_key_values,
            use_cache=use_cache,
            **({"logits_to_keep": keep} if self._selects_logits else {}),
        )
        return output.logits[:, -keep:], getattr(output, "past_key_values", None)

    def next_tokens(self, batch: Sequence[Prepared]) -> list[Answer]:
        """Answer `NextToken`: float32 log-softmax over the full vocabulary, last position."""
        logits = self.logits(batch, 1)[:, 0].float()
        logprobs = logits.log_softmax(-1)
        return [_labels(*row) for row in zip(batch, logits, logprobs, strict=True)]

    def likelihoods(self, batch: Sequence[Prepared]) -> list[Answer]:
        """Answer `Likelihood`; the logits that predict a token stand one position before it."""
        logits = self.logits(batch, max(one.ending for one in batch) + 1)
        answers = []
        for one, row in zip(batch, logits, strict=True):
            total = _logprob_of(one.ids[-one.ending :], row[-one.ending - 1 : -1])
            score = ContinuationScore(total, one.ending, prompt_tokens=len(one.ids))
            answers.append(sound((total,), score))
        return answers


def _logprob_of(ids: Sequence[int], logits: torch.Tensor) -> float:
    """Return the sum of log p of `ids`, given logits of shape (len(ids), vocabulary)."""
    import torch

    column = torch.tensor(ids, device=logits.device)[:, None]
    # Apple's GPUs have no float64.
    return float(logits.float().log_softmax(-1).gather(1, column).cpu().double().sum())


def _labels(one: Prepared, logits: torch.Tensor, logprobs: torch.Tensor) -> Answer:
    ids = list(one.labels.values())
    logit = dict(zip(one.labels, logits[ids].tolist(), strict=True))
    logprob = dict(zip(one.labels, logprobs[ids].tolist(), strict=True))
    return sound(logprob.values(), LabelScores(logprob, logit, prompt_tokens=len(one.ids)))
