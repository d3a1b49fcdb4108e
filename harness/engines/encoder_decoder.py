"""Requests as a model with an encoder and a decoder reads them, such as T5."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from ..errors import EngineFault
from ..types import ContinuationScore, Fuse, FuseScore
from .checkpoint import Checkpoint
from .pairing import PairTemplate
from .passages import require_markers
from .prepare import LOWER_PROMPT, Found, Numbered, Prepared, Preparer, too_long
from .tokens import Tokens


def preparer_of(checkpoint: Checkpoint, context: int, template: PairTemplate | None) -> Preparer:
    """Return what prepares requests for a checkpoint; `template` as for `Preparer`."""
    if not checkpoint.encoder_decoder:
        return Preparer(checkpoint.tokens, context, template)
    return EncoderDecoderPreparer(checkpoint.tokens, context, template, start=checkpoint.start_id)


class EncoderDecoderPreparer(Preparer):
    """Prepares requests for an encoder that reads prompts and a decoder that answers.

    The encoder reads a prompt as the tokenizer closes it, without its prefill. The decoder begins
    with `start` and the prefill, so a label is one token after these.
    """

    def __init__(
        self, tokens: Tokens, context: int, template: PairTemplate | None, *, start: int
    ) -> None:
        super().__init__(tokens, context, template)
        self.start = (start,)

    def _next_tokens(self, numbered: Numbered) -> Found:
        for index, request, ids, begun in self._read(numbered):
            prefill = request.prompt.prefill
            labels = {x: self.tokens.label_id(x, after=prefill) for x in request.labels}
            yield self._fitted(Prepared(index, request, ids, 0, labels=labels, begun=begun))

    def _generations(self, numbered: Numbered) -> Found:
        for index, request, ids, begun in self._read(numbered):
            prepared = Prepared(index, request, ids, 0, begun=begun)
            yield self._fitted(prepared, written=request.max_tokens)

    def _likelihoods(self, numbered: Numbered) -> Found:
        endings = self.tokens.encode_kept(request.continuation for _, request in numbered)
        for index, request, ids, begun in self._read(numbered):
            ending = endings[request.continuation]
            whole = [*begun, *ending]
            prepared = Prepared(index, request, ids, 0, ending=len(ending), begun=whole)
            found = self._fitted(prepared)
            if isinstance(found, Prepared) and not ending:
                found = index, ContinuationScore(0.0, 0, prompt_tokens=prepared.read)
            yield found

    def _rows(self, request: Fuse | FuseScore) -> list[list[int]]:
        rows = super()._rows(request)
        if isinstance(request, FuseScore):
            require_markers(rows, request.views, self.tokens)
        return rows

    def _read(self, numbered: Numbered) -> Iterator[tuple[int, Any, Sequence[int], Sequence[int]]]:
        """Yield index and request with what the encoder and the decoder read."""
        prompts = [request.prompt for _, request in numbered]
        if any(prompt.thinking for prompt in prompts):
            raise EngineFault(f"{self.tokens.name} is an encoder-decoder, which does not think")
        prefills = self.tokens.encode_kept(prompt.prefill for prompt in prompts)
        bare = [replace(prompt, prefill="") for prompt in prompts]
        rendered = self.tokens.prompts(bare, closed=True)
        for (index, request), prompt in zip(numbered, rendered, strict=True):
            yield index, request, prompt.ids, [*self.start, *prefills[request.prompt.prefill]]

    def _fitted(self, one: Prepared, *, written: int = 0) -> Prepared | tuple[int, Any]:
        """Return `one` with the room it takes, or the failure where a part exceeds the context."""
        decoded = len(one.begun) + written
        failure = too_long(max(len(one.ids), decoded), self.context, lower=LOWER_PROMPT)
        return (one.index, failure) if failure else replace(one, room=len(one.ids) + decoded)
