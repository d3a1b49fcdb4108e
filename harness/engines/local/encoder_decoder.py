"""Answers of a model with an encoder and a decoder, such as T5.

The encoder reads a batch of prompts, padded on the right and masked. The decoder's inputs are
padded on the right too: it sees no later token, so what stands there does not matter.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from ...types import ContinuationScore
from ..prepare import Answer, Prepared, sound
from .generation import decode, select_rows
from .language import label_scores, sum_logprobs
from .loading import LoadedModel

_POSITIONS = 8_192  # padded tokens that the encoder reads at once


def next_tokens(model: LoadedModel, batch: Sequence[Prepared]) -> list[Answer]:
    """Answer `NextToken`: float32 log-softmax over the full vocabulary, next decoder position."""
    answers = []
    for one, row in zip(batch, _logits(model, batch), strict=True):
        last = row[len(one.begun) - 1].float()
        answers.append(label_scores(one, last, last.log_softmax(-1)))
    return answers


def likelihoods(model: LoadedModel, batch: Sequence[Prepared]) -> list[Answer]:
    """Answer `Likelihood`; the logits that predict a token are one position before it."""
    answers = []
    for one, row in zip(batch, _logits(model, batch), strict=True):
        end = len(one.begun)
        places = slice(end - one.ending - 1, end - 1)
        total = sum_logprobs(one.begun[-one.ending :], row[places])
        score = ContinuationScore(total, one.ending, prompt_tokens=one.read)
        answers.append(sound((total,), score))
    return answers


def generate(model: LoadedModel, batch: Sequence[Prepared]) -> list[Answer]:
    """Answer `Generate`, those whose decoders begin with equally many tokens together."""
    answers: dict[int, Answer] = {}
    for _, group in itertools.groupby(
        sorted(range(len(batch)), key=lambda i: len(batch[i].begun)),
        key=lambda i: len(batch[i].begun),
    ):
        places = list(group)
        some = [batch[place] for place in places]
        states, mask = stack_states(encode(model, [one.ids for one in some]))
        found = decode_from_states(model, some, states, mask)
        answers.update(zip(places, found, strict=True))
    return [answers[place] for place in range(len(batch))]


def encode(model: LoadedModel, rows: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    """Return the encoder's last hidden states of each row of ids, shape (tokens, dim)."""
    found: dict[int, torch.Tensor] = {}
    waiting = sorted(range(len(rows)), key=lambda place: len(rows[place]))
    while waiting:
        size = max(_POSITIONS // len(rows[waiting[-1]]), 1)
        waiting, places = waiting[:-size], waiting[-size:]
        states = _encode(model, [rows[place] for place in places])
        for place, state in zip(places, states, strict=True):
            found[place] = state[: len(rows[place])]
    return [found[place] for place in range(len(rows))]


def _encode(model: LoadedModel, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    ids, mask = _padded(rows, model.checkpoint.device)
    encoder = model.network.get_encoder()
    states: torch.Tensor = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    return states


def _padded(rows: Sequence[Sequence[int]], device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and mask of rows that are filled on the right; what with does not matter."""
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    return ids, (torch.arange(width, device=device) < lengths[:, None]).long()


def stack_states(states: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return hidden states of several rows as one tensor (rows, longest, dim), and their mask."""
    lengths = torch.tensor([len(one) for one in states], device=states[0].device)
    filled = torch.nn.utils.rnn.pad_sequence(list(states), batch_first=True)
    places = torch.arange(filled.shape[1], device=lengths.device)
    return filled, (places < lengths[:, None]).long()


def _logits(model: LoadedModel, batch: Sequence[Prepared]) -> torch.Tensor:
    """Return the logits of all decoder positions, shape (rows, longest, vocabulary)."""
    states, mask = stack_states(encode(model, [one.ids for one in batch]))
    begun, _ = _padded([one.begun for one in batch], model.checkpoint.device)
    logits: torch.Tensor = _run(model.network, begun, states, mask, use_cache=False).logits
    return logits


def _run(
    network: Any, ids: torch.Tensor, states: torch.Tensor, mask: torch.Tensor, **more: Any
) -> Any:
    read = BaseModelOutput(last_hidden_state=states)
    return network(decoder_input_ids=ids, encoder_outputs=read, attention_mask=mask, **more)


def decode_from_states(
    model: LoadedModel, batch: Sequence[Prepared], states: torch.Tensor, mask: torch.Tensor
) -> list[Answer]:
    """Answer requests with texts that the decoder writes.

    batch: the decoders of all begin with equally many tokens.
    states, mask: what each decoder reads, shapes (rows, longest, dim) and (rows, longest).
    """
    begun, _ = _padded([one.begun for one in batch], model.checkpoint.device)
    steps = _Decoder(model.network, begun, states, mask)
    return decode(steps, batch, model.checkpoint)


@dataclass
class _Decoder:
    """What the next forward pass reads: new ids, the encoder's states, and the cache."""

    network: Any
    ids: torch.Tensor
    states: torch.Tensor
    mask: torch.Tensor
    cache: Any = field(default_factory=lambda: EncoderDecoderCache(DynamicCache(), DynamicCache()))

    def logits(self) -> torch.Tensor:
        """Return the logits of the next token, float32, shape (rows, vocabulary)."""
        output = _run(
            self.network, self.ids, self.states, self.mask, use_cache=True,
            past_key_values=self.cache,
        )  # fmt: skip
        last: torch.Tensor = output.logits[:, -1].float()
        return last

    def advance(self, tokens: list[int], keep: list[int]) -> None:
        """Drop the rows that are done and append `tokens` to those in `keep`."""
        self.states, self.mask = select_rows(self.cache, keep, self.states, self.mask)
        self.ids = torch.tensor(tokens, device=self.mask.device)[:, None]
