"""The simulated network: drop, delay, duplicate, reorder, and partitions of every shape."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(slots=True)
class Faults:
    """What this schedule's network does to messages, as probabilities."""

    drop: float = 0.0
    duplicate: float = 0.0
    straggle: float = 0.0  # delayed by up to `straggle_ms_max`, so overtaken by later ones
    straggle_ms_max: float = 60.0


class SimulatedNetwork:
    """Decides the fate of each message."""

    def __init__(self, rng: Random, faults: Faults) -> None:
        self._rng = rng
        self.faults = faults
        self.blocked: dict[int, frozenset[tuple[int, int]]] = {}  # by partition, directed pairs
        self.stalled: dict[tuple[int, int], float] = {}  # links that deliver nothing before a time
        self._next_partition = 0

    def delays_ms(self, sender: int, to: int, now_ms: float) -> tuple[float, ...]:
        """When the copies of a message arrive: usually one, none if it is lost."""
        for pairs in self.blocked.values():
            if (sender, to) in pairs:
                return ()
        random, faults = self._rng.random, self.faults
        draw = random()
        if draw < faults.drop:
            return ()
        delay_ms = 0.3 + 1.5 * random()
        if self.stalled:
            delay_ms += max(0.0, self.stalled.get((sender, to), 0.0) - now_ms)
        if random() < faults.straggle:
            delay_ms += random() * faults.straggle_ms_max
        if draw > 1.0 - faults.duplicate:
            return (delay_ms, delay_ms + random() * faults.straggle_ms_max)
        return (delay_ms,)

    def partition(self, members: list[int]) -> int:
        """Cuts links in one of several shapes; returns a name to heal it by."""
        rng = self._rng
        shape = rng.choice(("split", "split", "isolate", "deaf", "mute", "partial", "bridge"))
        side = {rng.choice(members)}
        if shape in ("split", "bridge"):
            side = set(rng.sample(members, rng.randint(1, max(1, len(members) // 2))))
        across = {(a, b) for a in members for b in members if (a in side) != (b in side)}
        if shape == "deaf":
            across = {(a, b) for a, b in across if b in side}
        elif shape == "mute":
            across = {(a, b) for a, b in across if a in side}
        elif shape == "partial":
            across = {(a, b) for a in members for b in members if a != b and rng.random() < 0.4}
        elif shape == "bridge":
            bridge = rng.choice(members)
            across = {(a, b) for a, b in across if bridge not in (a, b)}
        return self.cut(frozenset(across))

    def cut(self, pairs: frozenset[tuple[int, int]]) -> int:
        """Cuts the links of these (sender, receiver) pairs; returns a name to heal them by."""
        self._next_partition += 1
        self.blocked[self._next_partition] = pairs
        return self._next_partition

    def heal(self, partition: int) -> None:
        """Ends one partition."""
        self.blocked.pop(partition, None)

    def heal_all(self) -> None:
        """A perfect network from now on."""
        self.blocked.clear()
        self.stalled.clear()
        self.faults = Faults()
