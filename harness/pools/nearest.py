"""Find the vectors with the greatest inner products with queries, by faiss.

Documents' vectors come in parts, of which one at a time is in memory. Up to FLAT of them, search is
exact. Beyond, an inverted file of 8-bit codes finds candidates, whose products are computed from
the vectors themselves; its recall against exact search is measured on a sample of the queries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isqrt
from typing import TYPE_CHECKING, Any

from ..tasks import Note

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]
    Rows = NDArray[np.int64]
    Found = tuple[Vectors, Rows]
    """Products and rows, shape (queries, k), the greatest first."""

FLAT = 1_000_000
"""Most vectors that are searched exactly."""

_SPARE = 100  # further rows that are found for each query
_MARGIN = 1e-4  # over the error of a cosine that is summed in float32
_BLOCK = 5_000  # queries that are searched at once
_LISTS, _PROBED = 2, 1 / 16  # lists of the inverted file over the root of its size; share searched
_TRAINING = 40  # vectors for each list; faiss asks for 39
_SAMPLE = 100  # queries on which recall is measured


class Nearest:
    """Rows of the vectors nearest to queries.

    parts: the vectors of the documents, shape (rows, dim); all parts but the last have equal size.
    depth: the number of rows asked for.
    """

    def __init__(self, parts: Sequence[Vectors], depth: int) -> None:
        self._parts = parts
        self._size = sum(map(len, parts))
        self._depth = min(depth, self._size)
        self._width = min(depth + _SPARE, self._size)

    def rows(self, queries: Vectors) -> tuple[Iterator[Rows], dict[str, Note]]:
        """Return for each query rows that hold the nearest `depth`, and what was measured."""
        if self._size <= FLAT:
            return self._complete(queries, self._flat(queries)), {}
        index = inverted_file(self._parts, self._size)
        step = max(len(queries) // _SAMPLE, 1)
        exact = self._flat(queries[::step])[1][:, : self._depth]
        found = index.search(queries, self._width)[1]
        missed = sum(len(set(a) - set(b)) for a, b in zip(exact, found[::step], strict=True))
        what = f"documents of the exact first {self._depth} that approximate search missed"
        about = f"recall {1 - missed / exact.size:.4f} on {len(exact)} queries"
        return (own[own >= 0] for own in found), {what: Note(missed, (about,))}

    def vectors(self, rows: Rows) -> Vectors:
        """Return the vectors of some rows."""
        import numpy as np

        found = np.empty((len(rows), self._parts[0].shape[1]), np.float32)
        part, place = np.divmod(rows, len(self._parts[0]))
        for number in np.unique(part):
            found[part == number] = self._parts[number][place[part == number]]
        return found

    def _flat(self, queries: Vectors) -> Found:
        """Return the greatest products of all parts, more than `depth` where there are more."""
        import numpy as np

        scores = np.full((len(queries), self._width), -np.inf, np.float32)
        rows = np.full(scores.shape, -1, np.int64)
        first = 0
        for part in self._parts:
            index = _flat_index(part)
            for start in range(0, len(queries), _BLOCK):
                block = slice(start, start + _BLOCK)
                near, places = index.search(queries[block], min(self._width, len(part)))
                every = np.hstack([scores[block], near])
                order = np.argsort(-every, axis=1, kind="stable")[:, : self._width]
                scores[block] = np.take_along_axis(every, order, 1)
                rows[block] = np.take_along_axis(np.hstack([rows[block], places + first]), order, 1)
            first += len(part)
        return scores, rows

    def _complete(self, queries: Vectors, found: Found) -> Iterator[Rows]:
        """Yield each query's rows whose products may be as great as that of row `depth`."""
        for query, scores, rows in zip(queries, *found, strict=True):
            least = float(scores[self._depth - 1]) - _MARGIN
            is_cut = scores[-1] >= least and self._width < self._size
            yield self._within(query, least) if is_cut else rows[scores >= least]

    def _within(self, query: Vectors, least: float) -> Rows:
        """Return all rows whose product with a query is over `least`."""
        import numpy as np

        starts = np.cumsum([0, *map(len, self._parts)])
        parts = zip(starts, self._parts, strict=False)
        return np.concatenate(
            [s + _flat_index(own).range_search(query[None], least)[2] for s, own in parts]
        )


def _flat_index(vectors: Vectors) -> Any:
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index


def inverted_file(parts: Sequence[Vectors], size: int, bits: int = 8) -> Any:
    """Return an inverted file of the codes of all vectors.

    bits: of a component's code, 8 or 4. With 4 it is half as large, and its recall on vectors of
    real sentences much lower: benchmarks/nearest.py.
    """
    import faiss
    import numpy as np

    lists, dim = _LISTS * isqrt(size), parts[0].shape[1]
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(dim),
        dim,
        lists,
        {8: faiss.ScalarQuantizer.QT_8bit, 4: faiss.ScalarQuantizer.QT_4bit}[bits],
        faiss.METRIC_INNER_PRODUCT,
    )
    step = max(size // (_TRAINING * lists), 1)
    index.train(np.concatenate([part[::step] for part in parts]))
    for part in parts:
        index.add(part)
    index.nprobe = max(int(lists * _PROBED), 1)
    return index
