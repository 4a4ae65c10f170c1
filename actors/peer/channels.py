"""In-node publish and subscribe: a bounded ring of packets that many readers follow at their own pace.

Publishing appends to the ring and never waits: at `capacity` the oldest packet goes. A reader holds nothing
but the sequence number it has come to, so a reader that stalls, or dies, costs nothing; when it comes back
and its packets are gone, it is told how many it missed and from which sequence to resume (where it fetches
the rest, from storage say, is its own affair).
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

Packet = TypeVar("Packet")


@dataclass(frozen=True, slots=True)
class Packets(Generic[Packet]):
    """Packets from `start` on, in order; `next_sequence` is where to read on."""

    start: int
    packets: tuple[Packet, ...]
    next_sequence: int


@dataclass(frozen=True, slots=True)
class Lagged:
    """The reader fell behind: `missed` packets are gone, the oldest that is left is `resume`."""

    missed: int
    resume: int


class Channel(Generic[Packet]):
    """A ring of the latest `capacity` packets, numbered from 0."""

    def __init__(self, capacity: int = 100) -> None:
        if capacity < 1:
            raise ValueError(f"capacity: {capacity}, at least 1")
        self._ring: deque[Packet] = deque(maxlen=capacity)
        self._next = 0
        self._published = asyncio.Event()

    @property
    def next_sequence(self) -> int:
        """Number of the packet that will be published next."""
        return self._next

    @property
    def oldest_sequence(self) -> int:
        """Number of the oldest packet that can still be read."""
        return self._next - len(self._ring)

    def publish(self, packet: Packet) -> int:
        """Append a packet; returns its number. Never waits."""
        self._ring.append(packet)
        self._next += 1
        self._published.set()
        self._published = asyncio.Event()
        return self._next - 1

    def read(self, sequence: int, at_most: int = 100) -> Packets[Packet] | Lagged:
        """Packets from `sequence` on, none when it is the next one; `Lagged` when they are gone.

        A sequence beyond the next one (a reader of an earlier incarnation of this channel) is lagged too.
        """
        if sequence < self.oldest_sequence or sequence > self._next:
            return Lagged(max(0, self.oldest_sequence - sequence), self.oldest_sequence)
        offset = sequence - self.oldest_sequence
        packets = tuple(self._ring[index] for index in range(offset, min(offset + at_most, len(self._ring))))
        return Packets(sequence, packets, sequence + len(packets))

    async def wait(self, sequence: int) -> None:
        """Return once `read(sequence)` has something to say."""
        while sequence == self._next:
            await self._published.wait()
