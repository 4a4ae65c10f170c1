"""Virtual time and a virtual network. Everything random comes from one seed, so a run repeats exactly.

Latency is drawn a message from a base that belongs to the pair (20-200 ms) and a little jitter. The wire is
TCP, so a lost packet does not lose a message: it adds a retransmission timeout. Nodes on different sides of
a partition do not reach each other.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any

LATENCY_MIN_S = 0.02
LATENCY_MAX_S = 0.2
RETRANSMIT_S = 0.3
RETRANSMITS_MAX = 5


class PeerWorld:
    """The event queue, the clock and the links of one simulation."""

    def __init__(self, seed: int, *, loss: float = 0.01) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.now_s = 0.0
        self.messages = 0
        self._loss = loss
        self._sides: dict[bytes, int] = {}
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0

    def after(self, delay_s: float, call: Callable[..., None], *arguments: Any) -> None:
        """Call back at `now_s + delay_s`; events of one instant keep their order."""
        self._count += 1
        heapq.heappush(self._events, (self.now_s + delay_s, self._count, call, arguments))

    def run(self, until_s: float) -> None:
        """Advance to `until_s`, or as far as there is anything to do."""
        while self._events and self._events[0][0] <= until_s:
            self.now_s, _, call, arguments = heapq.heappop(self._events)
            call(*arguments)
        self.now_s = max(self.now_s, until_s)

    def carry(self, source: bytes, sink: bytes, call: Callable[..., None], *arguments: Any) -> None:
        """Carry one message; it is lost only when a partition lies between when it is sent."""
        self.messages += 1
        if self._sides.get(source, 0) == self._sides.get(sink, 0):
            self.after(self._latency_s(source, sink), call, *arguments)

    def partition(self, sides: dict[bytes, int]) -> None:
        """Put nodes on sides (0 unless named); an empty dict heals the network."""
        self._sides = sides

    def _latency_s(self, source: bytes, sink: bytes) -> float:
        pair = source[0] ^ sink[0] ^ source[1] ^ sink[1]
        latency_s = LATENCY_MIN_S + (LATENCY_MAX_S - LATENCY_MIN_S) * pair / 255
        latency_s *= 1.0 + 0.2 * self.random.random()
        for _ in range(RETRANSMITS_MAX):
            if self.random.random() >= self._loss:
                break
            latency_s += RETRANSMIT_S
        return latency_s
