"""Members that are behind and coming after, for whom the leader makes fewer and larger blocks.

What a block costs a member, apart from its rows, it costs whether it holds one or thousands. On machines that
are busy with as many blocks as they bear, a member that was away would never reach the others, and one that
has lost its disk would never get its vote back. A member that only stands still holds nobody up.
"""

from __future__ import annotations

from collections.abc import Sequence

from actors.consensus.raft.founding import READMITTED_LAG_ENTRIES_MAX
from actors.consensus.raft.progress import FollowerStatus

LOOK_EVERY_MS, SILENT_MS_MAX = 1_000, 1_000


class Stragglers:
    """Looks at the followers of a leader every LOOK_EVERY_MS."""

    def __init__(self) -> None:
        self._match: dict[int, int] = {}
        self._looked_ms = 0
        self._any = False

    def are_coming(self, followers: Sequence[FollowerStatus], now_ms: int) -> bool:
        """Whether one is further behind than who is to vote may be, answers, and has come nearer."""
        if now_ms < self._looked_ms + LOOK_EVERY_MS:
            return self._any
        self._looked_ms = now_ms
        self._any = any(
            each.lag_entries > READMITTED_LAG_ENTRIES_MAX
            and each.silent_ms <= SILENT_MS_MAX
            and each.match > self._match.get(each.member, each.match)
            for each in followers
        )
        self._match = {each.member: each.match for each in followers}
        return self._any
