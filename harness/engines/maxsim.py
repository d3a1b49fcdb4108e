"""Late interaction: a pair's score from the token vectors of its two texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

from ..errors import BadOption
from ..types import Failure, Logits, PairScore
from .checkpoint import Checkpoint, refuse_encoder_decoder
from .colbert import sides_of
from .late import Encode, TokenVectors
from .lru import LruCache
from .prepare import Answer, Answered, Numbered

Encoded: TypeAlias = TokenVectors | Failure

_TEXTS_AT_ONCE = 96  # two seconds on two cores: what a killed run would encode again
_KEPT_BYTES = 512 << 20
_SHORTEST = 1e-12  # torch.nn.functional.normalize divides by no less


class MaxSim:
    """Scores a pair by the sum, over query tokens, of the best cosine to any document token.

    Khattab and Zaharia, ColBERT (SIGIR 2020), equation 3. A checkpoint of pylate or ColBERT is read
    with its markers, its queries filled up with mask tokens, its projection and its skipped
    punctuation (`sides_of`); what the tokenizer puts around a text is then scored too. Of any other
    encoder the text's own tokens are scored, with their last hidden states.

    encode: answers (index, Encode) pairs with TokenVectors or a Failure. by_language: whether the
        language of a text changes its vectors.
    """

    def __init__(
        self,
        encode: Callable[[Numbered], Iterator[Answered]],
        checkpoint: Checkpoint,
        *,
        by_language: bool = False,
    ) -> None:
        if checkpoint.options.pair_template is not None:
            raise BadOption("pair_template is for a classification head: maxsim reads texts apart")
        refuse_encoder_decoder(checkpoint)
        self._encode, self._by_language = encode, by_language
        self._query, self._document = sides_of(checkpoint)
        self._kept: LruCache[Encode, Encoded] = LruCache(_KEPT_BYTES)

    def answer(self, numbered: Numbered) -> Iterator[Answered]:
        """Answer pairs, encoding each distinct text once and about 96 new ones at a time."""
        for part in self._parts(numbered):
            sides = [(index, *self._sides(pair)) for index, pair in part]
            known = self._vectors(list(dict.fromkeys(one for _, *both in sides for one in both)))
            for index, query, document in sides:
                yield index, _score(known[query], known[document])

    def _sides(self, pair: PairScore) -> tuple[Encode, Encode]:
        query = pair.query_language if self._by_language else None
        document = pair.document_language if self._by_language else None
        return (
            Encode(pair.query, self._query, query),
            Encode(pair.document, self._document, document),
        )

    def _parts(self, numbered: Numbered) -> Iterator[Numbered]:
        part: list[tuple[int, PairScore]] = []
        new: set[Encode] = set()
        for index, pair in numbered:
            part.append((index, pair))
            new |= {one for one in self._sides(pair) if one not in self._kept}
            if len(new) >= _TEXTS_AT_ONCE:
                yield part
                part, new = [], set()
        if part:
            yield part

    def _vectors(self, texts: Sequence[Encode]) -> dict[Encode, Encoded]:
        known = {text: self._kept.get(text) for text in texts if text in self._kept}
        new = [text for text in texts if text not in known]
        for index, answer in self._encode(list(enumerate(new))):
            vectors = known[new[index]] = _unit(answer)
            size = 0 if isinstance(vectors, Failure) else int(vectors.vectors.nbytes)
            self._kept.put(new[index], vectors, size)
        return known


def _unit(answer: Answer) -> Encoded:
    """Return a text's token vectors, each of length 1."""
    import numpy as np

    if not isinstance(answer, TokenVectors):
        return answer if isinstance(answer, Failure) else Failure("the encoder gave no vectors")
    lengths = np.linalg.norm(answer.vectors, axis=1, keepdims=True)
    return replace(answer, vectors=answer.vectors / np.maximum(lengths, _SHORTEST))


def _score(query: Encoded, document: Encoded) -> Answer:
    """Return the sum over query tokens; an empty text on either side scores 0."""
    if isinstance(query, Failure):
        return query
    if isinstance(document, Failure):
        return document
    read = query.prompt_tokens + document.prompt_tokens
    if not len(query.vectors) or not len(document.vectors):
        return Logits((0.0,), prompt_tokens=read)
    best = (query.vectors @ document.vectors.T).max(axis=1)
    return Logits((float(best.sum()),), prompt_tokens=read)
