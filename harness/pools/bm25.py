"""Rank with BM25 by bm25s (Lù, 2024, arXiv:2407.03618): k1 = 1.5, b = 0.75, Lucene's idf.

Lucene's idf is positive also for a term in most documents, so every match has a score over 0.

The index of a large corpus is made in parts, by the statistics of the whole corpus, and read from
disk through memory maps. Scores are those of one index.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import islice
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..folders import scratch_folder
from ..progress import bar
from .lists import ScoredLists
from .words import tokenizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

K1, B = 1.5, 0.75
_SAMPLE = 200  # documents in which English is looked for, where no language is known
_PART = 100_000  # documents


def rank_by_bm25(
    queries: Mapping[str, str], corpus: Mapping[str, str], *, language: str | None, depth: int
) -> Mapping[str, Sequence[tuple[str, float]]]:
    """Return for each query (document id, score > 0), best first, at most `depth`.

    Equal scores are ordered by document id. A query that shares no term with any document has no
    candidates.
    """
    step = max(len(corpus) // _SAMPLE, 1)
    terms_of = tokenizer(language, islice(corpus.values(), 0, None, step))
    index, ids = _Index.of(corpus.values(), terms_of), list(corpus)
    found: dict[str, tuple[str, ...]] = {}
    scores: dict[str, array[float]] = {}
    with bar("bm25", total=len(queries)) as advance:
        for query_id, query in queries.items():
            near = ((-score, ids[row]) for row, score in index.best(terms_of(query), depth))
            ranked = sorted(near)[:depth]
            found[query_id] = tuple(doc_id for _, doc_id in ranked)
            scores[query_id] = array("d", (-loss for loss, _ in ranked))
            advance(1)
    return ScoredLists(found, scores)


class _Index(NamedTuple):
    """Parts of a bm25s index, each of documents that follow one another, and their vocabulary."""

    parts: Sequence[Any]
    vocabulary: Mapping[str, int]

    @classmethod
    def of(cls, texts: Collection[str], terms_of: Callable[[str], list[str]]) -> _Index:
        """Make the index of `texts`; its parts are on disk if there are several."""
        vocabulary: dict[str, int] = {}
        with ExitStack() as stack:
            folder = stack.enter_context(scratch_folder()) if len(texts) > _PART else None
            keep = partial(_kept, folder)
            counted = list(_counted(texts, terms_of, vocabulary, keep))
            parts = list(_scored(counted, len(vocabulary), keep))
        return cls(parts, vocabulary)  # what is mapped can be read although its file is deleted

    def best(self, terms: Sequence[str], depth: int) -> list[tuple[int, float]]:
        """Return (row, score > 0) of the best `depth` texts and all equal to them, in any order."""
        import numpy as np

        known = [self.vocabulary[term] for term in terms if term in self.vocabulary]
        if not known:
            return []
        first, rows, values = 0, [], []
        for part in self.parts:
            scores = part.get_scores_from_ids(known)
            near = _best(scores, depth)
            rows.append(near + first)
            values.append(scores[near])
            first += len(scores)
        every = np.concatenate(values)
        best = _best(every, depth)
        return list(zip(np.concatenate(rows)[best].tolist(), every[best].tolist(), strict=True))


def _best(scores: NDArray[np.float32], depth: int) -> NDArray[np.int64]:
    """Return the places of the best `depth` scores over 0, and of all that are equal to them."""
    import numpy as np

    places: NDArray[np.int64] = np.flatnonzero(scores > 0)
    if len(places) <= depth:
        return places
    least = np.partition(scores[places], -depth)[-depth]
    best: NDArray[np.int64] = places[scores[places] >= least]
    return best


def _kept(folder: Path | None, values: NDArray[Any]) -> NDArray[Any]:
    """Return an array, of which only a memory map stays if there is a folder to write it into."""
    import numpy as np

    if folder is None:
        return values
    path = folder / f"{len(list(folder.iterdir()))}.npy"
    np.save(path, values)
    return np.asarray(np.load(path, mmap_mode="r"))


class _Counted(NamedTuple):
    """The terms of some documents, sorted by term and document.

    lengths: terms of each document. starts: where the documents of each term begin, and the end.
    documents, counts: a document that has the term, and how often it has it.
    """

    lengths: NDArray[Any]
    starts: NDArray[Any]
    documents: NDArray[Any]
    counts: NDArray[Any]


def _counted(
    texts: Iterable[str],
    terms_of: Callable[[str], list[str]],
    vocabulary: dict[str, int],
    keep: Callable[[NDArray[Any]], NDArray[Any]],
) -> Iterator[_Counted]:
    """Count the terms of part after part, and number new ones in the vocabulary."""
    import numpy as np

    left = iter(texts)
    while own := list(islice(left, _PART)):
        found, lengths = array("q"), np.zeros(len(own), np.int64)
        for row, text in enumerate(own):
            terms = terms_of(text)
            found.extend([vocabulary.setdefault(term, len(vocabulary)) for term in terms])
            lengths[row] = len(terms)
        pairs = np.array(found) * len(own) + np.repeat(np.arange(len(own)), lengths)
        pairs, counts = np.unique(pairs, return_counts=True)
        starts = np.searchsorted(pairs, np.arange(len(vocabulary) + 1) * len(own))
        documents = (pairs % len(own)).astype(np.int32)
        every = lengths, starts, documents, counts.astype(np.int32)
        yield _Counted(*[keep(values) for values in every])


def _scored(
    parts: Sequence[_Counted], terms: int, keep: Callable[[NDArray[Any]], NDArray[Any]]
) -> Iterator[Any]:
    """Yield the bm25s index of each part, whose scores are those of one index of all parts."""
    import bm25s
    import numpy as np

    if not parts:
        return
    lengths = np.concatenate([part.lengths for part in parts])
    having = np.zeros(terms, np.int64)
    for part in parts:
        having[: len(part.starts) - 1] += np.diff(part.starts)
    ratios = (len(lengths) - having + 0.5) / (having + 0.5)
    idf = np.array([log(1 + ratio) for ratio in ratios.tolist()], np.float32)
    for part in parts:
        starts = np.pad(part.starts, (0, terms + 1 - len(part.starts)), mode="edge")
        length = part.lengths[part.documents] / lengths.mean()
        share = part.counts / (K1 * (1 - B + B * length) + part.counts)
        scores = np.repeat(idf, np.diff(starts)) * share
        index = bm25s.BM25(k1=K1, b=B, method="lucene", backend="numpy")
        index.nonoccurrence_array = None  # Lucene's variant has none
        index.scores = {
            "data": keep(scores.astype(np.float32)),
            "indices": part.documents,
            "indptr": keep(starts),
            "num_docs": len(part.lengths),
        }
        yield index
