"""What a replica keeps: entries, configurations, snapshots and the hard state, with their bounds.

The core never sees a block. An `Entry` of kind `BLOCK` carries the 32-byte hash of a block's header and the
size of its body; bodies live in Storage. Only configuration entries have a payload, and it is small.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

import msgspec

INDEX_MAX = 2**63 - 1
TERM_MAX = 2**62  # no correct network gets there; a term above is refused, and repaired offline
MEMBERS_MAX = 64
DISK_BYTES_MAX = 16
PAYLOAD_BYTES_MAX = 64 * 1024
BODY_BYTES_MAX = 2**40
DIGEST_BYTES = 32
SIGNATURE_BYTES = 64

Index = Annotated[int, msgspec.Meta(ge=0, le=INDEX_MAX)]
Term = Annotated[int, msgspec.Meta(ge=0, le=INDEX_MAX)]
MemberId = Annotated[int, msgspec.Meta(ge=1, le=2**32 - 1)]
Members = Annotated[tuple[MemberId, ...], msgspec.Meta(max_length=MEMBERS_MAX)]
Digest = Annotated[bytes, msgspec.Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]
Signature = Annotated[bytes, msgspec.Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]
Disk = Annotated[bytes, msgspec.Meta(max_length=DISK_BYTES_MAX)]
Payload = Annotated[bytes, msgspec.Meta(max_length=PAYLOAD_BYTES_MAX)]
BodySize = Annotated[int, msgspec.Meta(ge=0, le=BODY_BYTES_MAX)]

NO_DIGEST = bytes(DIGEST_BYTES)
AWAITED = b""  # in place of a disk: a learner that gets its vote back as soon as it has caught up


class EntryKind(IntEnum):
    """What a log entry is: a leader's first entry of its term, a block, or a change of members."""

    NOOP = 0
    BLOCK = 1
    CONFIGURATION = 2


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One slot of the replicated log. `size_bytes` is the size of the body that `digest` stands for."""

    index: Index
    term: Term
    kind: EntryKind
    digest: Digest = NO_DIGEST
    size_bytes: BodySize = 0
    payload: Payload = b""


class Proposal(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A block that its author wants in the log: the hash of its header and the size of its body.

    `term` is the term that the header names; the leader refuses the proposal in any other term. Zero means
    that the block does not depend on the term.
    """

    digest: Digest
    size_bytes: BodySize = 0
    term: Term = 0


class Configuration(msgspec.Struct, frozen=True, array_like=True):
    """Who is a member, as ordered tuples of ids.

    `outgoing` is empty except in a joint configuration (Raft dissertation, section 4.3), where agreement
    needs a majority of `voters` and a majority of `outgoing`. `disks` names the disk of each voter (see
    identity.py), and is empty while the network is not founded; a learner whose disk is AWAITED lost its vote
    with its disk.
    """

    voters: Members
    outgoing: Members = ()
    learners: Members = ()
    disks: Annotated[tuple[tuple[MemberId, Disk], ...], msgspec.Meta(max_length=3 * MEMBERS_MAX)] = ()

    @property
    def is_joint(self) -> bool:
        """True between the two entries of a membership change."""
        return bool(self.outgoing)

    def members(self) -> set[int]:
        """Every id that the leader replicates to."""
        return {*self.voters, *self.outgoing, *self.learners}

    def is_voter(self, member: int) -> bool:
        """True if `member` counts in either majority."""
        return member in self.voters or member in self.outgoing

    def disk_of(self, member: int) -> bytes | None:
        """The disk that is named for `member`; None where there is none."""
        return next((disk for named, disk in self.disks if named == member), None)


class SnapshotMeta(msgspec.Struct, frozen=True, array_like=True):
    """A state that replaces the log up to and including `index`, with the configuration in force there.

    `digest` identifies the state (its root, or the header hash of its block); the body goes by the shell.
    """

    index: Index
    term: Term
    configuration: Configuration
    digest: Digest = NO_DIGEST


class HardState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What must never be forgotten: the latest term seen and the vote in it (0: none), for which disk."""

    term: Term = 0
    vote: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)] = 0
    disk: Disk = b""


class BlockVote(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A member's signature over the block at `index`, which it acknowledged to the leader of `term`.

    Passed along, never checked, by the core.
    """

    index: Index
    term: Term
    digest: Digest
    signature: Signature


class DurableState(msgspec.Struct, frozen=True):
    """What a replica finds on its disk when it starts.

    `entries` follow each other from `base_index + 1`; `base_index` (with `base_term`) is the last entry that
    compaction dropped, at most `snapshot.index`. A new network starts from `genesis(...)`.
    """

    snapshot: SnapshotMeta
    hard_state: HardState = HardState()
    base_index: int = 0
    base_term: int = 0
    entries: tuple[Entry, ...] = ()
    applied_index: int = 0


def genesis(
    voters: tuple[int, ...], learners: tuple[int, ...] = (), disks: tuple[tuple[int, bytes], ...] = ()
) -> DurableState:
    """The state of a replica of a new network, whose first members genesis names."""
    configuration = Configuration(tuple(sorted(voters)), (), tuple(sorted(learners)), disks)
    return DurableState(snapshot=SnapshotMeta(0, 0, configuration))
