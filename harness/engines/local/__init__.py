"""The engine that runs a model in this process with Hugging Face transformers, on CPU or GPU.

In: requests, and the name of a checkpoint. Out: replies, batch by batch.
"""

from __future__ import annotations

import functools
import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, TypeVar

from ...errors import EngineFault
from ...types import (
    Answers,
    AnyRequest,
    Failure,
    Fitted,
    Generate,
    Likelihood,
    NextToken,
    PairScore,
    Statistics,
    batched,
)
from ..checkpoint import Checkpoint, no_language_model, open_checkpoint
from ..hardware import machine
from ..identity import describe, packages
from ..maxsim import MaxSim
from ..options import ModelOptions
from ..pairing import PairTemplate, config_of_calls, no_pair_head, pair_head, require_pair_text
from ..prepare import Numbered, Preparer, by_kind
from .batches import Batcher, Forward
from .encoder import Encoder
from .generation import NO_PATTERN, Writer
from .language import LanguageModel
from .loading import Task, load_model
from .pairs import Classifier, ComposedPairs

FORMAT = 2
"""Version of the replies; it is raised when an equal request would be answered differently."""

HEADS = ("classifier", "maxsim")
KINDS = frozenset({PairScore, NextToken, Likelihood, Generate})
_LOADED = ("_classifier", "_composed", "_maxsim", "_encoder", "_causal", "_language", "_writer")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class TransformersOptions(ModelOptions):
    """Options of engine transformers. device: `cpu`, `cuda`, `cuda:1`, `mps`."""

    device: str | None = None


