"""Hold the ranked lists of many queries in little memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..tasks import RankedLists


class ScoredLists(Mapping[str, Sequence[tuple[str, Any]]]):
    """Query id -> (document id, score), best first; the pairs are made as they are asked for.

    doc_ids: the documents of each query.
    scores: the score of each of them; None where no score is known.
    """

    def __init__(
        self, doc_ids: RankedLists, scores: Mapping[str, array[float]] | None = None
    ) -> None:
        self._doc_ids, self._scores = doc_ids, scores

    def __getitem__(self, query_id: str) -> list[tuple[str, Any]]:
        doc_ids = self._doc_ids[query_id]
        if self._scores is None:
            return [(doc_id, None) for doc_id in doc_ids]
        return list(zip(doc_ids, self._scores[query_id], strict=True))

    def __iter__(self) -> Iterator[str]:
        return iter(self._doc_ids)

    def __len__(self) -> int:
        return len(self._doc_ids)
