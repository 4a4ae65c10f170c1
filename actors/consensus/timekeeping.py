"""Members tell each other the time, and a member whose clock is wrong says so: in status and in the log.

What is told is a version (u8) and milliseconds since 1970 (u64), every TELL_S, to whom this member's
configuration names; only what those say counts. The log is told when the clock begins to be wrong, every
WARN_AGAIN_S while it lasts, and when it is over.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Protocol

from actors.consensus.network_clock import NetworkClock

TELL_S, WARN_AGAIN_S = 1.0, 600.0
_TOLD = struct.Struct("<BQ")
_VERSION = 1


def encode_time(time_ms: int) -> bytes:
    """9 bytes."""
    return _TOLD.pack(_VERSION, max(time_ms, 0))


class ClockPorts(Protocol):
    """The members that this one's configuration names, and the way to them."""

    @property
    def others(self) -> Callable[[], list[bytes]]: ...

    def tell_time(self, body: bytes) -> None: ...


class Timekeeper:
    """note and warn are the log's."""

    def __init__(
        self,
        clock: NetworkClock,
        ports: ClockPorts,
        note: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self._clock, self._ports = clock, ports
        self._note, self._warn = note, warn
        self._looks_until_warning = -1
        self.refused = 0

    async def run(self) -> None:
        """Tell and look until cancelled."""
        while True:
            self._ports.tell_time(encode_time(self._clock.wall_ms()))
            self.look()
            await asyncio.sleep(TELL_S)

    def hear(self, identity: bytes, body: bytes) -> None:
        """What another member's clock says; anything else, and of anybody else, is counted and dropped."""
        if len(body) != _TOLD.size or body[0] != _VERSION or identity not in self._ports.others():
            self.refused += 1
            return
        self._clock.hear(identity, _TOLD.unpack(body)[1])

    def trouble(self) -> str:
        """What is wrong with this member's clock, or nothing."""
        skew_ms = self._clock.skew_ms()
        if skew_ms is None or abs(skew_ms) <= self._clock.skew_ms_max:
            return ""
        way = "ahead of" if skew_ms > 0 else "behind"
        return f"this machine's clock is {abs(skew_ms) / 1000:,.0f} s {way} the network's: run an NTP service"

    def describe(self) -> dict[str, object]:
        """For status: `clock_skew_ms` is None while nobody says."""
        return {"clock_skew_ms": self._clock.skew_ms(), "clock": self.trouble()}

    def look(self) -> None:
        """Once every TELL_S: say what has changed."""
        trouble = self.trouble()
        if trouble and self._looks_until_warning <= 0:
            self._warn(trouble)
            self._looks_until_warning = int(WARN_AGAIN_S / TELL_S)
        elif trouble:
            self._looks_until_warning -= 1
        elif self._looks_until_warning >= 0:
            self._note("this machine's clock agrees with that of the network again")
            self._looks_until_warning = -1
