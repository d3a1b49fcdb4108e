"""A query and a document scored together by a model's own head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import EngineFault
from ..quiet import quiet
from ..types import Logits, PairScore, Score
from .batches import Answer, Batcher, Work, pad, sound, too_long
from .loading import Checkpoint, device_of, dtype_of, load_model
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
        return _replies(self.model(features)["scores"], [work.room for work in batch])


@dataclass(frozen=True)
class PairTemplate:
    """A chat template with query and document roles, as sentence-transformers calls it.

    `system` is the prompt that the checkpoint was saved with, if it was.
    """

    tokenizer: Any
    system: str | None = None

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> PairTemplate:
        """Read it off a checkpoint; EngineFault where scoring takes more than a template."""
        saved = _small_json(checkpoint, "config_sentence_transformers.json") or {}
        if len(module_types(checkpoint)) > 1 or not checkpoint.tokenizer.chat_template:
            raise EngineFault(
                f"model {checkpoint.name} is more than a classification head; "
                "use --engine transformers"
            )
        prompts = saved.get("prompts") or {}
        found = cls(checkpoint.tokenizer, prompts.get(saved.get("default_prompt_name")))
        shown = found.render("querytext", "documenttext")
        if "querytext" not in shown or "documenttext" not in shown:
            raise EngineFault(
                f"the chat template of {checkpoint.name} has no query and document roles; "
                "use a pointwise reranker with the prompt it was trained on"
            )
        return found

    def render(self, query: str, document: str) -> str:
        """The pair as one text."""
        turns = [{"role": "query", "content": query}, {"role": "document", "content": document}]
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return str(self.tokenizer.apply_chat_template([*system, *turns], tokenize=False))


def pair_head(checkpoint: Checkpoint) -> str:
    """How a checkpoint scores pairs: `classifier`, `composed`, `maxsim`, or `none`.

    The option `head` goes before what the checkpoint was saved as; but where a head is asked for,
    `composed` is how such a checkpoint's own head works.
    """
    asked = checkpoint.options.head
    if asked in {None, "classifier"} and is_composed(checkpoint):
        return "composed"
    if asked is not None:
        return asked
    if checkpoint.architecture.endswith("ForSequenceClassification"):
        return "classifier"
    return "none" if checkpoint.decoder or checkpoint.config.is_encoder_decoder else "maxsim"


def no_pair_head(checkpoint: Checkpoint) -> EngineFault:
    """The error for a model that cannot score pairs."""
    return EngineFault(
        f"model {checkpoint.name} ({checkpoint.architecture}) has no head for pairs; "
        "use a cross-encoder or an encoder, or a pointwise reranker for this model"
    )


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
