"""The engine that runs a model with vLLM, in processes of its own.

In: requests, and the name of a checkpoint. Out: replies, each as soon as its process sends it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...errors import EngineFault
from ...types import (
    Answers,
    AnyRequest,
    Embed,
    Fitted,
    Generate,
    Generation,
    Likelihood,
    NextToken,
    PairScore,
    Pooling,
    Statistics,
    ready,
)
from ..checkpoint import Checkpoint, no_language_model, open_checkpoint
from ..colbert import is_plain
from ..feed import Feed
from ..hardware import machine
from ..identity import describe, vllm_environment, vllm_version
from ..late import Encode
from ..maxsim import MaxSim
from ..pairing import (
    PairTemplate,
    config_of_calls,
    no_pair_head,
    pair_head,
    pair_tokens,
    require_template,
)
from ..pooling import server_pooling, without_empty
from ..prepare import Answer, Answered, Numbered, Prepared, Preparer, by_kind
from .settings import Mode, VllmOptions, environments, visible_gpus, worker_settings
from .workers import Workers

FORMAT = 3
"""Version of the replies; it is raised when an equal request would be answered differently."""

LONGEST_CONTEXT = 32_768
"""What a context is cut to unless asked for: one such sequence must fit into the GPU's memory."""

HEADS = ("classifier", "maxsim", "labels")
MOST_LABELS = 128
"""Labels that vLLM reads at one position: MAX_LOGPROB_TOKEN_IDS of its 0.32."""

_WORKER = "rerank_bench.engines.vllm.worker"
_SHAPING = (
    "quantization", "kv_cache_dtype", "tensor_parallel_size", "block_size", "enforce_eager",
    "load_format", "seed", "vllm",
)  # fmt: skip
_MODES: Mapping[type, Mode] = {
    NextToken: "generate",
    Generate: "generate",
    Likelihood: "generate",
    PairScore: "classify",
    Encode: "tokens",
}
_POOLED: Mapping[str, Mode] = {"last": "last", "mean": "mean", "cls": "cls"}
_KINDS = (frozenset(_MODES) | {Embed}) - {Encode}


