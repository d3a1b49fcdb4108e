"""The engine that runs a model in this process with Hugging Face transformers, on CPU or GPU.

In: requests, and the name of a checkpoint. Out: replies, batch by batch.
"""

from __future__ import annotations

import functools
import gc
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING, Any

from ...errors import EngineFault
from ...types import (
    Answers,
    AnyRequest,
    Attend,
    Embed,
    Fitted,
    Fuse,
    FuseScore,
    Generate,
    Likelihood,
    NextToken,
    PairScore,
    Statistics,
    Vectors,
    batched,
)
from ..checkpoint import (
    Checkpoint,
    no_encoder_decoder,
    no_language_model,
    open_checkpoint,
    refuse_encoder_decoder,
)
from ..colbert import is_plain
from ..encoder_decoder import preparer_of
from ..hardware import machine
from ..identity import describe, packages
from ..languages import Adapters, find_adapters
from ..late import Encode
from ..lru import LruCache
from ..maxsim import MaxSim
from ..pairing import (
    PairTemplate,
    config_of_calls,
    no_pair_head,
    pair_head,
    pair_tokens,
    require_pair_text,
)
from ..pooling import pooling_of
from ..prepare import Numbered, Preparer, by_kind
from .options import TransformersOptions
from .sharing import Sharing

if TYPE_CHECKING:
    from .batches import Batcher
    from .forwards import Forward
    from .loading import LoadedModel, Task

FORMAT = 2
"""Version of the replies; it is raised when an equal request would be answered differently."""

HEADS = ("classifier", "maxsim")
KEPT_BYTES = 256 << 20
"""Of vectors of texts, as base64; a query's hundred documents take at most 3 MB."""

