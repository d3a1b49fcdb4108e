"""Scores of pairs from a model's own head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ...errors import EngineFault
from ...quiet import quiet
from ...types import Logits
from ..pairing import output_names
from ..prepare import LOWER_PAIR, Answer, Answered, Numbered, Prepared, sound, too_long
from .batches import pad
from .loading import LoadedModel
from .prefixes import pad_after_prefix


def classify(model: LoadedModel, batch: Sequence[Prepared]) -> list[Answer]:
    """Answer pairs with a sequence-classification head.

    Logits are raw: sentence-transformers' default sigmoid would turn large ones into ties.
    """
    network, checkpoint = model.network, model.checkpoint
    if model.scores_last:
        logits = network.score(_last_states(model, batch))
    else:
        padded = pad(batch, checkpoint)
        segments = {} if padded.types is None else {"token_type_ids": padded.types}
        logits = network(padded.ids, attention_mask=padded.mask, **segments).logits
    names = output_names(checkpoint) if network.config.num_labels > 1 else ()
    return _replies(logits, batch, names)


def _last_states(model: LoadedModel, batch: Sequence[Prepared]) -> torch.Tensor:
    """Return the hidden states of the last tokens, shape (rows, hidden size).

    The model's own forward looks for the last token that is not the padding id, and so misses the
    end of a text that really ends in that id.
    """
    read, base = pad_after_prefix(model, batch), model.network.base_model
    named = {"attention_mask": read.mask, "position_ids": read.positions}
    kept = {} if read.cache is None else {"past_key_values": read.cache, "use_cache": True}
    states: torch.Tensor = base(read.ids, **named, **kept).last_hidden_state
    return states[:, -1]


def _replies(
    logits: torch.Tensor, batch: Sequence[Prepared], names: tuple[str, ...]
) -> list[Answer]:
    rows = [tuple(row) for row in logits.float().reshape(len(batch), -1).tolist()]
    return [
        sound(row, Logits(row, prompt_tokens=len(one.ids), names=names))
        for row, one in zip(rows, batch, strict=True)
    ]


def prepare_composed(
    model: LoadedModel, numbered: Numbered
) -> tuple[list[Prepared], list[Answered]]:
    """Prepare pairs for a `CrossEncoder` one by one, to learn how long they are."""
    todo: list[Prepared] = []
    done: list[Answered] = []
    for index, request in numbered:
        ids = _features(model, [request])["input_ids"][0].tolist()
        failure = too_long(len(ids), model.checkpoint.context, lower=LOWER_PAIR)
        if failure is None:
            todo.append(Prepared(index, request, ids, len(ids)))
        else:
            done.append((index, failure))
    return todo, done


def score_composed(model: LoadedModel, batch: Sequence[Prepared]) -> list[Answer]:
    """Answer pairs with a `CrossEncoder`, which prepares them once more."""
    from sentence_transformers.util import batch_to_device

    features = _features(model, [one.request for one in batch])
    scores = model.network(batch_to_device(features, model.network.device))["scores"]
    names = output_names(model.checkpoint)
    return _replies(scores, batch, names if scores.shape[1:] == (len(names),) else ())


def _features(model: LoadedModel, requests: Sequence[Any]) -> dict[str, Any]:
    network, pairs = model.network, [(r.query, r.document) for r in requests]
    prompt = network.prompts.get(network.default_prompt_name or "")
    whole = {"text": {"truncation": False}}
    with quiet():
        try:
            return dict(network.preprocess(pairs, prompt=prompt, processing_kwargs=whole))
        except ValueError as error:
            raise EngineFault(str(error).splitlines()[0]) from error
