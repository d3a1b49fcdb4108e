"""An engine that counts what a model would read and write, and what that costs a GPU."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..engines import Encode, FakeEngine, Prepared, overlap, pair_tokens, sides_of
from ..errors import BadOption
from ..reranking import (
    Gpu,
    Shape,
    decode_flops,
    decode_seconds,
    encoded_flops,
    prefill_seconds,
    sequence_flops,
)
from ..types import (
    Answers,
    Embed,
    Failure,
    Fitted,
    Fuse,
    FuseScore,
    Generate,
    Generation,
    Likelihood,
    NextToken,
    PairScore,
)

if TYPE_CHECKING:
    from ..types import AnyRequest, Reply
    from .plan_reader import Reader


_NO_ORDER = re.compile(r"\d*|[<{].*", re.DOTALL)
"""An answer of word overlap that is a rating, stands in tags after reasons, or gives scores."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A sequence of tokens that a model reads, and the length of its answer.

    logits: positions at which the language head runs. cacheable: how many of the first tokens a
    prefix cache may serve. written: tokens of the answer. begun: the last tokens, which a decoder
    reads that has an encoder. alone: tokens of texts that an encoder reads one by one. crossed:
    tokens of these that the decoder attends to, where not all.
    """

    ids: Sequence[int]
    logits: int = 0
    cacheable: int = 0
    written: int = 0
    begun: int = 1
    alone: Sequence[int] = ()
    crossed: int | None = None

    def flops(self, shape: Shape, cached: int = 0) -> float:
        """Return the operations to read it; a prefix cache holds the first `cached` tokens."""
        length = len(self.ids)
        if not shape.decoder_layers:
            return sequence_flops(shape, length, cached=cached, logits=self.logits)
        texts = self.alone or [length - self.begun]
        return encoded_flops(
            shape, texts, begun=self.begun, crossed=self.crossed, logits=self.logits
        )


class PrefixCache:
    """Full blocks of tokens, each known by all tokens up to its end, as in vLLM's prefix cache."""

    def __init__(self, block: int) -> None:
        if block < 1:
            raise BadOption(f"--block must be at least 1, not {block}")
        self._block = block
        self._known: set[int] = set()

    def read(self, ids: Sequence[int], cacheable: int) -> int:
        """Store `ids`; return how many of their first `cacheable` tokens were in stored blocks."""
        size, chain, cached, hit = self._block, 0, 0, True
        for start in range(0, len(ids) - size + 1, size):
            chain = hash((chain, *ids[start : start + size]))
            hit = hit and chain in self._known
            cached += size * hit
            self._known.add(chain)
        return min(cached, cacheable // size * size)


@dataclass
class WorkCounts:
    """Sums over sequences: tokens read, tokens in the prefix cache, operations without and with it.

    calls: requests. writers: the sequences whose answers need decoding steps. steps: these steps.
    attended: tokens that the steps attend to.
    """

    calls: int = 0
    read: int = 0
    cached: int = 0
    flops: float = 0.0
    flops_cached: float = 0.0
    writers: int = 0
    steps: int = 0
    attended: float = 0.0

    def add(self, sequence: Reading, cached: int, shape: Shape) -> None:
        """Add a sequence of which the prefix cache holds the first `cached` tokens."""
        length = len(sequence.ids)
        steps = max(sequence.written - 1, 0)  # reading gives the first token of the answer
        self.read += length
        self.cached += cached
        self.flops += sequence.flops(shape)
        self.flops_cached += sequence.flops(shape, cached)
        self.writers += steps > 0
        self.steps += steps
        self.attended += steps * (length + sequence.written / 2)

    @property
    def context(self) -> float:
        """The mean number of tokens that a decoding step attends to."""
        return self.attended / self.steps if self.steps else 0.0

    def writing_seconds(self, shape: Shape, gpu: Gpu, *, batch: float) -> float:
        """Return the seconds to write all answers, `batch` at a time."""
        if not self.steps:
            return 0.0
        return decode_seconds(shape, gpu, self.steps, batch=batch, context=self.context)


_Counts = tuple[int, "Reply | Failure", Sequence[Reading]]


class CountingEngine(FakeEngine):
    """An engine that answers from word overlap and counts the work of a model.

    Requests that are ready together count as one round of one query.

    counted: the requests that were not answered before. writing_rounds: rounds with decoding steps
    among these. flops, seconds_alone: of all requests, without a prefix cache, and one query after
    another with it.
    """

    counted: WorkCounts
    writing_rounds: int
    flops: float
    seconds_alone: float

    def __init__(self, reader: Reader, gpu: Gpu, block: int) -> None:
        super().__init__(overlap, name="plan")
        held = pair_tokens(reader.checkpoint, reader.preparer.context)
        self.pair_tokens = None if reader.head == "maxsim" else held
        self.reader, self.gpu, self._block = reader, gpu, block
        self._answered: set[int] = set()
        self.forget()

    def forget(self) -> None:
        """Begin new sums with an empty prefix cache; what was answered before remains known."""
        self.counted, self.writing_rounds = WorkCounts(), 0
        self.flops = self.seconds_alone = 0.0
        self._cache = PrefixCache(self._block)
        self._encoded: set[Encode | Embed] = set()

    def fit(self, texts: Sequence[str], max_tokens: int | None) -> list[Fitted]:
        """Cut texts with the tokenizer, as every engine does."""
        return self.reader.preparer.tokens.fit(texts, max_tokens)

    def answer(self, requests: Sequence[AnyRequest]) -> Answers:
        """Yield the replies, type by type; a request that an engine would refuse is a Failure."""
        for kind in dict.fromkeys(map(type, requests)):
            self.reader.require(kind)
        for request in requests:
            if isinstance(request, Embed) and isinstance(request.pooling, str):
                self.reader.require_pooling(request)
        read: list[tuple[AnyRequest, Sequence[Reading]]] = []
        for index, reply, readings in self._count(list(enumerate(requests))):
            read.append((requests[index], readings))
            yield index, reply
        self._add_round(read)

    def _count(self, numbered: Sequence[tuple[int, Any]]) -> Iterator[_Counts]:
        """Yield the index, the reply and the sequences of each request."""
        late = self.reader.head == "maxsim"
        pairs = [(i, r) for i, r in numbered if late and isinstance(r, PairScore)]
        yield from self._late_interaction(pairs)
        requests = {i: r for i, r in numbered if not (late and isinstance(r, PairScore))}
        todo, done = self.reader.preparer.prepare(
            [(i, self._without_labels(r)) for i, r in requests.items()]
        )
        for index, answer in done:
            yield index, answer, ()
        for one in todo:
            request, length = requests[one.index], one.read
            reply: Any = overlap(request)
            written = self._written(request, reply) if isinstance(request, Generate | Fuse) else 0
            logits, computed = _positions(one)
            cacheable = max(length - computed, 0) if self.reader.shape.causal else 0
            tokens = {"prompt_tokens": length} | ({"output_tokens": written} if written else {})
            known = isinstance(request, Embed) and request in self._encoded
            reading = Reading([*one.ids, *one.begun], logits, cacheable, written, **_encoded(one))
            yield one.index, replace(reply, **tokens), [] if known else [reading]
            self._encoded |= {request} if isinstance(request, Embed) else set()

    def _without_labels(self, request: Any) -> Any:
        """Remove labels if another model's tokenizer counts: to it they need not be one token."""
        replaced = self.reader.stand_in and isinstance(request, NextToken)
        return replace(request, labels=()) if replaced else request

    def _written(self, request: Generate | Fuse, reply: Any) -> int:
        """Return the tokens of an answer and its end token, at most those requested."""
        (ids,) = self.reader.preparer.tokens.encode([reply.text])
        return _answer_tokens(request, reply.text, len(ids) + 1)

    def _late_interaction(self, pairs: Sequence[tuple[int, PairScore]]) -> Iterator[_Counts]:
        """Yield the reply of each pair; each distinct text is read once, and no pair is."""
        if not pairs:
            return
        query, document = sides_of(self.reader.checkpoint)
        both = [(Encode(r.query, query), Encode(r.document, document)) for _, r in pairs]
        texts = list(dict.fromkeys(text for pair in both for text in pair))
        todo, done = self.reader.preparer.prepare(list(enumerate(texts)))
        refused = {texts[index]: failure for index, failure in done}
        ids = {texts[one.index]: one.ids for one in todo}
        for (index, request), pair in zip(pairs, both, strict=True):
            failure = next((refused[text] for text in pair if text in refused), None)
            if failure is not None:
                yield index, failure, ()
                continue
            new = [text for text in dict.fromkeys(pair) if text not in self._encoded]
            self._encoded.update(new)
            reply: Any = overlap(request)
            tokens = sum(len(ids[text]) for text in pair)
            yield index, replace(reply, prompt_tokens=tokens), [Reading(ids[text]) for text in new]

    def _add_round(self, read: Sequence[tuple[AnyRequest, Sequence[Reading]]]) -> None:
        """Add a round: requests not answered before to `counted`, all to the other sums."""
        shape, whole, writers_before = self.reader.shape, WorkCounts(), self.counted.writers
        for request, sequences in read:
            new = hash(request) not in self._answered
            self.counted.calls += new
            for sequence in sequences:
                cached = self._cache.read(sequence.ids, sequence.cacheable)
                whole.add(sequence, cached, shape)
                if new:
                    self.counted.add(sequence, cached, shape)
        self._answered.update(hash(request) for request, _ in read)
        self.writing_rounds += self.counted.writers > writers_before
        if whole.read:
            writing = whole.writing_seconds(shape, self.gpu, batch=whole.writers)
            self.seconds_alone += prefill_seconds(whole.flops_cached, shape, self.gpu) + writing
            self.flops += whole.flops + decode_flops(shape, whole.steps, context=whole.context)


def overlap_with_length(request: AnyRequest) -> Reply | Failure:
    """Answer from word overlap, with the length that an answer of a model would have."""
    reply = overlap(request)
    if not isinstance(request, Generate | Fuse) or not isinstance(reply, Generation):
        return reply
    written = _answer_tokens(request, reply.text, reply.output_tokens)
    return replace(reply, output_tokens=written)


def _answer_tokens(request: Generate | Fuse, text: str, tokens: int) -> int:
    """Return the length of an answer of `tokens` tokens, at most that requested.

    Thoughts, and an answer that does not just name passages, are as long as was requested.
    """
    reasons = isinstance(request, Generate) and request.prompt.thinking
    at_length = reasons or _NO_ORDER.fullmatch(text)
    return request.max_tokens if at_length else min(tokens, request.max_tokens)


def _encoded(one: Prepared) -> dict[str, Any]:
    """Return what of a sequence an encoder and its decoder read."""
    parts = {"begun": len(one.begun) or 1, "alone": [len(row) for row in one.rows]}
    if isinstance(one.request, FuseScore):  # the anchors are read off the first vectors of each
        views = one.request.views
        return parts | {"begun": views, "crossed": views * len(one.rows)}
    return parts


def _positions(one: Prepared) -> tuple[int, int]:
    """Return at how many positions the language head runs, and how many last tokens are computed.

    The first token of a continuation is predicted at the token before it.
    """
    if isinstance(one.request, Likelihood):
        return one.ending, one.ending + 1
    headless = isinstance(one.request, PairScore | Embed | FuseScore)
    return (0 if headless else 1), 1
