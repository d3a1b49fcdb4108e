"""An engine that only counts: what a model would read and write, and what that costs a GPU."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..engines import EngineOptions, overlap
from ..errors import BadOption, EngineFault, MissingExtra
from ..reranking import (
    Gpu,
    Shape,
    decode_flops,
    decode_seconds,
    find_shape,
    prefill_seconds,
    sequence_flops,
)
from ..types import Embed, Failure, Fitted, Generate, Likelihood, NextToken, PairScore

if TYPE_CHECKING:
    from ..engines import Checkpoint, Works
    from ..types import AnyRequest, Reply

_WITHOUT = (
    "to plan without it, let the tokenizer of a model at hand stand in, and name the sizes: "
    "NAME:model=smollm2 with --shape Qwen3-4B"
)


@dataclass(frozen=True)
class Reader:
    """How a model reads requests, and its sizes; `stand_in` if its tokenizer is another model's."""

    checkpoint: Checkpoint
    works: Works
    shape: Shape
    head: str
    stand_in: bool

    def require(self, kind: type) -> None:
        """Raise EngineFault for a request type that the model has no head for, as engines do."""
        from ..engines import no_language_model, no_pair_head, require_pair_text

        if self.stand_in:
            return
        if kind in {NextToken, Generate, Likelihood} and not self.checkpoint.decoder:
            raise no_language_model(self.checkpoint)
        bare = not self.checkpoint.architecture.endswith("ForSequenceClassification")
        headless = bare and self.head == "classifier" and not self.checkpoint.options.adapter
        if kind is PairScore and (headless or self.head == "none"):
            raise no_pair_head(self.checkpoint)
        if kind is PairScore and self.head == "composed":
            require_pair_text(self.checkpoint)


def open_reader(options: EngineOptions, shape: str | None) -> Reader:
    """Open a model's config and tokenizer; with `shape` its sizes are those of that shape instead.

    Raises EngineFault where the model is not at hand or its sizes cannot be read.
    """
    from ..engines import PairTemplate, Tokens, Works, open_checkpoint, pair_head

    model = options.tokenizer or options.model
    if not model:
        raise BadOption("a plan counts a model's tokens, whatever the engine: give --model")
    try:
        checkpoint = open_checkpoint(replace(options, model=model))
    except MissingExtra:
        raise
    except EngineFault as error:
        raise EngineFault(f"{error}\n{_WITHOUT}") from error
    name = checkpoint.name.rstrip("/").rpartition("/")[2]
    sizes = find_shape(shape) if shape else Shape.of(checkpoint.config.to_dict(), name=name)
    way = (options.head or "classifier") if shape else pair_head(checkpoint)
    own = shape is None or options.pair_template is not None
    template = PairTemplate.find(checkpoint) if own else None
    context = (options.max_model_len or sys.maxsize) if shape else checkpoint.context
    works = Works(Tokens(checkpoint.tokenizer, name=name), context, template)
    return Reader(checkpoint, works, sizes, way, stand_in=shape is not None)


@dataclass(frozen=True, slots=True)
class Reading:
    """One sequence to be read, and what is to come of it.

    logits: positions at which the language head is asked. fixed: how many of the first tokens a
    prefix cache may serve. written: tokens of the answer.
    """

    ids: Sequence[int]
    logits: int
    fixed: int
    written: int = 0

    @property
    def steps(self) -> int:
        """Tokens to write after the one that comes of reading."""
        return max(self.written - 1, 0)

    @property
    def context(self) -> float:
        """Tokens that are looked at, on the average of the steps."""
        return len(self.ids) + self.written / 2


