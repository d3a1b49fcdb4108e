"""A query and a document scored together by a model's own head."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...errors import EngineFault
from ...quiet import quiet
from ...types import Logits
from ..checkpoint import Checkpoint
from ..pairing import output_names
from ..prepare import LOWER_PAIR, Answer, Answered, Numbered, Prepared, sound, too_long
from .batches import pad
from .buffers import load_whole
from .heads import float32_heads, float32_module
from .loading import load_model

if TYPE_CHECKING:
    import torch


class Classifier:
    """A sequence-classification head.

    Logits are raw: sentence-transformers' default sigmoid would turn large ones into ties.
    """

    def __init__(self, checkpoint: Checkpoint, pad_id: int) -> None:
        self.model = load_model(checkpoint, "classifier")
        self._left, self._device, self._pad_id = checkpoint.decoder, checkpoint.device, pad_id
        self._names = output_names(checkpoint) if self.model.config.num_labels > 1 else ()

    def answer(self, batch: Sequence[Prepared]) -> list[Answer]:
        """Answer pairs, whose sequences are complete."""
        padded = pad(batch, left=self._left, device=self._device, pad_id=self._pad_id)
        if self._left and hasattr(self.model, "score"):
            # The model's own forward looks for the last token that is not the padding id, and so
            # misses the end of a text that really ends in that id.
            base = self.model.base_model
            states = base(padded.ids, attention_mask=padded.mask, position_ids=padded.positions)
            logits = self.model.score(states.last_hidden_state[:, -1])
        else:
            segments = {} if padded.types is None else {"token_type_ids": padded.types}
            logits = self.model(padded.ids, attention_mask=padded.mask, **segments).logits
        return _replies(logits, batch, self._names)


def _replies(
    logits: torch.Tensor, batch: Sequence[Prepared], names: tuple[str, ...]
) -> list[Answer]:
    rows = [tuple(row) for row in logits.float().reshape(len(batch), -1).tolist()]
    return [
        sound(row, Logits(row, prompt_tokens=len(one.ids), names=names))
        for row, one in zip(rows, batch, strict=True)
    ]


class ComposedPairs:
    """A sentence-transformers CrossEncoder that is more than a plain classification head.

    Causal language models with a score of two logits, chat templates with query and document roles,
    encoders with pooling and dense layers: the library prepares and scores, we cut the batches.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        import torch
        from sentence_transformers import CrossEncoder
        from sentence_transformers.base.modules import Transformer

        options, place = checkpoint.options, checkpoint.place
        if options.adapter:
            raise EngineFault(f"model {place.name} takes no adapter: it is more than one module")
        with quiet():
            read = functools.partial(
                CrossEncoder,
                place.source,
                revision=place.revision,
                device=checkpoint.device,
                trust_remote_code=options.trust_remote_code,
                model_kwargs={"torch_dtype": getattr(torch, checkpoint.dtype)},
            )
            self.model = load_whole(read, place.name).eval()
        float32_heads(self.model)
        for module in self.model.children():
            if not isinstance(module, Transformer):
                float32_module(module)
        self._context, self._names = checkpoint.context, output_names(checkpoint)
        self._prompt = self.model.prompts.get(self.model.default_prompt_name or "")

    def prepare(self, numbered: Numbered) -> tuple[list[Prepared], list[Answered]]:
        """Prepare pairs one by one, to learn their lengths; `answer` prepares them again."""
        todo: list[Prepared] = []
        done: list[Answered] = []
        for index, request in numbered:
            ids = self._features([request])["input_ids"][0].tolist()
            failure = too_long(len(ids), self._context, lower=LOWER_PAIR)
            if failure is None:
                todo.append(Prepared(index, request, ids, len(ids)))
            else:
                done.append((index, failure))
        return todo, done

    def _features(self, requests: Sequence[Any]) -> dict[str, Any]:
        pairs = [(r.query, r.document) for r in requests]
        whole = {"text": {"truncation": False}}
        with quiet():
            try:
                found = self.model.preprocess(pairs, prompt=self._prompt, processing_kwargs=whole)
            except ValueError as error:
                raise EngineFault(str(error).splitlines()[0]) from error
        return dict(found)

    def answer(self, batch: Sequence[Prepared]) -> list[Answer]:
        """Answer pairs."""
        from sentence_transformers.util import batch_to_device

        features = self._features([one.request for one in batch])
        scores = self.model(batch_to_device(features, self.model.device))["scores"]
        names = self._names if scores.ndim > 1 and scores.shape[-1] == len(self._names) else ()
        return _replies(scores, batch, names)
