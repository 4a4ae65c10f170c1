"""How high a term can be: what elections could have made of it since the network began.

An election takes longer than TERM_MS, so by the time t after the genesis no correct network has reached more
than `term_ceiling(t)`. A message of a higher term changes nothing, and nobody campaigns beyond it. So one lie
lifts the term by years of elections at most, never to the end of what a term can hold, everybody follows to
the same height, and a member that was away for long enters the present term at once. Clocks that differ by a
second let members differ for as long, and only in a network whose term was lifted to the ceiling before.
"""

from __future__ import annotations

from .records import TERM_MAX

TERMS_AT_GENESIS = 2**20
TERM_MS = 50


def term_ceiling(age_ms: int) -> int:
    """The highest term that counts in a network whose genesis is `age_ms` old by this member's wall clock."""
    return min(TERM_MAX, TERMS_AT_GENESIS + max(age_ms, 0) // TERM_MS)
