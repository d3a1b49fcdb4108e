"""A query and a document scored together by a model's own head."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import EngineFault
from ..quiet import quiet
from ..types import Logits, PairScore, Score
from .batches import Answer, Batcher, Work, pad, sound, too_long
from .buffers import load_whole
from .heads import float32_heads, float32_module
from .loading import Checkpoint, device_of, dtype_of, load_model
from .pairtemplate import PairTemplate, names_roles
from .saved import is_composed, module_types
from .works import LOWER_PAIR, Prepared, Works

if TYPE_CHECKING:
    import torch


class Classifier:
    """A sequence-classification head: `PairScore`, and `Score` for one rendered sequence.

    Logits are raw: sentence-transformers' default sigmoid would turn large ones into ties.
    """

    def __init__(self, checkpoint: Checkpoint, works: Works, batcher: Batcher) -> None:
        self.model = load_model(checkpoint, "classifier")
        self._works, self._batcher = works, batcher
        self._left = checkpoint.decoder
        self._device = device_of(checkpoint.options)
        self._names = output_names(checkpoint) if self.model.config.num_labels > 1 else ()

    def pairs(self, requests: Sequence[PairScore]) -> Iterator[tuple[int, Answer]]:
        """Answer pairs; each distinct text is tokenised once and the ids are joined."""
        return self._answer(self._works.pairs(requests))

    def prompts(self, requests: Sequence[Score]) -> Iterator[tuple[int, Answer]]:
        """Answer rendered sequences."""
        return self._answer(self._works.scores(requests))

    def _answer(self, prepared: Prepared) -> Iterator[tuple[int, Answer]]:
        yield from prepared.settled
        yield from self._batcher.run(prepared.works, self._forward)

    def _forward(self, batch: Sequence[Work]) -> list[Answer]:
        padded = pad(batch, left=self._left, device=self._device, pad_id=self._works.tokens.pad_id)
        if self._left and hasattr(self.model, "score"):
            # The model's own forward looks for the last token that is not the padding id, and so
            # misses the end of a text that really ends in that id.
            base = self.model.base_model
            states = base(padded.ids, attention_mask=padded.mask, position_ids=padded.positions)
            logits = self.model.score(states.last_hidden_state[:, -1])
        else:
            segments = {} if padded.types is None else {"token_type_ids": padded.types}
            logits = self.model(padded.ids, attention_mask=padded.mask, **segments).logits
        return _replies(logits, [work.room for work in batch], self._names)


def _replies(
    logits: torch.Tensor, lengths: Sequence[int], names: tuple[str, ...] = ()
) -> list[Answer]:
    rows = [tuple(row) for row in logits.float().reshape(len(lengths), -1).tolist()]
    return [
        sound(row, Logits(row, prompt_tokens=length, names=names))
        for row, length in zip(rows, lengths, strict=True)
    ]


def output_names(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return what a checkpoint calls the outputs of its head; nothing where there is only one."""
    if not checkpoint.architecture.endswith("ForSequenceClassification"):
        return ()  # every config of transformers names two outputs, head or none
    named = getattr(checkpoint.config, "id2label", None) or {}
    return tuple(str(named[place]) for place in sorted(named)) if len(named) > 1 else ()


class ComposedPairs:
    """A sentence-transformers CrossEncoder that is more than a plain classification head.

    Causal language models with a score of two logits, chat templates with query and document roles,
    encoders with pooling and dense layers: the library prepares and scores, we cut the batches.
    """

    def __init__(self, checkpoint: Checkpoint, batcher: Batcher) -> None:
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
                device=device_of(options),
                trust_remote_code=options.trust_remote_code,
                model_kwargs={"torch_dtype": getattr(torch, dtype_of(options))},
            )
            self.model = load_whole(read, place.name).eval()
        float32_heads(self.model)
        for module in self.model.children():
            if not isinstance(module, Transformer):
                float32_module(module)
        self._context, self._batcher = checkpoint.context, batcher
        self._names = output_names(checkpoint)
        self._prompt = self.model.prompts.get(self.model.default_prompt_name or "")

    def pairs(self, requests: Sequence[PairScore]) -> Iterator[tuple[int, Answer]]:
        """Answer pairs; they are prepared twice, once alone to learn their length."""
        works = []
        for index, request in enumerate(requests):
            ids = self._prepare([request])["input_ids"][0].tolist()
            failure = too_long(len(ids), self._context, lower=LOWER_PAIR)
            if failure is None:
                works.append(Work(index, ids, len(ids), request=request))
            else:
                yield index, failure
        yield from self._batcher.run(works, self._forward)

    def _prepare(self, requests: Sequence[PairScore]) -> dict[str, Any]:
        pairs = [(r.query, r.document) for r in requests]
        whole = {"text": {"truncation": False}}
        with quiet():
            try:
                features = self.model.preprocess(
                    pairs, prompt=self._prompt, processing_kwargs=whole
                )
            except ValueError as error:
                raise EngineFault(str(error).splitlines()[0]) from error
        return dict(features)

    def _forward(self, batch: Sequence[Work]) -> list[Answer]:
        from sentence_transformers.util import batch_to_device

        features = self._prepare([work.request for work in batch])
        features = batch_to_device(features, self.model.device)
        scores = self.model(features)["scores"]
        names = self._names if scores.ndim > 1 and scores.shape[-1] == len(self._names) else ()
        return _replies(scores, [work.room for work in batch], names)


def pair_head(checkpoint: Checkpoint) -> str:
    """Return how a checkpoint scores pairs: `classifier`, `composed`, `maxsim`, or `none`.

    The option `head` comes before what the checkpoint was saved as; where a head is asked for,
    `composed` is how such a checkpoint's own head works.
    """
    asked = checkpoint.options.head
    if asked in {None, "classifier"} and is_composed(checkpoint):
        given = checkpoint.options.pair_template is not None
        return "classifier" if given and len(module_types(checkpoint)) < 2 else "composed"
    if asked is not None:
        return asked
    if checkpoint.architecture.endswith("ForSequenceClassification"):
        return "classifier"
    return "none" if checkpoint.decoder or checkpoint.config.is_encoder_decoder else "maxsim"


def require_pair_text(checkpoint: Checkpoint) -> None:
    """Raise EngineFault where a composed checkpoint does not say how a pair becomes one text.

    A generic chat template would render two turns that no head was trained on.
    """
    several = len(module_types(checkpoint)) > 1
    if several and checkpoint.options.pair_template is not None:
        raise EngineFault(f"model {checkpoint.name} is more than a head: leave out pair_template")
    if checkpoint.tokenizer.chat_template and not names_roles(checkpoint.tokenizer):
        cure = (
            "save it with a chat template that has them"
            if several
            else "set pair_template= to the text that the model was trained on, such as "
            "'query: {{ query }} document: {{ document }}'"
        )
        raise EngineFault(
            f"the chat template of {checkpoint.name} has no query and document roles, and does not "
            f"say how a pair becomes one text: {cure}"
        )


def require_template(checkpoint: Checkpoint) -> None:
    """Raise EngineFault where a composed checkpoint's pairs take more than a template."""
    require_pair_text(checkpoint)
    PairTemplate.of(checkpoint)


def no_pair_head(checkpoint: Checkpoint) -> EngineFault:
    """The error for a model that cannot score pairs."""
    return EngineFault(
        f"model {checkpoint.name} ({checkpoint.architecture}) has no head for pairs; "
        "use a cross-encoder or an encoder, or a pointwise reranker for this model"
    )
