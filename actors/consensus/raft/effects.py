"""What the core wants done, as one frozen record. The order of durability stands at each field."""

from __future__ import annotations

from enum import Enum

import msgspec

from .messages import Message
from .records import BlockVote, Entry, HardState, SnapshotMeta


class Role(Enum):
    """What a replica is at the moment."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


class Write(msgspec.Struct, frozen=True):
    """One write to the log, in this order: snapshot, hard state, entries.

    A torn write must leave a prefix of that order. Writes become durable in the order of their tickets. A
    write without content is a barrier and needs no sync of its own.
    """

    ticket: int
    snapshot: SnapshotMeta | None = None  # the log is to hold nothing but this; its state is durable already
    hard_state: HardState | None = None
    entries: tuple[Entry, ...] = ()  # whatever the log holds from the first one's index on is replaced

    @property
    def is_barrier(self) -> bool:
        """True if there is nothing to write."""
        return self.snapshot is None and self.hard_state is None and not self.entries


class ReadReady(msgspec.Struct, frozen=True, gc=False):
    """A read may be answered from any state that has applied `index`."""

    read_id: int
    index: int


class VoteReceived(msgspec.Struct, frozen=True, gc=False):
    """A member's block vote, unchecked."""

    member: int
    vote: BlockVote


class SnapshotOffer(msgspec.Struct, frozen=True):
    """The leader's offer of a state; repeated until `snapshot_installed` reports it."""

    source: int
    snapshot: SnapshotMeta


class Effects(msgspec.Struct, frozen=True):
    """Everything that follows from the inputs since the last record."""

    # Send at once, whether or not anything is durable.
    messages: tuple[Message, ...] = ()
    # Make durable, then call `persisted(write.ticket)`. Replication does not wait for it.
    write: Write | None = None
    # Send only when `write` is durable, and never if this incarnation dies first.
    messages_after_write: tuple[Message, ...] = ()
    # Committed, and durable here: apply in order.
    committed: tuple[Entry, ...] = ()
    # Reads to answer once their index is applied, and reads to ask again (the leader lost its office).
    reads: tuple[ReadReady, ...] = ()
    reads_failed: tuple[int, ...] = ()
    # Block votes for the certificates, from followers and from this replica.
    votes: tuple[VoteReceived, ...] = ()
    # Fetch this state, make it durable beside the present one, then call `snapshot_installed`.
    snapshot_offer: SnapshotOffer | None = None
