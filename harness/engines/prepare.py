"""Requests as a model reads them: token ids, and what else is needed to answer them.

Every engine that owns a tokenizer prepares its requests here, so their prompts are the same ids.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import EngineFault
from ..types import (
    Attend,
    ContinuationScore,
    Embed,
    Failure,
    Fuse,
    FuseScore,
    Generate,
    Label,
    Likelihood,
    NextToken,
    PairScore,
    Prompt,
    Reply,
)
from .late import Encode, no_vectors
from .passages import Parts, parts_of, rows_of
from .tokens import Rendered, Tokens

if TYPE_CHECKING:
    from .pairing import PairTemplate

Answer: TypeAlias = Reply | Failure
Answered: TypeAlias = tuple[int, Answer]

NOT_FINITE = "the model answered NaN or infinity; if its dtype is float16, try bfloat16"
LOWER_PROMPT = (
    "max_doc_tokens, max_tokens where an answer is written, or the number of documents in a prompt "
    "(window, group)"
)
LOWER_PAIR = "max_doc_tokens or max_query_tokens"
LOWER_TEXT = "max_doc_tokens, or the number of documents that share a prompt"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request, and the sequence that a model reads for it.

    index: of the request. ids: token ids of the whole sequence. room: positions that the sequence
    takes, with those that are still to be written. types: segment ids, where a tokenizer makes
    them. labels: token ids of the labels. ending: how many of the last ids are the continuation.
    parts: of `Attend`. rows: the prompts of `Fuse` and `FuseScore`, one after another in `ids`.
    begun: what an encoder-decoder's decoder reads; `ids` are then its encoder's.
    places: positions whose vectors are wanted, of `Encode` and `Embed`.
    unseen: how many of the last ids no other token attends to.
    """

    index: int
    request: Any
    ids: Sequence[int]
    room: int
    types: Sequence[int] | None = None
    labels: Mapping[Label, int] = field(default_factory=dict)
    ending: int = 0
    parts: Parts | None = None
    rows: Sequence[Sequence[int]] = ()
    begun: Sequence[int] = ()
    places: Sequence[int] = ()
    unseen: int = 0

    @property
    def read(self) -> int:
        """The tokens that the model reads."""
        return len(self.ids) + len(self.begun)


Numbered: TypeAlias = Sequence[tuple[int, Any]]
Found: TypeAlias = Iterator[Prepared | Answered]


