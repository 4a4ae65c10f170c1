"""Accepted gossip bodies, kept to answer who asks for them.

At a bound the oldest goes, of what observers sent while that takes more than half, else of what members and
this node sent: so observers push out each other's items first, and never more than half of the others'.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import ItemsView
from dataclasses import dataclass


@dataclass(slots=True)
class Item:
    """A body, and who is known to have it; `sender` is None for this node's own."""

    topic: str
    body: bytes
    known_by: set[bytes]
    sender: bytes | None


class GossipStore:
    """Items by id, latest last."""

    def __init__(self, items_max: int, bytes_max: int, members: frozenset[bytes]) -> None:
        self._items_max, self._bytes_max, self._members = items_max, bytes_max, members
        self._items: OrderedDict[bytes, Item] = OrderedDict()
        self._ids: dict[bool, OrderedDict[bytes, None]] = {True: OrderedDict(), False: OrderedDict()}
        self._bytes = {True: 0, False: 0}

    def __len__(self) -> int:
        return len(self._items)

    @property
    def held_bytes(self) -> int:
        """Bytes of all bodies."""
        return self._bytes[True] + self._bytes[False]

    def get(self, id_: bytes) -> Item | None:
        """The item, or None."""
        return self._items.get(id_)

    def items(self) -> ItemsView[bytes, Item]:
        """All of them, oldest first."""
        return self._items.items()

    def put(self, id_: bytes, item: Item) -> None:
        """Keep an item that is not there yet; others may go for it."""
        favoured = self._favoured(item)
        self._items[id_] = item
        self._ids[favoured][id_] = None
        self._bytes[favoured] += len(item.body)
        while self.held_bytes > self._bytes_max or len(self._items) > self._items_max:
            others = self._ids[False]
            crowd = 2 * self._bytes[False] > self._bytes_max or 2 * len(others) > self._items_max
            victims = others if others and (crowd or not self._ids[True]) else self._ids[True]
            self._discard(next(iter(victims)))

    def peer_left(self, peer: bytes) -> None:
        """Nobody knows whether it still has anything."""
        for item in self._items.values():
            item.known_by.discard(peer)

    def _discard(self, id_: bytes) -> None:
        item = self._items.pop(id_)
        favoured = self._favoured(item)
        del self._ids[favoured][id_]
        self._bytes[favoured] -= len(item.body)

    def _favoured(self, item: Item) -> bool:
        return item.sender is None or item.sender in self._members