_KINDS = frozenset({
    Attend, Embed, Fuse, FuseScore, Generate, Likelihood, NextToken, PairScore,
})  # fmt: skip


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
        self._sharing = Sharing(wanted=options.share_prefixes)
        self._loaded: dict[Task, LoadedModel] = {}

    def supports(self, kinds: frozenset[type]) -> bool:
        """Return whether all types are known; whether the model has the head shows later."""
        return kinds <= _KINDS

    @functools.cached_property
    def identity(self) -> Mapping[str, str]:
        """Everything a reply depends on; reads config, tokenizer and the ends of weight files."""
        found = {**describe(self.checkpoint), "head": self._head, **self._adapters.identity}
        known = {key: value for key, value in found.items() if value is not None}
        if self._head == "composed":
            known["composed_by"] = packages(("sentence-transformers",))
        if self._head == "maxsim" and not is_plain(self.checkpoint):
            known["late"] = "3"  # 2: markers and expansion are read; 3: words that are not tokens
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
            in_effect=self._sharing.in_effect,
            config=self._config,
            leading_tokens=self.checkpoint.added_tokens,
        )

    @functools.cached_property
    def pair_tokens(self) -> int | None:
        """The tokens of both texts of a pair that the model's context holds."""
        apart = self._head == "maxsim"
        return None if apart else pair_tokens(self.checkpoint, self.checkpoint.context)

    def fit(self, texts: Sequence[str], max_tokens: int | None) -> list[Fitted]:
        """Cut texts with the model's own tokenizer."""
        return self.checkpoint.tokens.fit(texts, max_tokens)

    @batched
    def stream(self, requests: Sequence[AnyRequest]) -> Answers:
        """Answer what is ready, type by type, in batches of similar lengths.

        Raises EngineFault for what would fail every request: a missing head, a label of two tokens.
        """
        for kind, numbered in by_kind(list(enumerate(requests))).items():
            if kind not in _KINDS:
                raise EngineFault(f"the transformers engine cannot answer {kind.__name__}")
            of_kind = {PairScore: self._pairs, Embed: self._embeddings}
            answer = of_kind.get(kind, functools.partial(self._answer, kind))
            yield from answer(numbered)

    def close(self) -> None:
        """Release the model's memory; the next request would load it again."""
        self.forget()
        if not self._loaded:
            return  # where all replies were in the cache, a collection takes longer than the rest
        self._loaded.clear()
        gc.collect()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()

    def forget(self) -> None:
        """Drop the vectors and token ids of texts that were read before."""
        self.__dict__.pop("_maxsim", None)
        self.__dict__.pop("_vectors", None)
        if "checkpoint" in self.__dict__:
            self.checkpoint.tokens.forget()

    # Answering

    def _embeddings(self, numbered: Numbered) -> Answers:
        """Embed each distinct text once, as long as its vectors are kept."""
        refuse_encoder_decoder(self.checkpoint)
        new = {index: request for index, request in numbered if request not in self._vectors}
        for index, request in numbered:
            if index not in new:
                yield index, self._vectors.get(request)
            elif isinstance(request.pooling, str):
                pooling_of(request, self.checkpoint)  # a refusal comes before weights are loaded
        for index, answer in self._answer(Embed, list(new.items())):
            if isinstance(answer, Vectors):
                self._vectors.put(new[index], answer, len(answer.data))
            yield index, answer

    def _pairs(self, numbered: Numbered) -> Answers:
        from .pairs import prepare_composed, score_composed

        if self._head == "none":
            raise no_pair_head(self.checkpoint)
        if self._head == "maxsim":
            yield from self._maxsim.answer(numbered)
        elif self._head == "composed":
            require_pair_text(self.checkpoint)
            self._adapters.refuse(self.checkpoint.name)
            model = self._load("composed")
            todo, done = prepare_composed(model, numbered)
            yield from done
            yield from self.batcher.run(todo, functools.partial(score_composed, model))
        else:
            yield from self._answer(PairScore, numbered)

    def _answer(self, kind: type, numbered: Numbered) -> Answers:
        """Prepare requests of one type and run them; the model is loaded after the refusals."""
        task, forward = self._forward(kind)
        todo, done = self._preparer.prepare(numbered)
        parts, refused = self._adapters.split(todo)
        yield from (*done, *refused)
        for adapter, part in parts.items():
            model = self._load(task)
            model.use_adapter(adapter)
            yield from self._sharing.run(kind, model, part, forward, self.batcher)

    def _forward(self, kind: type) -> Forward:
        """Return what is loaded for `kind` and answers it; raises EngineFault without its head."""
        from .forwards import ENCODER_DECODER, FORWARDS

        found = (ENCODER_DECODER if self.checkpoint.encoder_decoder else FORWARDS)[kind]
        if found[0] == "causal" and not self.checkpoint.decoder:
            raise no_language_model(self.checkpoint)
        if found[0] == "seq2seq" and not self.checkpoint.encoder_decoder:
            raise no_encoder_decoder(self.checkpoint)
        return found

    def _load(self, task: Task) -> LoadedModel:
        """Return the network for `task`, loaded once; the seconds of loading are kept apart."""
        from .loading import load
        from .projection import load_projection

        adapted = self.options.adapter is not None or bool(self._adapters.places)
        if task == "encoder" and adapted and self.checkpoint.architecture.endswith("ForCausalLM"):
            # An adapter of a language model names its layers as they are below the language head.
            whole = self._load("causal")
            projection = load_projection(self.checkpoint)
            return replace(whole, network=whole.network.base_model, projection=projection)
        if task not in self._loaded:
            started = time.perf_counter()
            self._loaded[task] = load(self.checkpoint, task, self._adapters.places)
            self._loading_seconds += time.perf_counter() - started
        return self._loaded[task]

    # What is read when it is first needed

    @functools.cached_property
    def checkpoint(self) -> Checkpoint:
        """The model's config and tokenizer."""
        return open_checkpoint(self.options, device=self.options.device)

    @functools.cached_property
    def _adapters(self) -> Adapters:
        """The adapters by language, of the model or of the option `language_adapters`."""
        options = self.options
        return find_adapters(
            self.checkpoint,
            language=options.language,
            folder=options.language_adapters,
            pair_side=options.pair_language,
        )

    @functools.cached_property
    def _config(self) -> Mapping[str, Any] | None:
        return config_of_calls(self.checkpoint)

    @functools.cached_property
    def _preparer(self) -> Preparer:
        given = self.options.pair_template is not None
        template = PairTemplate.of(self.checkpoint) if given else None
        return preparer_of(self.checkpoint, self.checkpoint.context, template)

    @functools.cached_property
    def batcher(self) -> Batcher:
        """Cuts the batches, and counts how much of them was padding.

        By default as many padded tokens as two CPU cores do best; a GPU halves what does not fit.
        """
        from .batches import Batcher

        usual = 1_024 if self.checkpoint.device.startswith("cpu") else 16_384
        return Batcher(self.options.max_num_batched_tokens or usual)

    @functools.cached_property
    def _head(self) -> str:
        """How pairs are scored: the option, else what the checkpoint was saved as."""
        return pair_head(self.checkpoint)

    @functools.cached_property
    def _vectors(self) -> LruCache[AnyRequest, Vectors]:
        return LruCache(KEPT_BYTES)

    @functools.cached_property
    def _maxsim(self) -> MaxSim:
        by_language = bool(self._adapters.names)
        encode = functools.partial(self._answer, Encode)
        return MaxSim(encode, self.checkpoint, by_language=by_language)
