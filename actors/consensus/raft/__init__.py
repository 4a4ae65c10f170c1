"""Raft as a deterministic state machine: no I/O, no clock, no randomness of its own.

Theory of operation. A replica is a `Raft`. It is told of time (`tick`), messages (`step`), blocks to order
(`propose`), completed writes (`persisted`), and says what it wants done by `take_effects`, one frozen
`Effects` record whose fields state what must be durable before what is sent. A loop around it reads:

    raft = Raft(member, durable, rng, now_ms)
    while True:
        effects = raft.take_effects()
        send(effects.messages)                     # at once; replication overlaps this replica's own write
        if effects.write:
            make_durable(effects.write)            # may be done in the background, in the order of tickets
            send(effects.messages_after_write)
            raft.persisted(effects.write.ticket)
        apply(effects.committed)
        ...                                        # then the next message, proposal or timer

The log holds headers' hashes, never blocks. Who holds a block's body and found it valid is signed for with a
`BlockVote`, which the core carries from `sign` on a follower to `Effects.votes` on the leader.

Modules, in the order of their use: records (what is kept), messages (what is said), quorum and membership
(who decides), log and progress (what is known), election, replication, reads, reconfiguration (the rules, as
layers of one class), signing (which blocks get a vote), core (the inputs), effects (the outputs), trace (what
a checker may read).
"""

from .core import Raft
from .effects import Effects, ReadReady, Role, SnapshotOffer, VoteReceived, Write
from .errors import (
    CompactionError,
    LeadershipTransferError,
    LimitReachedError,
    MembershipError,
    MessageError,
    NotLeaderError,
    ProtocolViolationError,
    RaftError,
    StaleTermError,
    UnknownTicketError,
)
from .messages import Message, decode, encode
from .options import RaftOptions
from .progress import FollowerStatus, ProgressState
from .records import (
    BlockVote,
    Configuration,
    DurableState,
    Entry,
    EntryKind,
    HardState,
    Proposal,
    SnapshotMeta,
    genesis,
)
from .trace import TraceRecord, to_ndjson

__all__ = [
    "BlockVote",
    "CompactionError",
    "Configuration",
    "DurableState",
    "Effects",
    "Entry",
    "EntryKind",
    "FollowerStatus",
    "HardState",
    "LeadershipTransferError",
    "LimitReachedError",
    "MembershipError",
    "Message",
    "MessageError",
    "NotLeaderError",
    "ProgressState",
    "Proposal",
    "ProtocolViolationError",
    "Raft",
    "RaftError",
    "RaftOptions",
    "ReadReady",
    "Role",
    "SnapshotMeta",
    "SnapshotOffer",
    "StaleTermError",
    "TraceRecord",
    "UnknownTicketError",
    "VoteReceived",
    "Write",
    "decode",
    "encode",
    "genesis",
    "to_ndjson",
]
