"""Block time: milliseconds since 1970, as the proposer says them, and what that is worth.

1. A block is not before its parent. The parent of block 1 is the genesis, made at `created_ms`. This follows
   from headers alone, so everybody holds every chain to it, and no clock matters. Equal times are allowed:
   there may be more blocks than milliseconds.
2. A proposer says what its clock says, or the parent's time while its clock is behind that.
3. A member does not vote for a block that is further ahead of its own clock than it tolerates, unless the
   block only repeats its parent's time, which the network found good already. What is certified is no longer
   judged by anybody's clock.

So the time of a final block was reached by the clock of a member of every majority, but for the tolerance,
and is never before that of an earlier block; how long ago it was, it does not say. As proposer-based
timestamps (CometBFT's specification) and Bitcoin's and Ethereum's bounds on what is ahead.
"""

from __future__ import annotations


def time_of_block(clock_ms: int, parent_ms: int) -> int:
    """The time of a new block, by the proposer's clock."""
    return max(clock_ms, parent_ms)


def time_fault(time_ms: int, parent_ms: int) -> str:
    """What is wrong with a block's time after its parent's (rule 1), or nothing."""
    return f"time {time_ms} ms is before its parent's, {parent_ms}" if time_ms < parent_ms else ""


def ahead_fault(time_ms: int, parent_ms: int, clock_ms: int, ahead_ms_max: int) -> str:
    """Why a member whose clock says `clock_ms` does not vote for a block of this time (rule 3)."""
    if time_ms <= max(parent_ms, clock_ms + ahead_ms_max):
        return ""
    ahead_ms = time_ms - clock_ms
    return f"its time is {ahead_ms} ms ahead of this member's clock, {ahead_ms_max} ms are allowed"
