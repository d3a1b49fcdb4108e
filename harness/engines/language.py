"""What a language model thinks comes next: label probabilities and likelihoods."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import EngineFault
from ..types import ContinuationScore, Label, LabelScores, Likelihood, NextToken
from .batches import Answer, Batcher, Work, pad, sound
from .loading import Checkpoint, device_of
from .works import Works

if TYPE_CHECKING:
    import torch


class LanguageModel:
    """A causal language model and how to run it; `model` has its language head."""

    def __init__(self, model: Any, checkpoint: Checkpoint, works: Works, batcher: Batcher) -> None:
        self.model, self.checkpoint = model, checkpoint
        self.works, self.batcher = works, batcher
        self.device = device_of(checkpoint.options)
        if checkpoint.config.is_encoder_decoder:
            raise EngineFault(f"model {checkpoint.name} is an encoder-decoder, which is not served")
        self._keeps = "logits_to_keep" in inspect.signature(model.forward).parameters

    def logits(self, batch: Sequence[Work], keep: int, **cache: Any) -> tuple[torch.Tensor, Any]:
        """Logits of the last `keep` positions, shape (rows, keep, vocabulary), and the KV cache.

        Padding is on the left, so every sequence ends at the same place and the language head runs
        on no position that is not asked for.
        """
        padded = pad(batch, left=True, device=self.device, pad_id=self.works.tokens.pad_id)
        return self.step(padded.ids, padded.mask, padded.positions, keep=keep, **cache)

    def step(
        self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, *, keep: int,
        use_cache: bool = False, past_key_values: Any = None,
    ) -> tuple[torch.Tensor, Any]:  # fmt: skip
        """One forward pass over `ids`, after what `past_key_values` already holds."""
        only = {"logits_to_keep": keep} if self._keeps else {}
        output = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=past_key_values,
            use_cache=use_cache,
            **only,
        )
        return output.logits[:, -keep:], getattr(output, "past_key_values", None)

    def next_tokens(self, requests: Sequence[NextToken]) -> Iterator[tuple[int, Answer]]:
        """Answer `NextToken`: float32 log-softmax over the full vocabulary, last position."""
        prepared = self.works.next_tokens(requests)
        yield from prepared.settled
        yield from self.batcher.run(prepared.works, self._next)

    def _next(self, batch: Sequence[Work]) -> list[Answer]:
        logits = self.logits(batch, 1)[0][:, 0].float()
        logprobs = logits.log_softmax(-1)
        return [
            _labels(work, raw, logged)
            for work, raw, logged in zip(batch, logits, logprobs, strict=True)
        ]

    def likelihoods(self, requests: Sequence[Likelihood]) -> Iterator[tuple[int, Answer]]:
        """Answer `Likelihood`: prompt and continuation are tokenised apart and joined."""
        prepared = self.works.likelihoods(requests)
        yield from prepared.settled
        yield from self.batcher.run(prepared.works, self._continue)

    def _continue(self, batch: Sequence[Work]) -> list[Answer]:
        # The logits that predict a token stand one position before it.
        longest = max(len(work.request) for work in batch)
        logits, _ = self.logits(batch, longest + 1)
        answers = []
        for work, row in zip(batch, logits, strict=True):
            total = _logprob_of(work.request, row[-len(work.request) - 1 : -1])
            score = ContinuationScore(total, len(work.request), prompt_tokens=len(work.ids))
            answers.append(sound((total,), score))
        return answers


def _logprob_of(ids: Sequence[int], logits: torch.Tensor) -> float:
    """Sum of log p of `ids`, given logits of shape (len(ids), vocabulary)."""
    import torch

    column = torch.tensor(ids, device=logits.device)[:, None]
    # Apple's GPUs have no float64.
    return float(logits.float().log_softmax(-1).gather(1, column).cpu().double().sum())


def _labels(work: Work, logits: torch.Tensor, logprobs: torch.Tensor) -> Answer:
    found: dict[Label, int] = work.request
    ids = list(found.values())
    logit = dict(zip(found, logits[ids].tolist(), strict=True))
    logprob = dict(zip(found, logprobs[ids].tolist(), strict=True))
    scores = LabelScores(logprob, logit, prompt_tokens=len(work.ids), output_tokens=1)
    return sound(logprob.values(), scores)
