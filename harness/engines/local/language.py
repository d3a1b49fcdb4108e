"""Label probabilities and likelihoods, from the logits of a causal language model."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from ...types import ContinuationScore, LabelScores
from ..prepare import Answer, Prepared, sound
from .loading import LoadedModel
from .prefixes import pad_after_prefix


def next_tokens(model: LoadedModel, batch: Sequence[Prepared]) -> list[Answer]:
    """Answer `NextToken`: float32 log-softmax over the full vocabulary, last position."""
    logits = _last_logits(model, batch, 1)[:, 0].float()
    logprobs = logits.log_softmax(-1)
    return [label_scores(*row) for row in zip(batch, logits, logprobs, strict=True)]


def label_scores(one: Prepared, logits: torch.Tensor, logprobs: torch.Tensor) -> Answer:
    """Return the labels of one row; both tensors are float32, shape (vocabulary,)."""
    ids = list(one.labels.values())
    logit = dict(zip(one.labels, logits[ids].tolist(), strict=True))
    logprob = dict(zip(one.labels, logprobs[ids].tolist(), strict=True))
    return sound(logprob.values(), LabelScores(logprob, logit, prompt_tokens=one.read))


def likelihoods(model: LoadedModel, batch: Sequence[Prepared]) -> list[Answer]:
    """Answer `Likelihood`; the logits that predict a token are one position before it."""
    logits = _last_logits(model, batch, max(one.ending for one in batch) + 1)
    answers = []
    for one, row in zip(batch, logits, strict=True):
        total = sum_logprobs(one.ids[-one.ending :], row[-one.ending - 1 : -1])
        score = ContinuationScore(total, one.ending, prompt_tokens=len(one.ids))
        answers.append(sound((total,), score))
    return answers


def sum_logprobs(ids: Sequence[int], logits: torch.Tensor) -> float:
    """Return the sum of log p of `ids`, given logits of shape (len(ids), vocabulary)."""
    column = torch.tensor(ids, device=logits.device)[:, None]
    # Apple's GPUs have no float64.
    return float(logits.float().log_softmax(-1).gather(1, column).cpu().double().sum())


def _last_logits(model: LoadedModel, batch: Sequence[Prepared], keep: int) -> torch.Tensor:
    """Return the logits of the last `keep` positions, shape (rows, keep, vocabulary).

    Padding is on the left, so every sequence ends at the same place and the language head runs on
    no position that is not needed.
    """
    read = pad_after_prefix(model, batch)
    return forward(
        model.network, read.ids, read.mask, read.positions, keep=keep,
        use_cache=read.cache is not None, past_key_values=read.cache,
    )[0]  # fmt: skip


def forward(
    network: Any, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, *, keep: int,
    use_cache: bool = False, past_key_values: Any = None,
) -> tuple[torch.Tensor, Any]:  # fmt: skip
    """Run one forward pass over `ids`, which follow what is in `past_key_values`.

    Returns the logits of the last `keep` positions, and the keys and values up to them.
    """
    selects = "logits_to_keep" in inspect.signature(network.forward).parameters
    output = network(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=past_key_values,
        use_cache=use_cache,
        **({"logits_to_keep": keep} if selects else {}),
    )
    return output.logits[:, -keep:], getattr(output, "past_key_values", None)
