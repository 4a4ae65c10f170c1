"""Timing and bounds of one replica. Every queue and window of the core has its limit here."""

from __future__ import annotations

import msgspec

from .messages import ENTRIES_PER_MESSAGE_MAX


class RaftOptions(msgspec.Struct, frozen=True):
    """Defaults are the network's agreed figures; what happens at each bound stands beside it.

    Raises ValueError if the figures contradict each other.
    """

    heartbeat_interval_ms: int = 50
    election_timeout_ms_min: int = 150
    election_timeout_ms_max: int = 300

    # Most that one AppendRequest carries. The rest follows in the next one.
    append_entries_max: int = 256
    append_bytes_max: int = 16 * 1024 * 1024
    # Most that may be on its way to one follower, unacknowledged. At the bound the leader waits.
    inflight_entries_max: int = 1024
    inflight_bytes_max: int = 64 * 1024 * 1024
    # Most that the leader accepts beyond its commit index. At the bound `propose` raises LimitReachedError.
    uncommitted_entries_max: int = 1024
    uncommitted_bytes_max: int = 256 * 1024 * 1024
    # Most entries kept in memory. At the bound `propose` raises LimitReachedError until a snapshot is taken.
    log_entries_max: int = 1_000_000
    # Most committed entries that one effects record hands out. The rest follows in the next one.
    committed_entries_max: int = 1024
    # Most reads that wait for confirmation. At the bound a local read raises, a remote one is dropped.
    reads_max: int = 4096
    # Most of this replica's block votes that wait for an acknowledgement to ride on. The oldest is dropped.
    votes_pending_max: int = 1024
    # A new voter may trail the leader's log by this much at most; a longer gap is for learners.
    promotion_lag_entries_max: int = 1024
    # A snapshot that a follower did not report is offered again after this long.
    snapshot_retry_ms: int = 2000

    # The founding entry must be acknowledged by every voter before anything is committed, or, if false, by a
    # majority: then a network whose first blocks were made without a member can be founded a second time, by
    # that member and a majority that has lost its disks.
    founded_by_all: bool = True

    # Serve reads from a leader's lease, without a round of heartbeats. Linearizable only if no two members'
    # clocks differ in rate by more than `clock_rate_error_max` in either direction.
    lease_reads: bool = False
    clock_rate_error_max: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.heartbeat_interval_ms < self.election_timeout_ms_min:
            raise ValueError("heartbeat_interval_ms must be positive and under election_timeout_ms_min")
        if self.election_timeout_ms_min > self.election_timeout_ms_max:
            raise ValueError("election_timeout_ms_min must not exceed election_timeout_ms_max")
        if not 0 <= self.clock_rate_error_max < 1:
            raise ValueError("clock_rate_error_max must be in [0, 1)")
        if self.append_entries_max > ENTRIES_PER_MESSAGE_MAX:
            raise ValueError(f"append_entries_max must not exceed {ENTRIES_PER_MESSAGE_MAX}")
        for name in self.__struct_fields__:
            if name.endswith("_max") and name != "clock_rate_error_max" and getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")

    @property
    def lease_ms(self) -> float:
        """How long after sending a heartbeat that a majority answered no other leader can be elected."""
        error = self.clock_rate_error_max
        return self.election_timeout_ms_min * (1 - error) / (1 + error)
