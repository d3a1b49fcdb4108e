"""Requests as a model reads them: token ids, the room they take, and what is to be read off.

Every engine that owns a tokenizer prepares its requests here, so their prompts are the same ids.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import EngineFault
from ..types import (
    ContinuationScore,
    Embed,
    Failure,
    Generate,
    Likelihood,
    NextToken,
    PairScore,
    Score,
)
from .batches import Answer, Work, too_long
from .tokens import Rendered, Tokens

if TYPE_CHECKING:
    from .pairtemplate import PairTemplate

LOWER_PROMPT = "max_doc_tokens, or window where several documents share a prompt"
LOWER_PAIR = "max_doc_tokens or max_query_tokens"
EMPTY = "the prompt is empty: there is no position to predict from"


@dataclass
class Prepared:
    """What a model is to be asked, and what is answered without it: failures, and empty sums."""

    works: list[Work] = field(default_factory=list)
    settled: list[tuple[int, Answer]] = field(default_factory=list)

    def add(self, work: Work, failure: Failure | None) -> None:
        """Keep `work`, or the failure that it met."""
        if failure is None:
            self.works.append(work)
        else:
            self.settled.append((work.index, failure))


class Works:
    """Prepares requests of each kind for a model with `tokens` and a context of `context` tokens.

    A sequence that does not fit the context is a Failure that names what to lower; nothing is cut.
    written: tokens that the engine writes behind a prompt even where none is asked for.
    """

    def __init__(
        self,
        tokens: Tokens,
        context: int,
        pair_template: PairTemplate | None = None,
        *,
        written: int = 0,
    ) -> None:
        self.tokens, self.context, self._pair_template = tokens, context, pair_template
        self._written = written
        self._of: dict[type, Callable[[Sequence[Any]], Prepared]] = {
            NextToken: self.next_tokens,
            Generate: self.generations,
            Likelihood: self.likelihoods,
            PairScore: self.pairs,
            Score: self.scores,
            Embed: self.embeddings,
        }

    def of(self, kind: type, requests: Sequence[Any]) -> Prepared:
        """Prepare requests that are all of one `kind`."""
        return self._of[kind](requests)

    def next_tokens(self, requests: Sequence[NextToken]) -> Prepared:
        """The work's request is a mapping of labels to token ids, in the request's order.

        Raises EngineFault for a label that is not one token behind its prompt, and for a prompt
        that ends inside a think block.
        """
        found = Prepared()
        rendered = self.tokens.prompts([r.prompt for r in requests])
        for index, (request, prompt) in enumerate(zip(requests, rendered, strict=True)):
            failure = self._refusal(len(prompt.ids), room=self._written)
            asked = request.labels if failure is None else ()
            self._require_answer(prompt)
            labels = {
                x: self.tokens.label_id(x, after=prompt.text, lead=prompt.lead) for x in asked
            }
            found.add(Work(index, prompt.ids, len(prompt.ids), request=labels), failure)
        return found

    def generations(self, requests: Sequence[Generate]) -> Prepared:
        """The work's request is the request itself; its room includes the tokens to be written."""
        found = Prepared()
        rendered = self.tokens.prompts([r.prompt for r in requests])
        for index, (request, prompt) in enumerate(zip(requests, rendered, strict=True)):
            failure = self._refusal(len(prompt.ids), room=request.max_tokens)
            room = len(prompt.ids) + request.max_tokens
            found.add(Work(index, prompt.ids, room, request=request), failure)
        return found

    def likelihoods(self, requests: Sequence[Likelihood]) -> Prepared:
        """Prompt and continuation are tokenised apart and joined; the request is the latter's ids.

        An empty continuation is certain, so it is settled at 0.
        """
        found = Prepared()
        rendered = self.tokens.prompts([r.prompt for r in requests])
        texts = list(dict.fromkeys(r.continuation for r in requests))
        endings = dict(zip(texts, self.tokens.encode(texts), strict=True))
        for index, (request, prompt) in enumerate(zip(requests, rendered, strict=True)):
            self._require_answer(prompt)
            ending = endings[request.continuation]
            whole = [*prompt.ids, *ending]
            failure = self._refusal(len(prompt.ids), room=len(ending) + self._written)
            if failure is None and not ending:
                certain = ContinuationScore(0.0, 0, prompt_tokens=len(whole))
                found.settled.append((index, certain))
            else:
                found.add(Work(index, whole, len(whole), request=ending), failure)
        return found

    def pairs(self, requests: Sequence[PairScore]) -> Prepared:
        """Each distinct text is tokenised once; segment ids come where the tokenizer makes some."""
        if self._pair_template is not None:
            return self._templated(requests, self._pair_template)
        found = Prepared()
        texts = list(dict.fromkeys(text for r in requests for text in (r.query, r.document)))
        ids = dict(zip(texts, self.tokens.encode(texts), strict=True))
        frame = self.tokens.pair
        for index, request in enumerate(requests):
            query, document = ids[request.query], ids[request.document]
            whole = frame.around(query, document)
            work = Work(index, whole, len(whole), frame.segments(query, document), request)
            found.add(work, too_long(len(whole), self.context, lower=LOWER_PAIR))
        return found

    def _templated(self, requests: Sequence[PairScore], template: PairTemplate) -> Prepared:
        """Pairs that a template puts into one text."""
        found = Prepared()
        rendered = self.tokens.encode([template.render(r.query, r.document) for r in requests])
        for index, (request, found_ids) in enumerate(zip(requests, rendered, strict=True)):
            ids = self.tokens.framed(found_ids, closed=True) if template.closed else found_ids
            work = Work(index, ids, len(ids), None, request)
            found.add(work, too_long(len(ids), self.context, lower=LOWER_PAIR))
        return found

    def scores(self, requests: Sequence[Score]) -> Prepared:
        """Rendered sequences, closed by what the tokenizer puts behind a text."""
        found = Prepared()
        rendered = self.tokens.prompts([r.prompt for r in requests], closed=True)
        for index, (request, prompt) in enumerate(zip(requests, rendered, strict=True)):
            failure = too_long(len(prompt.ids), self.context, lower=LOWER_PAIR)
            found.add(Work(index, prompt.ids, len(prompt.ids), request=request), failure)
        return found

    def embeddings(self, requests: Sequence[Embed]) -> Prepared:
        """Rendered sequences, closed; the end token is added where asked for and not yet there."""
        found = Prepared()
        rendered = self.tokens.prompts([r.prompt for r in requests], closed=True)
        for index, (request, prompt) in enumerate(zip(requests, rendered, strict=True)):
            ids = [*prompt.ids, *self._end(prompt.ids, wanted=request.eos)]
            failure = too_long(len(ids), self.context, lower="max_doc_tokens or window")
            if not ids:
                failure = Failure("the prompt is empty: there is nothing to embed")
            found.add(Work(index, ids, len(ids), request=request), failure)
        return found

    def texts(self, texts: Sequence[str]) -> Prepared:
        """Single texts in the tokenizer's own frame, for their token vectors."""
        found = Prepared()
        frame = self.tokens.single
        for index, ids in enumerate(self.tokens.encode(texts)):
            whole = frame.around(ids)
            work = Work(index, whole, len(whole))
            found.add(work, too_long(len(whole), self.context, lower=LOWER_PAIR))
        return found

    def _refusal(self, length: int, *, room: int) -> Failure | None:
        """Why a prompt of `length` tokens, with `room` more to come, cannot be served."""
        if length == 0:
            return Failure(EMPTY)
        return too_long(length + room, self.context, lower=LOWER_PROMPT)

    def _require_answer(self, prompt: Rendered) -> None:
        """Raise EngineFault for a prompt that ends inside a think block."""
        if prompt.open_block is not None:
            raise EngineFault(
                f"a prompt of {self.tokens.name} ends inside a think block ({prompt.open_block}), "
                "where nothing it says is an answer: use a prompt without `thinking`, or one whose "
                "text closes the block"
            )

    def _end(self, ids: Sequence[int], *, wanted: bool) -> list[int]:
        end = self.tokens.tokenizer.eos_token_id
        if not wanted or (ids and ids[-1] == end):
            return []
        if end is None:
            raise EngineFault(f"{self.tokens.name} has no end token to embed with")
        return [end]
