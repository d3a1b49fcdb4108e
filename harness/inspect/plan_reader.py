"""A model's tokenizer and sizes, opened for a plan without its weights."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..engines import EngineChoice, ModelOptions, pooling_of
from ..errors import BadOption, EngineFault, MissingExtra
from ..reranking import Shape, find_shape
from ..types import Embed, Generate, Likelihood, NextToken, PairScore

if TYPE_CHECKING:
    from ..engines import Checkpoint, Preparer

_WITHOUT_MODEL = (
    "to plan without the model, use another tokenizer and name the sizes: "
    "NAME:model=smollm2 with --shape Qwen3-4B"
)


@dataclass(frozen=True)
class Reader:
    """A model's tokenizer and sizes.

    head: what answers pairs. stand_in: whether the tokenizer is that of another model.
    """

    checkpoint: Checkpoint
    preparer: Preparer
    shape: Shape
    head: str
    stand_in: bool

    def require(self, kind: type) -> None:
        """Raise EngineFault for a request type that the model has no head for, as engines do."""
        from ..engines import no_language_model, no_pair_head, require_pair_text

        if self.stand_in:
            return
        predicts = self.checkpoint.decoder or self.checkpoint.encoder_decoder
        if kind in {NextToken, Generate, Likelihood} and not predicts:
            raise no_language_model(self.checkpoint)
        bare = not self.checkpoint.architecture.endswith("ForSequenceClassification")
        headless = bare and self.head == "classifier" and not self.checkpoint.options.adapter
        if kind is PairScore and (headless or self.head == "none"):
            raise no_pair_head(self.checkpoint)
        if kind is PairScore and self.head == "composed":
            require_pair_text(self.checkpoint)

    def require_pooling(self, request: Embed) -> None:
        """Raise EngineFault where the model does not say which pooling it was saved with."""
        if not self.stand_in:
            pooling_of(request, self.checkpoint)


def open_reader(chosen: EngineChoice, shape: str | None) -> Reader:
    """Open a model's config and tokenizer; with `shape` its sizes are those of the named shape.

    Raises EngineFault if the model is not on this machine or its sizes cannot be read.
    """
    from ..engines import PairTemplate, open_checkpoint, pair_head, preparer_of

    values = chosen.values
    model = values.get("tokenizer") or chosen.model
    if not model:
        raise BadOption("a plan counts a model's tokens, whatever the engine: give --model")
    options = ModelOptions.of({**values, "model": model})
    try:
        checkpoint = open_checkpoint(options)
    except MissingExtra:
        raise
    except EngineFault as error:
        raise EngineFault(f"{error}\n{_WITHOUT_MODEL}") from error
    name = checkpoint.name.rstrip("/").rpartition("/")[2]
    sizes = find_shape(shape) if shape else Shape.of(checkpoint.config.to_dict(), name=name)
    head = (options.head or "classifier") if shape else pair_head(checkpoint)
    templated = shape is None or options.pair_template is not None
    template = PairTemplate.find(checkpoint) if templated else None
    context = (options.max_model_len or sys.maxsize) if shape else checkpoint.context
    preparer = preparer_of(checkpoint, context, template)
    return Reader(checkpoint, preparer, sizes, head, stand_in=shape is not None)
