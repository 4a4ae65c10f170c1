"""Whom to dial and when: exponential backoff with jitter, so that a returning node is not dialled in step.

The delay before attempt n is min(max, min * 2^n), of which the upper half is random ("equal jitter",
M. Brooker, "Exponential Backoff And Jitter", 2015); the random number comes in as an argument.
"""

from __future__ import annotations

from dataclasses import dataclass

ATTEMPTS_COUNTED_MAX = 32


@dataclass(slots=True)
class DialTarget:
    """One address to reach; `identity` when it is known who must answer there. `learned`: not configured."""

    address: str
    identity: bytes | None
    attempts: int = 0
    due_s: float = 0.0
    dialling: bool = False
    learned: bool = False


class DialPlan:
    """Targets that should stay connected: seeds, and members where they are configured and were learned."""

    def __init__(self, backoff_min_s: float, backoff_max_s: float) -> None:
        self._min_s = backoff_min_s
        self._max_s = backoff_max_s
        self._targets: dict[str, DialTarget] = {}

    def __len__(self) -> int:
        return len(self._targets)

    def add(self, address: str, identity: bytes | None, now_s: float) -> None:
        """Want a connection to `address`; adding it again only fills in a missing identity."""
        target = self._targets.setdefault(address, DialTarget(address, identity, due_s=now_s))
        target.identity = target.identity or identity

    def learn(self, address: str, identity: bytes, now_s: float) -> None:
        """`identity` says that it is at `address` now: that takes the place of what was learned before."""
        old = [t.address for t in self._targets.values() if t.learned and t.identity == identity]
        for other in old:
            if other != address:
                del self._targets[other]
        if address not in self._targets:
            self._targets[address] = DialTarget(address, identity, due_s=now_s, learned=True)

    def targets(self) -> list[DialTarget]:
        """All targets."""
        return list(self._targets.values())

    def discard(self, address: str) -> None:
        """Stop wanting `address`."""
        self._targets.pop(address, None)

    def due(self, now_s: float, connected: set[bytes], at_most: int) -> list[DialTarget]:
        """Targets to dial now, the longest overdue first; they count as being dialled until reported."""
        ready = [
            target
            for target in self._targets.values()
            if not target.dialling and target.due_s <= now_s and target.identity not in connected
        ]
        ready.sort(key=lambda target: target.due_s)
        for target in ready[:at_most]:
            target.dialling = True
        return ready[:at_most]

    def failed(self, address: str, now_s: float, jitter: float) -> None:
        """The dial did not end in a connection; `jitter` is uniform in [0, 1)."""
        target = self._targets.get(address)
        if target is not None:
            target.dialling = False
            delay_s = min(self._max_s, self._min_s * 2.0**target.attempts)
            target.due_s = now_s + delay_s * (0.5 + 0.5 * jitter)
            target.attempts = min(target.attempts + 1, ATTEMPTS_COUNTED_MAX)

    def succeeded(self, address: str, identity: bytes, now_s: float) -> None:
        """The dial reached `identity`. The backoff starts over when that connection is lost."""
        target = self._targets.get(address)
        if target is not None:
            target.dialling = False
            target.identity = identity
            target.attempts = 0
            target.due_s = now_s + self._min_s
