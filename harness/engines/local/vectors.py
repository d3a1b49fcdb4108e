"""Vectors of texts: one a text, those of named tokens, and one a token for late interaction."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...types import Vectors
from ..late import TokenVectors
from ..pooling import pooling_of
from ..prepare import Answer, Prepared, sound
from .batches import pad
from .loading import LoadedModel


def token_vectors(model: LoadedModel, batch: Sequence[Prepared]) -> list[Answer]:
    """Answer `Encode` with the vectors of the positions that are scored."""
    answers = []
    for one, states in zip(batch, _states(model, batch), strict=True):
        vectors = model.project(states[list(one.places)])
        reply = TokenVectors(vectors.cpu().numpy(), prompt_tokens=len(one.ids))
        answers.append(sound((vectors.sum().item(),), reply))
    return answers


def embed(model: LoadedModel, batch: Sequence[Prepared]) -> list[Answer]:
    """Answer `Embed`: pool the last hidden states, project them, scale them to length 1.

    What is pooled of a text without tokens is zeros, as in a batch of sentence-transformers.
    """
    read = [one for one in batch if one.ids]
    found = iter(_states(model, read) if read else ())
    nothing = torch.zeros(1, model.checkpoint.config.get_text_config().hidden_size)
    answers = []
    for one in batch:
        states = next(found) if one.ids else nothing.to(model.checkpoint.device)
        vectors = model.project(_pooled(model, one, states))
        if one.request.normalise:
            vectors = torch.nn.functional.normalize(vectors, dim=-1)
        reply = Vectors.of(vectors.cpu().numpy(), prompt_tokens=len(one.ids))
        answers.append(sound((vectors.sum().item(),), reply))
    return answers


def _pooled(model: LoadedModel, one: Prepared, states: torch.Tensor) -> torch.Tensor:
    """Return the states that become vectors, shape (count, hidden size)."""
    if not isinstance(one.request.pooling, str):
        return states[list(one.places)]
    pooling = pooling_of(one.request, model.checkpoint)
    if pooling == "mean":
        return states.mean(0, keepdim=True)
    return states[:1] if pooling == "cls" else states[-1:]


def _states(model: LoadedModel, batch: Sequence[Prepared]) -> list[torch.Tensor]:
    """Return the last hidden states of each sequence, float32, shape (tokens, hidden size)."""
    left = model.checkpoint.decoder
    padded = pad(batch, model.checkpoint)
    where = {"position_ids": padded.positions} if left else {}
    hidden = model.network(padded.ids, attention_mask=padded.mask, **where).last_hidden_state
    sizes = [len(one.ids) for one in batch]
    rows = zip(hidden.float(), sizes, strict=True)
    return [row[-size:] if left else row[:size] for row, size in rows]
