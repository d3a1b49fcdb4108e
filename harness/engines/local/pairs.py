"""Scores of pairs from a model's own head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...errors import EngineFault
from ...quiet import quiet
from ...types import Logits
from ..pairing import output_names
from ..prepare import (
    LOWER_PAIR,
    Answer,
    Answered,
    Numbered,
    Prepared,
    sound,
    too_long,
)
from .batches import pad
from .loading import Loaded

if TYPE_CHECKING:
    import torch


def classify(model: Loaded, batch: Sequence[Prepared]) -> list[Answer]:
    """Answer pairs with a sequence-classification head.

    Logits are raw: sentence-transformers' default sigmoid would turn large ones into ties.
    """
    network, checkpoint = model.network, model.checkpoint
    padded = pad(batch, checkpoint)
    if checkpoint.decoder and hasattr(network, "score"):
        # The model's own forward looks for the last token that is not the padding id, and so
        # misses the end of a text that really ends in that id.
        base = network.base_model
        states = base(padded.ids, attention_mask=padded.mask, position_ids=padded.positions)
        logits = network.score(states.last_hidden_state[:, -1])
    else:
        segments = {} if padded.types is None else {"token_type_ids": padded.types}
        logits = network(padded.ids, attention_mask=padded.mask, **segments).logits
    names = output_names(checkpoint) if network.config.num_labels > 1 else ()
    return _replies(logits, batch, names)


def _replies(
    logits: torch.Tensor, batch: Sequence[Prepared], names: tuple[str, ...]
) -> list[Answer]:
    rows = [tuple(row) for row in logits.float().reshape(len(batch), -1).tolist()]
    return [
        sound(row, Logits(row, prompt_tokens=len(one.ids), names=names))
        for row, one in zip(rows, batch, strict=True)
    ]


def prepare_composed(model: Loaded, numbered: Numbered) -> tuple[list[Prepared], list[Answered]]:
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


def score_composed(model: Loaded, batch: Sequence[Prepared]) -> list[Answer]:
    """Answer pairs with a `CrossEncoder`, which prepares them once more."""
    from sentence_transformers.util import batch_to_device

    features = _features(model, [one.request for one in batch])
    scores = model.network(batch_to_device(features, model.network.device))["scores"]
    names = output_names(model.checkpoint)
    return _replies(scores, batch, names if scores.shape[1:] == (len(names),) else ())


def _features(model: Loaded, requests: Sequence[Any]) -> dict[str, Any]:
    network, pairs = model.network, [(r.query, r.document) for r in requests]
    prompt = network.prompts.get(network.default_prompt_name or "")
    whole = {"text": {"truncation": False}}
    with quiet():
        try:
            return dict(network.preprocess(pairs, prompt=prompt, processing_kwargs=whole))
        except ValueError as error:
            raise EngineFault(str(error).splitlines()[0]) from error
