"""Dense retrieval: a sentence-transformers encoder, and exact search with faiss.

Vectors are normalised, so the inner product of `IndexFlatIP` is the cosine. What was encoded once
is kept on disk under the sha256 of model, prompt and texts.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadOption, EngineFault
from ..models import find_model
from ..places import cache_folder
from ..progress import bar
from ..quiet import quiet
from .pool import PoolOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFAULT_MODEL = "minilm"
"""all-MiniLM-L6-v2, which the extra `demo` brings as a pip package."""

PROMPT_NAMES = {"microsoft/harrier-oss-v1-270m": "web_search_query"}
"""Model -> the one of its prompts that the lists of HAKARI-Bench were made with."""

_BATCH = 32
_MORE = 100  # ranks beyond the depth, so that a tie at its edge is seen whole


def rank_by_vectors(
    queries: Mapping[str, str],
    corpus: Mapping[str, str],
    *,
    model: str,
    depth: int,
    options: PoolOptions,
) -> dict[str, list[tuple[str, float]]]:
    """Rank the corpus for each query: (document id, cosine), best first, at most `depth`.

    Ties are broken by document id. Raises EngineFault for a model that cannot be loaded, BadOption
    for a prompt name that it does not have.
    """
    encoder = _Encoder(model, options)
    index = encoder.index(list(corpus.values()))
    vectors = encoder.queries(list(queries.values()))
    ids = list(corpus)
    scores, places = index.search(vectors, min(len(ids), depth + _MORE))
    ranked = {}
    for query_id, row, found in zip(queries, scores, places, strict=True):
        pairs = [(ids[place], float(score)) for place, score in zip(found, row, strict=True)]
        ranked[query_id] = sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:depth]
    return ranked


class _Encoder:
    """An encoder that looks on disk before it loads its model."""

    def __init__(self, model: str, options: PoolOptions) -> None:
        self._name = model
        self._options = options
        self._place = find_model(model)

    def index(self, texts: Sequence[str]) -> Any:
        """Return the faiss index of documents, read from disk where they were encoded before."""
        import faiss

        path = self._path(texts, prompt="", ending="faiss")
        if not _is_whole(path):
            vectors = self._encode(texts, what="documents", prompt="")
            made = faiss.IndexFlatIP(vectors.shape[1])
            made.add(vectors)
            _publish(path, bytes(faiss.serialize_index(made)))
        return faiss.read_index(str(path))

    def queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of queries, float32, shape (queries, dim)."""
        import io

        import numpy as np

        path = self._path(
            texts, prompt=f"{self._prompt_name()}|{self._options.query_prompt}", ending="npy"
        )
        if not _is_whole(path):
            file = io.BytesIO()
            np.save(file, self._encode(texts, what="queries", prompt=self._prompt()))
            _publish(path, file.getvalue())
        read: NDArray[np.float32] = np.load(path, allow_pickle=False)
        return read

    def _path(self, texts: Sequence[str], *, prompt: str, ending: str) -> Path:
        place = self._place
        about = [place.source if place.fingerprint is None else place.fingerprint, place.revision]
        digest = hashlib.sha256(json.dumps([*about, prompt, *texts]).encode()).hexdigest()
        return cache_folder() / "vectors" / f"{digest}.{ending}"

    def _prompt_name(self) -> str | None:
        if self._options.query_prompt is not None:
            return None
        return self._options.query_prompt_name or PROMPT_NAMES.get(self._name)

    def _prompt(self) -> str:
        name = self._prompt_name()
        if name is None:
            return self._options.query_prompt or ""
        known: Mapping[str, str] = _load(
            self._place.source, self._place.revision, self._options.device
        ).prompts
        if name not in known:
            has = ", ".join(sorted(known)) or "none"
            raise BadOption(f"model {self._name} has no prompt {name!r}; it has: {has}")
        return known[name]

    def _encode(self, texts: Sequence[str], *, what: str, prompt: str) -> NDArray[np.float32]:
        import numpy as np

        model = _load(self._place.source, self._place.revision, self._options.device)
        longest = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        rows: NDArray[np.float32] | None = None
        with bar(f"{self._name}: {what}", total=len(texts)) as advance:
            for start in range(0, len(texts), _BATCH):
                part = longest[start : start + _BATCH]
                done = model.encode(
                    [texts[i] for i in part],
                    prompt=prompt,
                    batch_size=_BATCH,
                    normalize_embeddings=True,
                    show_progress_bar=False,
                )
                rows = np.empty((len(texts), done.shape[1]), np.float32) if rows is None else rows
                rows[part] = done
                advance(len(part))
        if rows is None:
            raise EngineFault(f"model {self._name} was given no {what} to encode")
        return rows


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
    """Write a file and its checksum aside and rename them, so that no half of one is ever read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(content).hexdigest()
    for target, data in ((path, content), (_checksum(path), digest.encode())):
        aside = target.with_name(f".{target.name}.{os.getpid()}")
        aside.write_bytes(data)
        aside.replace(target)


def _is_whole(path: Path) -> bool:
    """Whether `path` is there and is what was written."""
    try:
        return _checksum(path).read_text() == hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return False


def _checksum(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
