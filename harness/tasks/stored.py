"""Texts by id in an Arrow file, for corpora that need not be held in memory."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import ItemsView, Iterable, Iterator, Mapping, ValuesView
from itertools import islice
from typing import Any

from ..folders import scratch_folder

_BATCH = 50_000  # texts


class StoredTexts(Mapping[str, str]):
    """Id -> text, in the order given; texts are read from a memory map.

    pairs: (id, text). Raises RepeatedId for an id that occurs twice, RerankBenchError if the cache
    folder cannot be written. The file is deleted at once, and its space is free again when nothing
    refers to the texts any longer.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        import numpy as np
        from datasets import Dataset, Features, Value
        from datasets.arrow_writer import ArrowWriter

        features = Features({"id": Value("string"), "text": Value("large_string")})
        left, hashes = iter(pairs), []
        with scratch_folder() as folder:
            path = str(folder / "texts.arrow")
            with ArrowWriter(features=features, path=path, writer_batch_size=_BATCH) as writer:
                while part := list(islice(left, _BATCH)):
                    ids, texts = zip(*part, strict=True)
                    hashes.append(np.fromiter(map(hash, ids), np.int64, len(ids)))
                    writer.write_batch({"id": ids, "text": texts})
                writer.finalize()
            self._batches = Dataset.from_file(path).data.to_batches()
        every = np.concatenate(hashes)
        order = np.argsort(every, kind="stable")
        self._hashes, self._rows = every[order].data, order.data
        self._check_unique(every[order])

    def _check_unique(self, hashes: Any) -> None:
        """Raise RepeatedId for an id that occurs twice."""
        import numpy as np

        for place in np.flatnonzero(hashes[1:] == hashes[:-1]).tolist():
            text_id = self._at("id", self._rows[place + 1])
            if self._find(text_id) != self._rows[place + 1]:
                raise RepeatedId(text_id)

    def _at(self, column: str, row: int) -> str:
        batch, place = divmod(row, _BATCH)
        found: str = self._batches[batch][column][place].as_py()
        return found

    def _find(self, text_id: object) -> int | None:
        """Return the first row of an id, None if there is none."""
        wanted = hash(text_id)
        place = bisect_left(self._hashes, wanted)
        while place < len(self._hashes) and self._hashes[place] == wanted:
            if self._at("id", self._rows[place]) == text_id:
                return self._rows[place]
            place += 1
        return None

    def __getitem__(self, text_id: str) -> str:
        row = self._find(text_id)
        if row is None:
            raise KeyError(text_id)
        return self._at("text", row)

    def __contains__(self, text_id: object) -> bool:
        return self._find(text_id) is not None

    def __len__(self) -> int:
        return len(self._rows)

    def column(self, name: str) -> Iterator[str]:
        """Yield all of column `id` or `text`."""
        for batch in self._batches:
            yield from batch[name].to_pylist()

    def __iter__(self) -> Iterator[str]:
        return self.column("id")

    def values(self) -> ValuesView[str]:
        """Return the texts, which are read in order as they are iterated over."""
        return _Values(self)

    def items(self) -> ItemsView[str, str]:
        """Return the pairs, which are read in order as they are iterated over."""
        return _Items(self)


class RepeatedId(ValueError):
    """An id that occurs twice."""

    def __init__(self, text_id: str) -> None:
        super().__init__(text_id)
        self.text_id = text_id


class _Values(ValuesView[str]):
    _mapping: StoredTexts

    def __iter__(self) -> Iterator[str]:
        return self._mapping.column("text")


class _Items(ItemsView[str, str]):
    _mapping: StoredTexts

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return zip(self._mapping, self._mapping.values(), strict=True)
