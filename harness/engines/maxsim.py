"""Late interaction: a pair's score from the token vectors of its two texts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from ..errors import BadOption, EngineFault
from ..types import Failure, Logits
from .checkpoint import Checkpoint
from .pairing import module_types
from .prepare import Answer, Answered, Encode, Numbered, TokenVectors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors: TypeAlias = NDArray[np.float32] | Failure

_TEXTS_AT_ONCE = 96  # two seconds on two cores: what a killed run would encode again
_KEPT_BYTES = 512 << 20
_SHORTEST = 1e-12  # torch.nn.functional.normalize divides by no less


class MaxSim:
    """Scores a pair by the sum, over query tokens, of the best cosine to any document token.

    Khattab and Zaharia, ColBERT (SIGIR 2020), equation 3, on any encoder's last hidden states.
    What the tokenizer puts around a text, such as `[CLS]` and `[SEP]`, takes part in encoding but
    not in scoring; punctuation takes part in both. No `[Q]` and `[D]` markers and no query
    expansion: a checkpoint trained with those, or with a projection, is refused.

    encode: answers (index, Encode) pairs with TokenVectors or a Failure.
    """

    def __init__(
        self,
        encode: Callable[[Numbered], Iterator[Answered]],
        checkpoint: Checkpoint,
    ) -> None:
        kinds = module_types(checkpoint)
        if "Dense" in kinds or checkpoint.architecture == "HF_ColBERT":
            raise EngineFault(
                f"model {checkpoint.name} projects its token vectors, which maxsim does not"
            )
        if checkpoint.options.pair_template is not None:
            raise BadOption("pair_template is for a classification head: maxsim reads texts apart")
        self._encode, self._frame = encode, checkpoint.tokens.single
        self._kept: OrderedDict[str, Vectors] = OrderedDict()
        self._bytes = 0

    def answer(self, numbered: Numbered) -> Iterator[Answered]:
        """Answer pairs, encoding each distinct text once and about 96 new ones at a time."""
        around = 2 * self._frame.size
        for part in self._parts(numbered):
            texts = dict.fromkeys(t for _, pair in part for t in (pair.query, pair.document))
            known = self._vectors(list(texts))
            for index, pair in part:
                yield index, _score(known[pair.query], known[pair.document], around)

    def _parts(self, numbered: Numbered) -> Iterator[Numbered]:
        part: list[tuple[int, object]] = []
        new: set[str] = set()
        for index, pair in numbered:
            part.append((index, pair))
            new |= {pair.query, pair.document} - self._kept.keys()
            if len(new) >= _TEXTS_AT_ONCE:
                yield part
                part, new = [], set()
        if part:
            yield part

    def _vectors(self, texts: Sequence[str]) -> dict[str, Vectors]:
        known = {text: self._kept[text] for text in texts if text in self._kept}
        for text in known:
            self._kept.move_to_end(text)
        new = [text for text in texts if text not in known]
        for index, answer in self._encode([(i, Encode(text)) for i, text in enumerate(new)]):
            vectors = self._unit(answer)
            known[new[index]] = vectors
            self._keep(new[index], vectors)
        return known

    def _unit(self, answer: Answer) -> Vectors:
        """Return a text's own token vectors, each of length 1."""
        import numpy as np

        if not isinstance(answer, TokenVectors):
            return answer if isinstance(answer, Failure) else Failure("the encoder gave no vectors")
        before, after = len(self._frame.before), len(self._frame.after)
        inner = answer.vectors[before : len(answer.vectors) - after]
        lengths = np.linalg.norm(inner, axis=1, keepdims=True)
        unit: NDArray[np.float32] = inner / np.maximum(lengths, _SHORTEST)
        return unit

    def _keep(self, text: str, vectors: Vectors) -> None:
        self._kept[text] = vectors
        self._bytes += _size(vectors)
        while self._bytes > _KEPT_BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= _size(oldest)


def _size(vectors: Vectors) -> int:
    return 0 if isinstance(vectors, Failure) else int(vectors.nbytes)


def _score(query: Vectors, document: Vectors, around: int) -> Answer:
    """Return the sum over query tokens; an empty text on either side scores 0.

    around: tokens that were read but not scored.
    """
    if isinstance(query, Failure):
        return query
    if isinstance(document, Failure):
        return document
    read = len(query) + len(document) + around
    if not len(query) or not len(document):
        return Logits((0.0,), prompt_tokens=read)
    return Logits((float((query @ document.T).max(axis=1).sum()),), prompt_tokens=read)
