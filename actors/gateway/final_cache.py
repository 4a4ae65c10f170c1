"""A cache of what never changes, bounded in entries and in bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class FinalCache(Generic[K, V]):
    """The least recently used values leave first. size: the bytes of a value. Its caller counts misses."""

    def __init__(self, entries_max: int, bytes_max: int, size: Callable[[V], int]) -> None:
        self._entries_max, self._bytes_max, self._size = entries_max, bytes_max, size
        self._entries: OrderedDict[K, V] = OrderedDict()
        self.bytes = self.hits = self.misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """The value, now the most recently used, or None."""
        value = self._entries.get(key)
        if value is not None:
            self.hits += 1
            self._entries.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        """Keep a value; one that is larger than the whole cache is not kept."""
        if (old := self._entries.pop(key, None)) is not None:
            self.bytes -= self._size(old)
        if self._size(value) > self._bytes_max:
            return
        self._entries[key] = value
        self.bytes += self._size(value)
        while len(self._entries) > self._entries_max or self.bytes > self._bytes_max:
            self.bytes -= self._size(self._entries.popitem(last=False)[1])
