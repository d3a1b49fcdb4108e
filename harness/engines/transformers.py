"""The engine that runs a model in this process with Hugging Face transformers, on CPU or GPU."""

from __future__ import annotations

import functools
import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import BadOption, EngineFault
from ..types import (
    AnyRequest,
    Embed,
    Failure,
    Fitted,
    Generate,
    Likelihood,
    NextToken,
    PairScore,
    Reply,
    Score,
)
from .batches import Answer, Batcher
from .encoder import Encoder, MaxSim
from .generation import Writer
from .identity import describe, packages
from .language import LanguageModel
from .loading import Checkpoint, Task, device_of, load_model, no_language_model, open_checkpoint
from .pairs import Classifier, ComposedPairs, no_pair_head, pair_head, require_pair_text
from .pairtemplate import PairTemplate
from .tokens import Tokens
from .works import Works

if TYPE_CHECKING:
    from . import EngineOptions

FORMAT = 2
"""Version of the replies; it is raised when an equal request would be answered differently."""

HEADS = ("classifier", "maxsim")
T = TypeVar("T")
Answers = Callable[[Sequence[Any]], Iterator[tuple[int, Answer]]]


class TransformersEngine:
    """Answers requests with one checkpoint; its weights load at the first request.

    `fit` and `identity` read config and tokenizer only. A request type that the checkpoint has no
    head for raises EngineFault before any weights are loaded. Replies come batch by batch.
    """

    name = "transformers"

    def __init__(self, options: EngineOptions) -> None:
        if options.head is not None and options.head not in HEADS:
            raise BadOption(f"head {options.head!r} is none of {', '.join(HEADS)}")
        self.options = options
        self.startup_seconds = 0.0
        self._answers: dict[type, Answers] = {
            PairScore: lambda requests: self._pairs.pairs(requests),
            Score: lambda requests: self._classifier.prompts(requests),
            NextToken: lambda requests: self._language.next_tokens(requests),
            Likelihood: lambda requests: self._language.likelihoods(requests),
            Generate: lambda requests: self._writer.generate(requests),
            Embed: lambda requests: self._encoder.embed(requests),
        }

    def supports(self, asks: frozenset[type]) -> bool:
        """Whether all types are known; whether the model has the head shows at the first use."""
        return asks <= self._answers.keys()

    @functools.cached_property
    def identity(self) -> Mapping[str, str]:
        """Everything a reply depends on; reads config, tokenizer and the ends of weight files."""
        found = {**describe(self.checkpoint), "head": self._head}
        told = {key: value for key, value in found.items() if value is not None}
        if self._head == "composed":
            told["composed_by"] = packages(("sentence-transformers",))
        version = metadata.version("transformers")
        return {"engine": self.name, "format": str(FORMAT), "version": version, **told}

    def fit(self, texts: Sequence[str], max_tokens: int | None) -> list[Fitted]:
        """Cut texts with the model's own tokenizer; its special tokens are made harmless."""
        return self._tokens.fit(texts, max_tokens)

    def answer(self, requests: Sequence[AnyRequest]) -> Iterator[tuple[int, Reply | Failure]]:
        """Yield (index, reply or failure) as batches finish, kind by kind, longest first.

        Raises EngineFault for what no request can cure: a missing head, a label of two tokens.
        """
        by_kind: dict[type, list[int]] = {}
        for index, request in enumerate(requests):
            by_kind.setdefault(type(request), []).append(index)
        for kind, places in by_kind.items():
            if kind not in self._answers:
                raise EngineFault(f"the transformers engine cannot answer {kind.__name__}")
            for number, reply in self._answers[kind]([requests[i] for i in places]):
                yield places[number], reply

    def close(self) -> None:
        """Give the model's memory back; the next request would load it anew."""
        for part in ("_classifier", "_composed", "_maxsim", "_encoder", "_causal", "_language"):
            self.__dict__.pop(part, None)
        self.__dict__.pop("_writer", None)
        gc.collect()
        _empty_gpu()

    def forget(self) -> None:
        """Drop texts that were encoded before: a repeated run costs what the first did."""
        self.__dict__.pop("_maxsim", None)

    # What is read or loaded when it is first needed

    @functools.cached_property
    def checkpoint(self) -> Checkpoint:
        """The model's config and tokenizer."""
        return open_checkpoint(self.options)

    @functools.cached_property
    def _tokens(self) -> Tokens:
        return Tokens(self.checkpoint.tokenizer, name=self.checkpoint.name)

    @functools.cached_property
    def _works(self) -> Works:
        given = self.options.pair_template is not None
        template = PairTemplate.of(self.checkpoint) if given else None
        return Works(self._tokens, self.checkpoint.context, template)

    @functools.cached_property
    def batcher(self) -> Batcher:
        """Cuts the batches, and knows how much of them was padding."""
        return Batcher(self.options.max_num_batched_tokens or self._default_budget())

    def _default_budget(self) -> int:
        """Padded tokens a batch: what two CPU cores do best; a GPU halves what does not fit."""
        return 1_024 if device_of(self.options).startswith("cpu") else 16_384

    @functools.cached_property
    def _head(self) -> str:
        """How pairs are scored: the option, else what the checkpoint was saved as."""
        return pair_head(self.checkpoint)

    @property
    def _pairs(self) -> Classifier | ComposedPairs | MaxSim:
        if self._head == "none":
            raise no_pair_head(self.checkpoint)
        if self._head == "composed":
            return self._composed
        return self._maxsim if self._head == "maxsim" else self._classifier

    @functools.cached_property
    def _classifier(self) -> Classifier:
        return self._timed(lambda: Classifier(self.checkpoint, self._works, self.batcher))

    @functools.cached_property
    def _composed(self) -> ComposedPairs:
        require_pair_text(self.checkpoint)
        return self._timed(lambda: ComposedPairs(self.checkpoint, self.batcher))

    @functools.cached_property
    def _maxsim(self) -> MaxSim:
        return MaxSim(self._encoder, self.checkpoint)

    @functools.cached_property
    def _encoder(self) -> Encoder:
        # An adapter of a language model names its layers as they are below the language head.
        causal = self.checkpoint.architecture.endswith("ForCausalLM")
        model = self._causal.base_model if causal else self._loaded("encoder")
        return Encoder(model, self.checkpoint, self._works, self.batcher)

    @functools.cached_property
    def _causal(self) -> Any:
        return self._loaded("causal")

    def _loaded(self, task: Task) -> Any:
        return self._timed(lambda: load_model(self.checkpoint, task))

    def _timed(self, load: Callable[[], T]) -> T:
        """What `load` loads; its seconds are kept apart from those of answering."""
        started = time.perf_counter()
        found = load()
        self.startup_seconds += time.perf_counter() - started
        return found

    @functools.cached_property
    def _language(self) -> LanguageModel:
        if not self.checkpoint.decoder:
            raise no_language_model(self.checkpoint)
        return LanguageModel(self._causal, self.checkpoint, self._works, self.batcher)

    @functools.cached_property
    def _writer(self) -> Writer:
        return Writer(self._language)


def _empty_gpu() -> None:
    import sys

    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
