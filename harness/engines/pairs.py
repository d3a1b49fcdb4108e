"""A query and a document scored together by a model's own head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import EngineFault
from ..quiet import quiet
from ..types import Logits, PairScore, Score
from .batches import Answer, Batcher, Work, pad, sound, too_long
from .loading import Checkpoint, device_of, dtype_of, load_model
from .tokens import Tokens

if TYPE_CHECKING:
    import torch

LOWER = "max_doc_tokens or max_query_tokens"


class Classifier:
    """A sequence-classification head: `PairScore`, and `Score` for one rendered sequence.

    Logits are raw: sentence-transformers' default sigmoid would turn large ones into ties.
    """

    def __init__(self, checkpoint: Checkpoint, tokens: Tokens, batcher: Batcher) -> None:
        self.model = load_model(checkpoint, "classifier")
        self._checkpoint, self._tokens, self._batcher = checkpoint, tokens, batcher
        self._left = checkpoint.decoder
        self._device = device_of(checkpoint.options)

    def pairs(self, requests: Sequence[PairScore]) -> Iterator[tuple[int, Answer]]:
        """Answer pairs; each distinct text is tokenised once and the ids are joined."""
        texts = list(dict.fromkeys(text for r in requests for text in (r.query, r.document)))
        ids = dict(zip(texts, self._tokens.encode(texts), strict=True))
        frame = self._tokens.pair
        works = []
        for index, request in enumerate(requests):
            query, document = ids[request.query], ids[request.document]
            whole = frame.around(query, document)
            works.append(Work(index, whole, len(whole), frame.segments(query, document)))
        return self._answer(works)

    def prompts(self, requests: Sequence[Score]) -> Iterator[tuple[int, Answer]]:
        """Answer rendered sequences."""
        rendered = self._tokens.prompts([r.prompt for r in requests], closed=True)
        return self._answer([Work(i, r.ids, len(r.ids)) for i, r in enumerate(rendered)])

    def _answer(self, works: Sequence[Work]) -> Iterator[tuple[int, Answer]]:
        fitting = []
        for work in works:
            failure = too_long(work.room, self._checkpoint.context, lower=LOWER)
            if failure is None:
                fitting.append(work)
            else:
                yield work.index, failure
        yield from self._batcher.run(fitting, self._forward)

    def _forward(self, batch: Sequence[Work]) -> list[Answer]:
        padded = pad(batch, left=self._left, device=self._device, pad_id=self._tokens.pad_id)
        if self._left and hasattr(self.model, "score"):
            # The model's own forward looks for the last token that is not the padding id, and so
            # misses the end of a text that really ends in that id.
            base = self.model.base_model
            states = base(padded.ids, attention_mask=padded.mask, position_ids=padded.positions)
            logits = self.model.score(states.last_hidden_state[:, -1])
        else:
            segments = {} if padded.types is None else {"token_type_ids": padded.types}
            logits = self.model(padded.ids, attention_mask=padded.mask, **segments).logits
        return _replies(logits, [work.room for work in batch])


def _replies(logits: torch.Tensor, lengths: Sequence[int]) -> list[Answer]:
    rows = [tuple(row) for row in logits.float().reshape(len(lengths), -1).tolist()]
    return [
        sound(row, Logits(row, prompt_tokens=length))
        for row, length in zip(rows, lengths, strict=True)
    ]


class ComposedPairs:
    """A sentence-transformers CrossEncoder that is more than a plain classification head.

    Causal language models with a score of two logits, chat templates with query and document roles,
    encoders with pooling and dense layers: the library prepares and scores, we cut the batches.
    """

    def __init__(self, checkpoint: Checkpoint, batcher: Batcher) -> None:
        import torch
        from sentence_transformers import CrossEncoder

        options, place = checkpoint.options, checkpoint.place
        if options.adapter:
            raise EngineFault(f"model {place.name} takes no adapter: it is more than one module")
        with quiet():
            self.model = CrossEncoder(
                place.source,
                revision=place.revision,
                device=device_of(options),
                trust_remote_code=options.trust_remote_code,
                model_kwargs={"torch_dtype": getattr(torch, dtype_of(options))},
            ).eval()
        self._context, self._batcher = checkpoint.context, batcher
        self._prompt = self.model.prompts.get(self.model.default_prompt_name or "")

    def pairs(self, requests: Sequence[PairScore]) -> Iterator[tuple[int, Answer]]:
        """Answer pairs; they are prepared twice, once alone to learn their length."""
        works = []
        for index, request in enumerate(requests):
            ids = self._prepare([request])["input_ids"][0].tolist()
            failure = too_long(len(ids), self._context, lower=LOWER)
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
        return _replies(self.model(features)["scores"], [work.room for work in batch])


def is_composed(checkpoint: Checkpoint) -> bool:
    """Whether `CrossEncoder` would do more with this checkpoint than run its classification head.

    That is so for several modules, saved prompts, or a chat template that would wrap the pair.
    """
    saved = _small_json(checkpoint, "config_sentence_transformers.json") or {}
    if saved.get("model_type") != "CrossEncoder":
        classifier = checkpoint.architecture.endswith("ForSequenceClassification")
        return classifier and bool(checkpoint.tokenizer.chat_template)
    modules = _small_json(checkpoint, "modules.json") or []
    templated = bool(checkpoint.tokenizer.chat_template)
    return len(modules) > 1 or templated or bool(saved.get("default_prompt_name"))


def module_types(checkpoint: Checkpoint) -> list[str]:
    """Last names of the sentence-transformers modules that a checkpoint lists, if it does."""
    modules = _small_json(checkpoint, "modules.json") or []
    return [str(module["type"]).rsplit(".", 1)[-1] for module in modules]


def _small_json(checkpoint: Checkpoint, name: str) -> Any:
    """A JSON file beside the config, or None where the checkpoint has none."""
    import json

    from transformers.utils import cached_file

    path = cached_file(
        checkpoint.place.source,
        name,
        revision=checkpoint.place.revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    if path is None:
        return None
    with open(path, encoding="utf-8") as stream:  # noqa: PTH123 - cached_file returns a string
        return json.load(stream)