class Preparer:
    """Prepares requests for a model with `tokens` and a context of `context` tokens.

    A sequence that does not fit the context is a Failure that names what to lower; nothing is cut.

    pair_template: makes one text of a pair; without it the tokenizer's own frame is used.
    written: tokens that the engine writes behind a prompt even where none is asked for.
    """

    start: Sequence[int] = ()
    """Token ids with which a decoder begins that has an encoder."""

    def __init__(
        self,
        tokens: Tokens,
        context: int,
        pair_template: PairTemplate | None = None,
        *,
        written: int = 0,
    ) -> None:
        self.tokens, self.context, self._template = tokens, context, pair_template
        self._written = written
        pairs = self._framed_pairs if pair_template is None else self._templated_pairs
        self._of: dict[type, Callable[[Numbered], Found]] = {
            NextToken: self._next_tokens,
            Generate: self._generations,
            Likelihood: self._likelihoods,
            PairScore: pairs,
            Encode: self._texts,
            Attend: self._attended,
            Fuse: self._fused,
            FuseScore: self._fused,
            Embed: self._embedded,
        }

    def prepare(self, numbered: Numbered) -> tuple[list[Prepared], list[Answered]]:
        """Prepare (index, request) pairs; return what a model must answer, and what is answered.

        Raises EngineFault for a label that is not one token behind its prompt, and for a prompt
        that ends inside a think block.
        """
        todo: list[Prepared] = []
        done: list[Answered] = []
        for kind, own in by_kind(numbered).items():
            for one in self._of[kind](own):
                if isinstance(one, Prepared):
                    todo.append(one)
                else:
                    done.append(one)
        return todo, done

    def _next_tokens(self, numbered: Numbered) -> Found:
        for index, request, prompt in self._rendered(numbered):
            found = self._prompted(index, request, prompt.ids, more=self._written)
            self._require_answer(prompt)
            if isinstance(found, Prepared):
                labels = {
                    label: self.tokens.label_id(label, after=prompt.text, lead=prompt.lead)
                    for label in request.labels
                }
                found = Prepared(index, request, prompt.ids, len(prompt.ids), labels=labels)
            yield found

    def _generations(self, numbered: Numbered) -> Found:
        for index, request, prompt in self._rendered(numbered):
            yield self._prompted(
                index, request, prompt.ids, more=request.max_tokens, written=request.max_tokens
            )

    def _likelihoods(self, numbered: Numbered) -> Found:
        """Tokenise prompt and continuation apart and join them; an empty one is certain."""
        endings = self.tokens.encode_kept(request.continuation for _, request in numbered)
        for index, request, prompt in self._rendered(numbered):
            self._require_answer(prompt)
            ending = endings[request.continuation]
            found = self._prompted(index, request, prompt.ids, more=len(ending) + self._written)
            if isinstance(found, Prepared):
                whole = [*prompt.ids, *ending]
                found = Prepared(index, request, whole, len(whole), ending=len(ending))
                if not ending:
                    found = index, ContinuationScore(0.0, 0, prompt_tokens=len(whole))
            yield found

    def _framed_pairs(self, numbered: Numbered) -> Found:
        """Tokenise each distinct text once and join the ids, as the tokenizer frames a pair."""
        ids = self.tokens.encode_kept(text for _, r in numbered for text in (r.query, r.document))
        frame = self.tokens.pair
        for index, request in numbered:
            pair = ids[request.query], ids[request.document]
            yield self._paired(index, request, frame.around(*pair), frame.segments(*pair))

    def _templated_pairs(self, numbered: Numbered) -> Found:
        assert self._template is not None  # noqa: S101
        texts = [self._template.render(r.query, r.document) for _, r in numbered]
        for (index, request), ids in zip(numbered, self.tokens.encode(texts), strict=True):
            closed = self.tokens.framed(ids, closed=True) if self._template.closed else ids
            yield self._paired(index, request, closed)

    def _texts(self, numbered: Numbered) -> Found:
        """Single texts, as their side of a pair is read; one without tokens has no vectors."""
        texts = self.tokens.encode([request.text for _, request in numbered])
        for (index, request), own in zip(numbered, texts, strict=True):
            ids, places, unseen = request.side.read(own)
            if not ids:
                yield index, no_vectors()
                continue
            found = self._paired(index, request, ids)
            if isinstance(found, Prepared):
                found = replace(found, places=places, unseen=unseen)
            yield found

    def _embedded(self, numbered: Numbered) -> Found:
        """Whole prompts, with the tokenizer's own tokens behind a plain text too.

        An empty text of a tokenizer that adds none has no tokens, and a vector all the same.
        """
        for index, request, prompt in self._rendered(numbered, closed=True):
            if not prompt.ids and isinstance(request.pooling, str):
                yield Prepared(index, request, prompt.ids, 0)
                continue
            found = self._prompted(index, request, prompt.ids, more=0, lower=LOWER_TEXT)
            if isinstance(found, Prepared) and not isinstance(request.pooling, str):
                wanted = {self.tokens.special_id(token) for token in request.pooling}
                places = [place for place, i in enumerate(prompt.ids) if i in wanted]
                found = replace(found, places=places)
            yield found

    def _attended(self, numbered: Numbered) -> Found:
        for index, request in numbered:
            parts = parts_of(request, self.tokens)
            longest = max(parts.ends, key=len)
            ids = [i for part in (*parts.before, longest) for i in part]
            failure = too_long(len(ids), self.context, lower="max_doc_tokens, or --depth")
            if failure:
                yield index, failure
            else:
                yield Prepared(index, request, ids, len(ids), parts=parts)

    def _fused(self, numbered: Numbered) -> Found:
        for index, request in numbered:
            rows = self._rows(request)
            failure = too_long(max(map(len, rows)), self.context, lower=LOWER_PAIR)
            if failure:
                yield index, failure
            else:
                ids = [i for row in rows for i in row]
                room = len(ids) + len(self.start)
                yield Prepared(index, request, ids, room, rows=rows, begun=self.start)

    def _rows(self, request: Fuse | FuseScore) -> list[list[int]]:
        return rows_of(request, self.tokens)

    def _paired(
        self, index: int, request: Any, ids: Sequence[int], types: Sequence[int] | None = None
    ) -> Prepared | Answered:
        if not ids:
            return index, Failure("query and document are empty: the model has nothing to read")
        failure = too_long(len(ids), self.context, lower=LOWER_PAIR)
        return (index, failure) if failure else Prepared(index, request, ids, len(ids), types)

    def _prompted(
        self,
        index: int,
        request: Any,
        ids: Sequence[int],
        *,
        more: int,
        written: int = 0,
        lower: str = LOWER_PROMPT,
    ) -> Prepared | Answered:
        """Prepare a prompt, behind which `more` tokens need a place, `written` of them new."""
        if not ids:
            return index, Failure("the prompt is empty: there is no position to predict from")
        failure = too_long(len(ids) + more, self.context, lower=lower)
        return (index, failure) if failure else Prepared(index, request, ids, len(ids) + written)

    def _rendered(
        self, numbered: Numbered, *, closed: bool = False
    ) -> Iterator[tuple[int, Any, Rendered]]:
        prompts: list[Prompt] = [request.prompt for _, request in numbered]
        rendered = self.tokens.prompts(prompts, closed=closed)
        for (index, request), prompt in zip(numbered, rendered, strict=True):
            yield index, request, prompt

    def _require_answer(self, prompt: Rendered) -> None:
        """Raise EngineFault for a prompt that ends inside a think block."""
        if prompt.open_block is not None:
            raise EngineFault(
                f"a prompt of {self.tokens.name} ends inside a think block ({prompt.open_block}), "
                "where nothing it says is an answer: use a prompt without `thinking`, or one whose "
                "text closes the block"
            )


def by_kind(numbered: Numbered) -> dict[type, list[tuple[int, Any]]]:
    """Group (index, request) pairs by the request's type."""
    kinds: dict[type, list[tuple[int, Any]]] = {}
    for index, request in numbered:
        kinds.setdefault(type(request), []).append((index, request))
    return kinds


def too_long(tokens: int, context: int, *, lower: str) -> Failure | None:
    """Return the failure for `tokens` that exceed the model's context; it names what to lower."""
    if tokens <= context:
        return None
    return Failure(f"{tokens} tokens exceed the model's context of {context}: lower {lower}")


def sound(values: Iterable[float], answer: Reply) -> Answer:
    """Return `answer`, or the failure for a value that is not finite."""
    return answer if all(map(math.isfinite, values)) else Failure(NOT_FINITE)
