"""Faults of the wire, for tests that must see a network misbehave. Off unless a test sets rules; pure.

A rule speaks of what arrives from one peer, or from all: a share of messages is lost, a share comes twice,
each comes late by a fixed time and a random one, which lets later messages overtake it. A rule with loss 1
is one direction of a partition. Every decision comes from the seed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

DELAY_MS_MAX = 60_000
RULES_MAX = 1_024
BALLAST_MB_MAX = 1_024
ANYBODY = b""


@dataclass(frozen=True, slots=True)
class FaultRule:
    """What happens to messages of one peer. Shares are 0 to 1, delays in milliseconds."""

    loss: float = 0.0
    duplication: float = 0.0
    delay_ms: float = 0.0
    jitter_ms: float = 0.0

    def __post_init__(self) -> None:
        for name in ("loss", "duplication"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: {getattr(self, name)}, must be a share from 0 to 1")
        for name in ("delay_ms", "jitter_ms"):
            if not 0 <= getattr(self, name) <= DELAY_MS_MAX:
                raise ValueError(f"{name}: {getattr(self, name)}, must be 0 to {DELAY_MS_MAX}")


class FaultTable:
    """Rules by identity (32 bytes; ANYBODY for those without a rule of their own)."""

    def __init__(self, seed: int, rules: dict[bytes, FaultRule], ballast_mb: int = 0) -> None:
        if len(rules) > RULES_MAX or not 0 <= ballast_mb <= BALLAST_MB_MAX:
            raise ValueError(f"at most {RULES_MAX} rules and {BALLAST_MB_MAX} MB of ballast")
        self._rules = dict(rules)
        self._chance = random.Random(seed)
        # Memory that is held for nothing: what a leak looks like from outside.
        self._ballast = bytearray(b"\x01") * (ballast_mb << 20)
        self.lost = self.duplicated = 0

    def deliveries_s(self, identity: bytes) -> tuple[float, ...]:
        """After how many seconds each copy of the next message of a peer arrives; empty: it is lost."""
        rule = self._rules.get(identity) or self._rules.get(ANYBODY)
        if rule is None:
            return (0.0,)
        if self._chance.random() < rule.loss:
            self.lost += 1
            return ()
        copies = 1 + (self._chance.random() < rule.duplication)
        self.duplicated += copies - 1
        if not rule.delay_ms and not rule.jitter_ms:
            return (0.0,) * copies
        return tuple((rule.delay_ms + rule.jitter_ms * self._chance.random()) / 1000 for _ in range(copies))


def read_faults(document: dict[str, Any]) -> FaultTable | None:
    """The table of {"seed": int, "rules": {identity in hex or "": {loss, duplication, ...}}, "ballast_mb"}.

    None for an empty document. Raises ValueError naming what is wrong.
    """
    if not document:
        return None
    unknown = set(document) - {"seed", "rules", "ballast_mb"}
    if unknown:
        raise ValueError(f"faults: unknown {', '.join(sorted(unknown))}")
    try:
        rules = {bytes.fromhex(peer): FaultRule(**rule) for peer, rule in document.get("rules", {}).items()}
    except TypeError as error:
        raise ValueError(f"faults: {error}") from None
    return FaultTable(int(document.get("seed", 0)), rules, int(document.get("ballast_mb", 0)))
