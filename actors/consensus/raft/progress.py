"""What the leader knows of one follower.

PROBE      one request at a time, until the logs are known to match somewhere
REPLICATE  requests are pipelined, `next` runs ahead optimistically, within the in-flight caps
SNAPSHOT   the follower fetches a state; no entries are sent until it reports
"""

from __future__ import annotations

from collections import deque
from enum import Enum

import msgspec


class ProgressState(Enum):
    """How the leader feeds a follower."""

    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class FollowerStatus(msgspec.Struct, frozen=True):
    """What the leader can say of one member, for listings and health reports."""

    member: int
    state: ProgressState
    match: int  # durable there, up to this index
    lag_entries: int  # behind the end of the leader's log
    silent_ms: int  # since its last answer
    counted: bool = True  # it answers from the disk that the configuration names


class Progress:
    """One follower's replication state; the leader keeps one of itself too, for the majorities."""

    __slots__ = (
        "commit_sent",
        "counted",
        "disk",
        "heard_ms",
        "inflight",
        "inflight_bytes",
        "inflight_entries",
        "lease_start_ms",
        "match",
        "next",
        "probe_sent",
        "round",
        "snapshot_sent_ms",
        "state",
    )

    def __init__(self, next_index: int, now_ms: int) -> None:
        self.match = 0  # known durable there, up to here
        self.next = next_index  # the next entry to send
        self.state = ProgressState.PROBE
        self.probe_sent = False
        self.round = 0  # the last round of contact that it answered
        self.heard_ms = now_ms
        self.lease_start_ms = 0  # when the last heartbeat that it answered was sent
        self.commit_sent = 0
        self.disk: bytes | None = None  # from which it speaks; None until it has spoken to this leader
        self.counted = True  # its word counts: that disk is named by the configuration in force
        self.snapshot_sent_ms = 0
        self.inflight: deque[tuple[int, int, int]] = deque()  # last index, entries, bytes of each request
        self.inflight_entries = 0
        self.inflight_bytes = 0

    def record_sent(self, last_index: int, entries: int, size_bytes: int) -> None:
        """Counts a pipelined request as in flight."""
        self.inflight.append((last_index, entries, size_bytes))
        self.inflight_entries += entries
        self.inflight_bytes += size_bytes
        self.next = last_index + 1

    def release(self, index: int) -> None:
        """Forgets the requests that an acknowledgement up to `index` covers."""
        while self.inflight and self.inflight[0][0] <= index:
            _, entries, size_bytes = self.inflight.popleft()
            self.inflight_entries -= entries
            self.inflight_bytes -= size_bytes

    def become(self, state: ProgressState, next_index: int) -> None:
        """Enters a state with an empty window."""
        self.state = state
        self.next = next_index
        self.probe_sent = False
        self.commit_sent = 0
        self.inflight.clear()
        self.inflight_entries = 0
        self.inflight_bytes = 0
