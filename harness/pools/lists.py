"""Hold the ranked lists of many queries in little memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence

from ..tasks import RankedLists


class ScoredLists(Mapping[str, Sequence[tuple[str, float | None]]]):
    """Query id -> (document id, score), best first; the pairs are made as they are asked for.

    doc_ids: the documents of each query.
    scores: the score of each of them; None where no score is known.
    """

    def __init__(
        self, doc_ids: RankedLists, scores: Mapping[str, array[float]] | None = None
    ) -> None:
        self._doc_ids, self._scores = doc_ids, scores

    def __getitem__(self, query_id: str) -> list[tuple[str, float | None]]:
        doc_ids = self._doc_ids[query_id]
        scores = [None] * len(doc_ids) if self._scores is None else self._scores[query_id]
        return list(zip(doc_ids, scores, strict=True))

    def __iter__(self) -> Iterator[str]:
        return iter(self._doc_ids)

    def __len__(self) -> int:
        return len(self._doc_ids)
