"""What the members of a simulated network sign, and what must hold of it: votes and certificates as lasting
facts.

After every step a replica signs whatever its core says that it may (`Raft.signable_index`, by which the
engine goes too), and the votes of more than half of the genesis for one block in one term are a certificate,
as if an adversary collected them all. A signature never goes away, whoever crashes.

- Certificates: no two blocks of one height are certified.
- Certified completeness: every leader of a later term has every certified block.
- Honest votes: no member signs two blocks of one height in one term, for that is what convicts liars.

A block is known by the index and term of its entry, its height by the blocks before it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from actors.consensus.raft import Entry, EntryKind, Raft, Role
from actors.ledger.quorum import quorum

from .violation import ViolationError

if TYPE_CHECKING:
    from .replica import SimulatedReplica

BlockId = tuple[int, int]  # index and term of its entry


class Certification:
    """All votes of one simulated network whose genesis names `members`."""

    def __init__(self, members: int) -> None:
        self._needed = quorum(members)
        self._heights: dict[BlockId, int] = {(0, 0): 0}
        self._votes: dict[tuple[BlockId, int], set[int]] = defaultdict(set)
        self._signed: dict[tuple[int, int, int], BlockId] = {}
        self.certified: dict[int, tuple[BlockId, int]] = {}  # by height: the block, and the first term

    def saw(self, raft: Raft, entries: tuple[Entry, ...]) -> None:
        """`raft` is about to write `entries`."""
        for entry in entries:
            before = self._heights[entry.index - 1, raft.log.term_at(entry.index - 1) or 0]
            self._heights[entry.index, entry.term] = before + (entry.kind is EntryKind.BLOCK)

    def sign(self, replica: SimulatedReplica, replicas: dict[int, SimulatedReplica]) -> None:
        """After a step of `replica`: it gives every vote that it may give and has not given in this term."""
        raft = replica.raft
        if raft is None:
            return
        if raft.term != replica.signed_term:
            replica.signed_term, replica.signed_index = raft.term, raft.commit_index
        if raft.durable_index <= replica.signed_index:  # nobody signs what may be gone after a crash
            return
        upto = raft.signable_index
        if upto <= replica.signed_index:
            return
        first = max(replica.signed_index, raft.log.base_index) + 1
        replica.signed_index = upto
        for entry in raft.log.slice(first, upto):
            if entry.kind is EntryKind.BLOCK:
                self._vote(raft, (entry.index, entry.term), replicas)

    def _vote(self, raft: Raft, block: BlockId, replicas: dict[int, SimulatedReplica]) -> None:
        height = self._heights[block]
        term = 0 if getattr(raft, "mixes_terms", False) else raft.term
        if term and self._signed.setdefault((raft.id, height, term), block) != block:
            raise ViolationError(f"honest votes: {raft.id} signs two blocks {height} in term {term}")
        voters = self._votes[block, term]
        voters.add(raft.id)
        if len(voters) < self._needed:
            return
        known, _ = self.certified.setdefault(height, (block, raft.term))
        if known != block:
            raise ViolationError(f"certificates: {known} and {block} are both certified at height {height}")
        for other in replicas.values():
            if other.raft is not None and other.raft.role is Role.LEADER and other.raft.term > raft.term:
                self._check_has(other.raft, block)

    def check_leader(self, raft: Raft) -> None:
        """`raft` has been elected."""
        for block, term in self.certified.values():
            if term < raft.term:
                self._check_has(raft, block)

    @staticmethod
    def _check_has(raft: Raft, block: BlockId) -> None:
        index, term = block
        if index > raft.log.base_index and raft.log.term_at(index) != term:
            raise ViolationError(f"certified completeness: {raft.id} leads {raft.term} without {block}")