class PrefixBlocks:
    """Full blocks of tokens, each known by all tokens up to its end, as in vLLM's prefix cache."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise BadOption(f"--block must be at least 1, not {size}")
        self._size = size
        self._known: set[int] = set()

    def read(self, ids: Sequence[int], fixed: int) -> int:
        """Remember `ids`; return how many of their first `fixed` tokens lay in known blocks."""
        size, chain, held, hit = self._size, 0, 0, True
        for start in range(0, len(ids) - size + 1, size):
            chain = hash((chain, *ids[start : start + size]))
            hit = hit and chain in self._known
            held += size * hit
            self._known.add(chain)
        return min(held, fixed // size * size)


@dataclass
class Tally:
    """What was counted: calls answered for the first time, tokens they read, operations.

    `writes` are those that generate, `rounds_of_writes` how often some were asked together.
    `alone` are the seconds of one query after another, and `flops_of_all` all operations without a
    prefix cache; in these two, calls answered before are counted like any other.
    """

    calls: int = 0
    read: int = 0
    cached: int = 0
    flops: float = 0.0
    flops_cached: float = 0.0
    flops_of_all: float = 0.0
    alone: float = 0.0
    writes: list[Reading] = field(default_factory=list)
    rounds_of_writes: int = 0

    def add(self, reading: Reading, held: int, shape: Shape) -> None:
        """Count a sequence of which a cache holds the first `held` tokens."""
        size, logits = len(reading.ids), reading.logits
        self.read += size
        self.cached += held
        self.flops += sequence_flops(shape, size, logits=logits)
        self.flops_cached += sequence_flops(shape, size, cached=held, logits=logits)
        self.writes += [reading] * (reading.steps > 0)


class CountingEngine:
    """Answers from word overlap, and counts what a model of the reader's sizes would have to do.

    Each call of `answer` is taken for one round of one query. `known` are the hashes of requests
    answered before; they are added to, and cost nothing again, as a run's reply cache has them.
    """

    name = "plan"

    def __init__(self, reader: Reader, gpu: Gpu, *, block: int, known: set[int]) -> None:
        self.identity: Mapping[str, str] = {"engine": self.name}
        self.reader, self.gpu, self.tally = reader, gpu, Tally()
        self._blocks, self._known = PrefixBlocks(block), known
        self._encoded: set[str] = set()

    def supports(self, asks: frozenset[type]) -> bool:
        """Say yes: what has no answer fails as it is asked."""
        return True

    def fit(self, texts: Sequence[str], max_tokens: int | None) -> list[Fitted]:
        """Cut texts with the tokenizer, as every engine does."""
        return self.reader.works.tokens.fit(texts, max_tokens)

    def close(self) -> None:
        """Do nothing: no weights were loaded."""

    def answer(self, requests: Sequence[AnyRequest]) -> Iterator[tuple[int, Reply | Failure]]:
        """Answer kind by kind; a request that an engine would refuse is a Failure."""
        kinds: dict[type, list[int]] = {}
        for index, request in enumerate(requests):
            kinds.setdefault(type(request), []).append(index)
        asked: list[tuple[AnyRequest, Sequence[Reading]]] = []
        for kind, places in kinds.items():
            self.reader.require(kind)
            part = [requests[i] for i in places]
            for number, reply, readings in self._read(kind, part):
                asked.append((part[number], readings))
                yield places[number], reply
        self._charge(asked)

    def _read(
        self, kind: type, requests: Sequence[Any]
    ) -> Iterator[tuple[int, Reply | Failure, Sequence[Reading]]]:
        """Yield each request's number, its reply, and what is to be read for it."""
        if kind is PairScore and self.reader.head == "maxsim":
            yield from self._encode(requests)
            return
        # Another model's labels need not be one token of the tokenizer that stands in for its own.
        bare = kind is NextToken and self.reader.stand_in
        asked = [replace(r, labels=()) for r in requests] if bare else requests
        prepared = self.reader.works.of(kind, asked)
        for index, settled in prepared.settled:
            yield index, settled, ()
        replies = {work.index: overlap(requests[work.index]) for work in prepared.works}
        written = self._written(requests, replies) if kind is Generate else {}
        for work in prepared.works:
            size, tokens = len(work.ids), written.get(work.index, 0)
            logits, last = _positions(requests[work.index], work.request, size)
            fixed = size - last if self.reader.shape.causal else 0
            reading = Reading(work.ids, logits, fixed, tokens)
            counted = {"prompt_tokens": size} | ({"output_tokens": tokens} if tokens else {})
            reply: Any = replies[work.index]
            yield work.index, replace(reply, **counted), (reading,)

    def _written(self, requests: Sequence[Generate], replies: Mapping[int, Any]) -> dict[int, int]:
        """Tokens of each answer and the end token behind it, but no more than were asked for."""
        ids = self.reader.works.tokens.encode([reply.text for reply in replies.values()])
        return {
            index: min(len(text) + 1, requests[index].max_tokens)
            for index, text in zip(replies, ids, strict=True)
        }

    def _encode(
        self, requests: Sequence[PairScore]
    ) -> Iterator[tuple[int, Reply | Failure, Sequence[Reading]]]:
        """Late interaction: each distinct text is read once, and no pair is read at all."""
        texts = list(dict.fromkeys(text for r in requests for text in (r.query, r.document)))
        prepared = self.reader.works.texts(texts)
        refused = {texts[index]: answer for index, answer in prepared.settled}
        ids = {texts[work.index]: work.ids for work in prepared.works}
        for index, request in enumerate(requests):
            pair = (request.query, request.document)
            failure = next((refused[text] for text in pair if text in refused), None)
            if failure is not None:
                yield index, failure, ()
                continue
            new = [text for text in dict.fromkeys(pair) if text not in self._encoded]
            self._encoded.update(new)
            reply: Any = overlap(request)
            tokens = sum(len(ids[text]) for text in pair)
            readings = [Reading(ids[text], logits=0, fixed=0) for text in new]
            yield index, replace(reply, prompt_tokens=tokens), readings

    def _charge(self, asked: Sequence[tuple[AnyRequest, Sequence[Reading]]]) -> None:
        """Count one round: what is new goes to the tally, all of it to a query that is alone."""
        shape, tally, alone = self.reader.shape, self.tally, Tally()
        written = len(tally.writes)
        for request, readings in asked:
            new = hash(request) not in self._known
            tally.calls += new
            for reading in readings:
                held = self._blocks.read(reading.ids, reading.fixed)
                for counted in (alone, tally) if new else (alone,):
                    counted.add(reading, held, shape)
        self._known.update(hash(request) for request, _ in asked)
        tally.rounds_of_writes += len(tally.writes) > written
        if alone.read:
            steps, context = steps_and_context(alone.writes)
            writing = writing_seconds(alone.writes, shape, self.gpu, at_once=len(alone.writes))
            tally.alone += prefill_seconds(alone.flops_cached, shape, self.gpu) + writing
            tally.flops_of_all += alone.flops + decode_flops(shape, steps, context=context)


def writing_seconds(writes: Sequence[Reading], shape: Shape, gpu: Gpu, *, at_once: float) -> float:
    """Seconds to write all of `writes`, `at_once` side by side, behind their mean context."""
    steps, context = steps_and_context(writes)
    return decode_seconds(shape, gpu, steps, batch=at_once, context=context)


def steps_and_context(writes: Sequence[Reading]) -> tuple[int, float]:
    """Steps in all, and the tokens that are looked at in the mean of them."""
    steps = sum(reading.steps for reading in writes)
    seen = sum(reading.steps * reading.context for reading in writes)
    return steps, seen / steps if steps else 0.0


def _positions(request: AnyRequest, read_off: Any, length: int) -> tuple[int, int]:
    """Positions at which a language head is asked, and how many of the last must be computed."""
    if isinstance(request, NextToken | Generate):
        return 1, 1
    if isinstance(request, Likelihood):  # the first of the continuation is predicted before it
        return len(read_off), len(read_off) + 1
    pooled = isinstance(request, Embed) and request.pooling != "last"
    return 0, length if pooled else 1