class TransformersEngine:
    """A model in this process, on CPU or GPU.

    `fit` and `identity` read config and tokenizer only; weights load at the first request. A
    request type that the checkpoint has no head for raises EngineFault before any weights are
    loaded.
    """

    Options = TransformersOptions
    name = "transformers"
    is_real, exact_labels = True, True

    def __init__(self, options: TransformersOptions) -> None:
        options.require_head(HEADS)
        self.options = options
        self._loading_seconds = 0.0

    def supports(self, kinds: frozenset[type]) -> bool:
        """Return whether all types are known; whether the model has the head shows later."""
        return kinds <= KINDS

    @functools.cached_property
    def identity(self) -> Mapping[str, str]:
        """Everything a reply depends on; reads config, tokenizer and the ends of weight files."""
        found = {**describe(self.checkpoint), "head": self._head}
        known = {key: value for key, value in found.items() if value is not None}
        if self._head == "composed":
            known["composed_by"] = packages(("sentence-transformers",))
        version = metadata.version("transformers")
        return {"engine": self.name, "format": str(FORMAT), "version": version, **known}

    @property
    def hardware(self) -> Mapping[str, Any]:
        """The machine, with its GPU where the model runs on it."""
        return machine(gpus=int(self.checkpoint.device.startswith("cuda")))

    @property
    def statistics(self) -> Statistics:
        """What is known so far."""
        return Statistics(
            self._loading_seconds,
            config=self._config,
            leading_tokens=self.checkpoint.tokens.leading,
        )

    def fit(self, texts: Sequence[str], max_tokens: int | None) -> list[Fitted]:
        """Cut texts with the model's own tokenizer."""
        return self.checkpoint.tokens.fit(texts, max_tokens)

    @batched
    def stream(self, requests: Sequence[AnyRequest]) -> Answers:
        """Answer what is ready, type by type, in batches of similar lengths.

        Raises EngineFault for what would fail every request: a missing head, a label of two tokens.
        """
        for kind, numbered in by_kind(list(enumerate(requests))).items():
            if kind is PairScore:
                yield from self._pairs(numbered)
            else:
                yield from self._texts(kind, numbered)

    def close(self) -> None:
        """Release the model's memory; the next request would load it anew."""
        for part in _LOADED:
            self.__dict__.pop(part, None)
        gc.collect()
        _empty_gpu()

    def forget(self) -> None:
        """Drop the vectors of texts that were encoded before."""
        self.__dict__.pop("_maxsim", None)

    # Answering

    def _texts(self, kind: type, numbered: Numbered) -> Answers:
        """Answer what a language model answers."""
        forwards: dict[type, Callable[[], Forward]] = {
            NextToken: lambda: self._language.next_tokens,
            Likelihood: lambda: self._language.likelihoods,
            Generate: lambda: self._writer.answer,
        }
        if kind not in forwards:
            raise EngineFault(f"the transformers engine cannot answer {kind.__name__}")
        if not self.checkpoint.decoder:
            raise no_language_model(self.checkpoint)
        forced = [i for i, r in numbered if isinstance(r, Generate) and r.pattern is not None]
        yield from ((index, Failure(NO_PATTERN)) for index in forced)
        rest = [(i, r) for i, r in numbered if i not in set(forced)]
        yield from self._answer(rest, forwards[kind])

    def _pairs(self, numbered: Numbered) -> Answers:
        if self._head == "none":
            raise no_pair_head(self.checkpoint)
        if self._head == "maxsim":
            yield from self._maxsim.answer(numbered)
        elif self._head == "composed":
            todo, done = self._composed.prepare(numbered)
            yield from done
            yield from self.batcher.run(todo, self._composed.answer)
        else:
            yield from self._answer(numbered, lambda: self._classifier.answer)

    def _answer(self, numbered: Numbered, forward: Callable[[], Forward]) -> Answers:
        """Prepare requests and run them; `forward` loads the model, after the first refusals."""
        todo, done = self._preparer.prepare(numbered)
        yield from done
        yield from self.batcher.run(todo, forward())

    # What is read or loaded when it is first needed

    @functools.cached_property
    def checkpoint(self) -> Checkpoint:
        """The model's config and tokenizer."""
        return open_checkpoint(self.options, device=self.options.device)

    @functools.cached_property
    def _config(self) -> Mapping[str, Any] | None:
        return config_of_calls(self.checkpoint)

    @functools.cached_property
    def _preparer(self) -> Preparer:
        given = self.options.pair_template is not None
        template = PairTemplate.of(self.checkpoint) if given else None
        return Preparer(self.checkpoint.tokens, self.checkpoint.context, template)

    @functools.cached_property
    def batcher(self) -> Batcher:
        """Cuts the batches, and counts how much of them was padding.

        By default as many padded tokens as two CPU cores do best; a GPU halves what does not fit.
        """
        usual = 1_024 if self.checkpoint.device.startswith("cpu") else 16_384
        return Batcher(self.options.max_num_batched_tokens or usual)

    @functools.cached_property
    def _head(self) -> str:
        """How pairs are scored: the option, else what the checkpoint was saved as."""
        return pair_head(self.checkpoint)

    @functools.cached_property
    def _classifier(self) -> Classifier:
        return self._timed(lambda: Classifier(self.checkpoint, self.checkpoint.tokens.pad_id))

    @functools.cached_property
    def _composed(self) -> ComposedPairs:
        require_pair_text(self.checkpoint)
        return self._timed(lambda: ComposedPairs(self.checkpoint))

    @functools.cached_property
    def _maxsim(self) -> MaxSim:
        def encode(numbered: Numbered) -> Answers:
            return self._answer(numbered, lambda: self._encoder.answer)

        return MaxSim(encode, self.checkpoint)

    @functools.cached_property
    def _encoder(self) -> Encoder:
        # An adapter of a language model names its layers as they are below the language head.
        causal = self.checkpoint.architecture.endswith("ForCausalLM")
        model = self._causal.base_model if causal else self._loaded("encoder")
        return Encoder(model, self.checkpoint, self.checkpoint.tokens.pad_id)

    @functools.cached_property
    def _causal(self) -> Any:
        return self._loaded("causal")

    def _loaded(self, task: Task) -> Any:
        return self._timed(lambda: load_model(self.checkpoint, task))

    def _timed(self, load: Callable[[], T]) -> T:
        """Return what `load` loads; its seconds are kept apart from those of answering."""
        started = time.perf_counter()
        found = load()
        self._loading_seconds += time.perf_counter() - started
        return found

    @functools.cached_property
    def _language(self) -> LanguageModel:
        return LanguageModel(self._causal, self.checkpoint, self.checkpoint.tokens.pad_id)

    @functools.cached_property
    def _writer(self) -> Writer:
        return Writer(self._language, self.checkpoint.tokens, self.checkpoint.end_ids)


def _empty_gpu() -> None:
    import sys

    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
