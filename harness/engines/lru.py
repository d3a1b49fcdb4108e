"""What was computed, kept until it takes too much memory."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """Values by key, of at most `limit` bytes in all: the longest unused is dropped first."""

    def __init__(self, limit: int) -> None:
        self.limit, self.bytes = limit, 0
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def __contains__(self, key: K) -> bool:
        return key in self._values

    def get(self, key: K) -> V:
        """Return the value of a key that is there."""
        self._values.move_to_end(key)
        return self._values[key][0]

    def put(self, key: K, value: V, size: int) -> None:
        """Keep a value of `size` bytes, in place of an earlier one."""
        self.bytes -= self._values.pop(key, (value, 0))[1]
        self._values[key] = value, size
        self.bytes += size
        while self.bytes > self.limit:
            _, (_, freed) = self._values.popitem(last=False)
            self.bytes -= freed
