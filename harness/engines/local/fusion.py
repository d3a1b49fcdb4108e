"""Fusion in the decoder: an encoder reads passages alone, and a decoder reads all of them.

Izacard & Grave 2021, arXiv:2007.01282. The decoder attends to the passages' tokens without
positions, so padding between passages would be masked; here it is left out.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import torch

from ...types import Generate, Logits
from ..prepare import Answer, Prepared, sound
from .encoder_decoder import decode_from_states, encode, stack_states
from .loading import LoadedModel


def fuse(model: LoadedModel, batch: Sequence[Prepared]) -> list[Answer]:
    """Answer `Fuse` with greedy text."""
    states = iter(encode(model, [row for one in batch for row in one.rows]))
    read = [torch.cat(list(itertools.islice(states, len(one.rows)))) for one in batch]
    writing = [
        replace(one, request=Generate(one.request.prompts[0], one.request.max_tokens))
        for one in batch
    ]
    return decode_from_states(model, writing, *stack_states(read))


def fuse_scores(model: LoadedModel, batch: Sequence[Prepared]) -> list[Answer]:
    """Answer `FuseScore`, one request after another."""
    return [_scores(model, one) for one in batch]


def _scores(model: LoadedModel, one: Prepared) -> Answer:
    """Score by products with anchors (MVP: arXiv:2509.07485), without the language head."""
    views = one.request.views
    vectors = torch.stack([states[:views] for states in encode(model, one.rows)], dim=1)
    start = torch.tensor([list(one.begun)] * views, device=vectors.device)
    decoder = model.network.get_decoder()
    output = decoder(input_ids=start, encoder_hidden_states=vectors, use_cache=False)
    anchors = output.last_hidden_state[:, -1]
    scores = torch.einsum("vd,vpd->p", anchors.float(), vectors.float()) / views
    found = tuple(scores.tolist())
    return sound(found, Logits(found, prompt_tokens=one.read))
