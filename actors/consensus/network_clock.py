"""What time it is, as far as one member can know: its own clock, held against those of the other members.

1. Members tell each other what their clocks say. The majority's clock is the latest time that the clocks of a
   majority have reached, this member's among them: with all known, and an odd number, the median, as in BFT
   time. No minority of wrong or lying clocks moves it out of the range of the right ones. It is unknown while
   a majority is.
2. The time is what the own clock says, or the majority's clock while the own one is more than half of the
   bound away from it: a proposer that can know better says a time that the others vote for.
3. A block's time is judged by the latest of own clock, majority's clock and what certificates have proven.
   Where this member alone is behind, the others certify what it refuses: it takes the time of that block for
   the time of the network from then on. Nothing else moves the bound, or a proposer could go ahead by it with
   each block.
4. Between what they say others' clocks run on by this member's monotonic clock. What was said SAID_MS_MAX ago
   counts no more.

No I/O: the clocks are given as functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from actors.ledger.block_time import ahead_fault
from actors.ledger.quorum import reached

SAID_MS_MAX = 5_000


@dataclass(frozen=True, slots=True)
class _Running:
    """A clock that said `time_ms` when this member's monotonic clock was at `at_ms`."""

    time_ms: int
    at_ms: int

    def now_ms(self, monotonic_ms: int) -> int:
        return self.time_ms + max(monotonic_ms - self.at_ms, 0)


class NetworkClock:
    """`members` are the identities of the genesis; `wall_ms` is since 1970, `clock_us` monotonic."""

    def __init__(
        self,
        members: Sequence[bytes],
        ahead_ms_max: int,
        wall_ms: Callable[[], int],
        clock_us: Callable[[], int],
    ) -> None:
        self._members, self._voters = frozenset(members), len(members)
        self._ahead_ms_max = ahead_ms_max
        self.wall_ms, self._clock_us = wall_ms, clock_us
        self._said: dict[bytes, _Running] = {}
        self._proven: _Running | None = None
        self._chain: _Running | None = None

    @property
    def skew_ms_max(self) -> int:
        """How far from the majority's clock this member's may be, ahead or behind, and still be followed."""
        return self._ahead_ms_max // 2

    def hear(self, identity: bytes, time_ms: int) -> None:
        """Another member says what its clock says now; who is no member is not heard."""
        if identity in self._members:
            self._said[identity] = _Running(time_ms, self._monotonic_ms())

    def certified(self, time_ms: int) -> None:
        """A block of this time is final: what that shows of this member's own clock."""
        running = _Running(time_ms, self._monotonic_ms())
        if time_ms > self._judging_ms() + self._ahead_ms_max:
            self._proven = running
        if self._chain is None or time_ms > self._chain.time_ms:
            self._chain = running

    def fault(self, time_ms: int, parent_ms: int) -> str:
        """Why a block of this time is not voted for at the moment, or nothing."""
        return ahead_fault(time_ms, parent_ms, self._judging_ms(), self._ahead_ms_max)

    def now_ms(self) -> int:
        """The time, for what this member proposes."""
        own, majority = self.wall_ms(), self._majority_ms()
        return own if majority is None or abs(own - majority) <= self.skew_ms_max else majority

    def skew_ms(self) -> int | None:
        """How far this member's clock is ahead of the majority's; None while nobody says.

        Who hears no majority sees at least that it is behind the chain, by more than the bound.
        """
        own, majority = self.wall_ms(), self._majority_ms()
        if majority is not None:
            return own - majority
        behind = 0 if self._chain is None else own - self._chain.time_ms
        return behind if behind < -self._ahead_ms_max else None

    def _monotonic_ms(self) -> int:
        return self._clock_us() // 1000

    def _judging_ms(self) -> int:
        now_ms = self._monotonic_ms()
        proven = 0 if self._proven is None else self._proven.now_ms(now_ms)
        return max(self.wall_ms(), self._majority_ms() or 0, proven)

    def _majority_ms(self) -> int | None:
        now_ms = self._monotonic_ms()
        clocks = [said.now_ms(now_ms) for said in self._said.values() if now_ms - said.at_ms <= SAID_MS_MAX]
        return reached([self.wall_ms(), *clocks], self._voters)
