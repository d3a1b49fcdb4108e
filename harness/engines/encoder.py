"""Hidden states of an encoder: embeddings, and late interaction between token vectors."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import BadOption, EngineFault
from ..types import Embed, Failure, Logits, PairScore, Vectors
from .batches import Answer, Batcher, Work, pad, sound
from .loading import Checkpoint, device_of
from .saved import module_types
from .works import Works

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

_TEXTS_AT_ONCE = 96  # two seconds on two cores: what a killed run would encode again
_REMEMBERED_BYTES = 512 << 20
_SHORTEST = 1e-12  # torch.nn.functional.normalize divides by no less


class Encoder:
    """The hidden states behind `Embed`; `model` is the network without any head."""

    def __init__(self, model: Any, checkpoint: Checkpoint, works: Works, batcher: Batcher) -> None:
        self.model = model
        self.works, self.batcher = works, batcher
        self._left = checkpoint.decoder
        self._device = device_of(checkpoint.options)

    def embed(self, requests: Sequence[Embed]) -> Iterator[tuple[int, Answer]]:
        """Answer embeddings; `tokens` keeps every position, special tokens included."""
        prepared = self.works.embeddings(requests)
        yield from prepared.settled
        yield from self.batcher.run(prepared.works, self._embed)

    def token_vectors(self, works: Sequence[Work]) -> Iterator[tuple[int, Answer]]:
        """The last hidden states of each sequence, every position."""
        return self.batcher.run(works, self._states)

    def _states(self, batch: Sequence[Work]) -> list[Answer]:
        return [
            sound((states.sum().item(),), Vectors(states.cpu().numpy(), len(work.ids)))
            for work, states in zip(batch, self.states(batch), strict=True)
        ]

    def _embed(self, batch: Sequence[Work]) -> list[Answer]:
        import torch

        answers: list[Answer] = []
        for work, states in zip(batch, self.states(batch), strict=True):
            pooled = _pool(states, work.request.pooling)
            if work.request.normalise:
                pooled = torch.nn.functional.normalize(pooled, dim=-1)
            vectors = Vectors(pooled.cpu().numpy(), prompt_tokens=len(work.ids))
            answers.append(sound((pooled.sum().item(),), vectors))
        return answers

    def states(self, batch: Sequence[Work]) -> list[torch.Tensor]:
        """Last hidden states of each sequence, float32, shape (tokens, dim), padding cut off."""
        padded = pad(batch, left=self._left, device=self._device, pad_id=self.works.tokens.pad_id)
        where = {"position_ids": padded.positions} if self._left else {}
        output = self.model(padded.ids, attention_mask=padded.mask, **where)
        hidden = output.last_hidden_state.float()
        sides = [slice(-len(w.ids), None) if self._left else slice(len(w.ids)) for w in batch]
        return [row[side] for row, side in zip(hidden, sides, strict=True)]


def _pool(states: torch.Tensor, pooling: str) -> torch.Tensor:
    if pooling == "tokens":
        return states
    if pooling == "mean":
        return states.mean(0, keepdim=True)
    return states[-1:] if pooling == "last" else states[:1]


class TokenVectors(Protocol):
    """An encoder whose token vectors `MaxSim` can compare."""

    @property
    def works(self) -> Works:
        """What makes its sequences."""

    def token_vectors(self, works: Sequence[Work]) -> Iterator[tuple[int, Answer]]:
        """Answer each sequence with `Vectors` of all its positions, or a Failure."""


class MaxSim:
    """Late interaction: for each query token its best cosine among document tokens, summed.

    Khattab and Zaharia, ColBERT (SIGIR 2020), equation 3, on any encoder's last hidden states.
    What the tokenizer puts around a text, such as `[CLS]` and `[SEP]`, takes part in encoding but
    not in scoring; punctuation takes part in both. No `[Q]` and `[D]` markers and no query
    expansion: a checkpoint trained with those, or with a projection, is refused.
    """

    def __init__(self, encoder: TokenVectors, checkpoint: Checkpoint) -> None:
        kinds = module_types(checkpoint)
        if "Dense" in kinds or checkpoint.architecture == "HF_ColBERT":
            raise EngineFault(
                f"model {checkpoint.name} projects its token vectors, which maxsim does not"
            )
        if checkpoint.options.pair_template is not None:
            raise BadOption("pair_template is for a classification head: maxsim reads texts apart")
        self._encoder = encoder
        self._vectors: OrderedDict[str, NDArray[np.float32] | Failure] = OrderedDict()
        self._bytes = 0

    def pairs(self, requests: Sequence[PairScore]) -> Iterator[tuple[int, Answer]]:
        """Answer pairs, encoding each distinct text once and at most 96 new ones at a time."""
        around = 2 * self._encoder.works.tokens.single.size
        for part in self._parts(requests):
            pairs = {i: (requests[i].query, requests[i].document) for i in part}
            known = self._encode(list(dict.fromkeys(t for pair in pairs.values() for t in pair)))
            for i, (query, document) in pairs.items():
                yield i, _score(known[query], known[document], around)

    def _parts(self, requests: Sequence[PairScore]) -> Iterator[list[int]]:
        part: list[int] = []
        new: set[str] = set()
        for index, request in enumerate(requests):
            part.append(index)
            new |= {request.query, request.document} - self._vectors.keys()
            if len(new) >= _TEXTS_AT_ONCE:
                yield part
                part, new = [], set()
        if part:
            yield part

    def _encode(self, texts: Sequence[str]) -> dict[str, NDArray[np.float32] | Failure]:
        known = {text: self._vectors[text] for text in texts if text in self._vectors}
        for text in known:
            self._vectors.move_to_end(text)
        for text, vectors in self._fresh([text for text in texts if text not in known]):
            known[text] = vectors
            self._remember(text, vectors)
        return known

    def _fresh(self, texts: Sequence[str]) -> Iterator[tuple[str, NDArray[np.float32] | Failure]]:
        prepared = self._encoder.works.texts(texts)
        answers = itertools.chain(prepared.settled, self._encoder.token_vectors(prepared.works))
        for index, answer in answers:
            yield texts[index], self._unit(answer)

    def _unit(self, answer: Answer) -> NDArray[np.float32] | Failure:
        """The text's own token vectors, each of length 1."""
        import numpy as np

        if not isinstance(answer, Vectors):
            return answer if isinstance(answer, Failure) else Failure("the encoder gave no vectors")
        frame = self._encoder.works.tokens.single
        inner = answer.vectors[len(frame.before) : len(answer.vectors) - len(frame.after)]
        lengths = np.linalg.norm(inner, axis=1, keepdims=True)
        unit: NDArray[np.float32] = inner / np.maximum(lengths, _SHORTEST)
        return unit

    def _remember(self, text: str, vectors: NDArray[np.float32] | Failure) -> None:
        self._vectors[text] = vectors
        self._bytes += _size(vectors)
        while self._bytes > _REMEMBERED_BYTES:
            _, oldest = self._vectors.popitem(last=False)
            self._bytes -= _size(oldest)


def _size(vectors: NDArray[np.float32] | Failure) -> int:
    return 0 if isinstance(vectors, Failure) else int(vectors.nbytes)


def _score(
    query: NDArray[np.float32] | Failure, document: NDArray[np.float32] | Failure, around: int
) -> Answer:
    """The sum over query tokens; an empty text on either side scores 0.

    `around` counts the tokens that were read but not scored.
    """
    if isinstance(query, Failure):
        return query
    if isinstance(document, Failure):
        return document
    read = len(query) + len(document) + around
    if not len(query) or not len(document):
        return Logits((0.0,), prompt_tokens=read)
    return Logits((float((query @ document.T).max(axis=1).sum()),), prompt_tokens=read)