class VllmEngine:
    """A model in vLLM processes of its own; extra vllm.

    The processes start at the first request, in the mode that its type needs, and end with `close`,
    which releases all their memory. One that dies raises EngineDied. Prompts are the token ids that
    the transformers engine would feed.
    """

    Options = VllmOptions
    name = "vllm"
    is_real, exact_labels = True, True

    def __init__(self, options: VllmOptions) -> None:
        options.require_head(HEADS)
        self.options = options
        self._loading_seconds = 0.0
        self._in_effect: Mapping[str, Any] = {}
        self._workers: Workers | None = None
        self._mode: Mode | None = None
        self._label_ids: tuple[int, ...] = ()
        self._poolings: dict[Pooling, str] = {}

    def supports(self, kinds: frozenset[type]) -> bool:
        """Return whether all types are known; whether the model has the head shows later."""
        return kinds <= _KINDS

    @functools.cached_property
    def identity(self) -> Mapping[str, str]:
        """Everything a reply depends on; MissingExtra where vLLM is not installed."""
        version = vllm_version()
        found = {
            **describe(self.checkpoint),
            "attention": None,  # vLLM chooses it: its version and environment decide
            "environment": vllm_environment(),
            "head": self.head,
            "context": self.preparer.context,  # long rotary embeddings depend on it
            **{name: getattr(self.options, name) for name in _SHAPING},
        }
        known = {key: str(value) for key, value in found.items() if value is not None}
        return {"engine": self.name, "format": str(FORMAT), "version": version, **known}

    @property
    def hardware(self) -> Mapping[str, Any]:
        """The machine, with the GPUs of all processes."""
        used = self.options.data_parallel * self.options.tensor_parallel_size
        return machine(gpus=used if visible_gpus() else 0)

    @property
    def statistics(self) -> Statistics:
        """What is known so far."""
        return Statistics(
            self._loading_seconds,
            self._workers.seconds if self._workers is not None else 0.0,
            self._in_effect,
            self._config,
            self.checkpoint.tokens.leading,
        )

    @functools.cached_property
    def pair_tokens(self) -> int | None:
        """The tokens of both texts of a pair that the context in use holds."""
        apart = self.head == "maxsim"
        return None if apart else pair_tokens(self.checkpoint, self.preparer.context)

    def fit(self, texts: Sequence[str], max_tokens: int | None) -> list[Fitted]:
        """Cut texts with the model's own tokenizer."""
        return self.checkpoint.tokens.fit(texts, max_tokens)

    def stream(self, requests: Iterator[AnyRequest | None]) -> Answers:
        """Answer requests, which are drawn as the processes have room.

        Raises EngineFault for what would fail every request: a missing head, a label of two tokens.
        """
        feed = Feed(requests, self._prepare)
        return feed.answers(lambda first: self._serve(feed, first))

    def close(self) -> None:
        """End the processes; the next request would start them again."""
        if self._workers is not None:
            self._workers.close()
        self._workers, self._mode = None, None

    def forget(self) -> None:
        """Drop cached prefixes, and the vectors and token ids of texts."""
        self.__dict__.pop("_maxsim", None)
        if "checkpoint" in self.__dict__:
            self.checkpoint.tokens.forget()
        if self._workers is not None:
            self._workers.forget()

    # The model's small files

    @functools.cached_property
    def checkpoint(self) -> Checkpoint:
        """The model's config and tokenizer."""
        return open_checkpoint(self.options)

    @functools.cached_property
    def preparer(self) -> Preparer:
        """What makes token ids of requests."""
        context = min(self.checkpoint.context, self.options.max_model_len or LONGEST_CONTEXT)
        templated = self.head == "composed" or self.options.pair_template is not None
        template = PairTemplate.find(self.checkpoint) if templated else None
        # vLLM writes a token even where none is needed
        return Preparer(self.checkpoint.tokens, context, template, written=1)

    @functools.cached_property
    def head(self) -> str:
        """How pairs, or labels, are scored: the option, else what the checkpoint was saved as."""
        return pair_head(self.checkpoint)

    @functools.cached_property
    def _config(self) -> Mapping[str, Any] | None:
        return config_of_calls(self.checkpoint)

    @functools.cached_property
    def _maxsim(self) -> MaxSim:
        if not is_plain(self.checkpoint):
            raise EngineFault(
                f"model {self.checkpoint.name} has markers or a projection of its own for late "
                "interaction: use --engine transformers"
            )

        def encode(numbered: Numbered) -> Iterator[Answered]:
            todo, done = self.preparer.prepare(numbered)
            yield from done
            yield from ((one.index, vectors) for one, vectors in self._run("tokens", iter(todo)))

        return MaxSim(encode, self.checkpoint)

    # Answering

    def _mode_of(self, request: AnyRequest) -> Mode:
        """Return which of vLLM's modes answers a request; a process has one of them."""
        kind = type(request)
        if isinstance(request, Embed):
            if request.pooling not in self._poolings:
                self._poolings[request.pooling] = server_pooling(request, self.checkpoint)
            return _POOLED[self._poolings[request.pooling]]
        if _MODES[kind] == "generate" and not self.checkpoint.decoder:
            raise no_language_model(
                self.checkpoint, cure=", and vLLM runs none: use --engine transformers"
            )
        if kind is NextToken and self.head == "labels":
            return "labels"
        if kind is PairScore and self.head in {"none", "labels"}:
            raise no_pair_head(self.checkpoint)
        return _MODES[kind]

    def _prepare(self, numbered: Numbered) -> tuple[list[Prepared], list[Answered]]:
        """Prepare requests; those of late interaction are prepared text by text, later."""
        for _, request in numbered:
            self._mode_of(request)
        pairs = by_kind(numbered).get(PairScore, [])
        if pairs and self.head == "composed":
            require_template(self.checkpoint)
        late = pairs if self.head == "maxsim" else []
        todo, done = self.preparer.prepare([r for r in numbered if r not in late])
        for one in todo:
            if isinstance(one.request, NextToken):
                self._require_labels(one)
        todo, empty = without_empty(todo, self.checkpoint)
        return todo + [Prepared(index, pair, (), 0) for index, pair in late], done + empty

    def _is_late(self, one: Prepared) -> bool:
        return self.head == "maxsim" and isinstance(one.request, PairScore)

    def _require_labels(self, one: Prepared) -> None:
        """Raise EngineFault for labels that a head lacks, or that are too many to read at once."""
        if self.head != "labels":
            if len(one.labels) > MOST_LABELS:
                raise EngineFault(f"{len(one.labels)} labels, but vLLM reads {MOST_LABELS} at once")
            return
        self._label_ids = self._label_ids or self._label_head(one)
        others = set(one.labels.values()) - set(self._label_ids)
        if others:
            raise EngineFault(f"token {min(others)} is no label of the head: leave out head=labels")

    def _label_head(self, first: Prepared) -> tuple[int, ...]:
        """Return the token ids of the reranker's fixed labels, as they follow a first prompt."""
        tokens = self.checkpoint.tokens
        context = tokens.tokenizer.decode(first.ids[-16:])
        return tuple(
            first.labels[label] if label in first.labels else tokens.label_id(label, after=context)
            for label in self.options.labels
        )

    def _serve(self, feed: Feed, first: Prepared) -> Iterator[Answered]:
        """Answer ready pairs for late interaction, or what comes in the mode of `first`."""
        if self._is_late(first):
            late = ready(feed.take(self._is_late))
            yield from self._maxsim.answer([(one.index, one.request) for one in late])
            return
        mode = self._mode_of(first.request)
        taken = feed.take(lambda one: self._mode_of(one.request) == mode)
        for one, answer in self._run(mode, taken):
            if isinstance(answer, Generation):
                tokens = self.checkpoint.tokens
                text = tokens.text(answer.tokens, stop=one.request.stop)
                answer = replace(answer, text=text, pieces=tokens.pieces(answer.tokens))
            yield one.index, answer

    def _run(
        self, mode: Mode, requests: Iterator[Prepared | None]
    ) -> Iterator[tuple[Prepared, Answer]]:
        """Have the processes answer; whatever stops it ends them: what is under way is lost."""
        try:
            yield from self._started(mode).run(requests)
        except BaseException:
            self.close()
            raise

    def _started(self, mode: Mode) -> Workers:
        if self._mode != mode:
            self.close()
        if self._workers is None:
            context, label_head = self.preparer.context, self._label_ids
            self._workers = Workers(
                _WORKER,
                worker_settings(self.checkpoint, self.options, mode, context, label_head),
                environments=environments(self.options),
                what=f"vLLM with {self.checkpoint.name}",
            )
            self._mode = mode
            self._loading_seconds += self._workers.start_seconds
            first, *others = self._workers.processes
            self._in_effect = {"data_parallel": 1 + len(others), **first.in_effect}
        return self._workers
